"""Fitted scikit-learn models read into `compiled`, and proven equal."""
