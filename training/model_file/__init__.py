"""The YAML file a user writes, every mistake named by line and field."""
