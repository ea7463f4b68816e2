"""Mergeable counts of columns: what the watcher compares with."""
