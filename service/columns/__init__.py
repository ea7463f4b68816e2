"""Columns of a request, checked against the schema of the version that answers; every bad value named."""
