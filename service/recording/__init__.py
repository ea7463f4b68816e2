"""From an answer to the log: appended before it leaves, drained exactly once."""
