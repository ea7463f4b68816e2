"""Drawings as SVG, and the pages they stand on: without script, light and dark, every number also in a table."""
