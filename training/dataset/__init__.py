"""Rows from tables: read, refused, split by time, fingerprinted, reported on."""
