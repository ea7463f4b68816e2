"""Bytes of each encoding to columns and back: JSON, CSV, Arrow, Parquet, tensors."""
