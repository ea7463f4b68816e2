"""Inputs moved, or not: evidence over time, episodes, and two samples compared (pure)."""
