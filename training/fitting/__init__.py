"""Candidates chosen, tuned, calibrated and fitted."""
