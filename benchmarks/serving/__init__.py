"""Evergreen and its peers, one after the other on the same two cores: same models, same rows, answers verified first."""
