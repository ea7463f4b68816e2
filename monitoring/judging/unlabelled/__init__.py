"""Rows of which the label is missing: how many there are by score, what labelled ones stand for, and the worst case (pure)."""
