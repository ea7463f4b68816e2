"""The `evergreen` command: thin verbs."""
