"""Rows in, versioned artifact out: everything Evergreen knows about making one model."""
