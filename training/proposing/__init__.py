"""A first model file, proposed from all rows of a table for the person who will correct it."""
