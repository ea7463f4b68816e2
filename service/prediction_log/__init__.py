"""The prediction log: rows, counts, labels, model time, on SQLite or PostgreSQL."""
