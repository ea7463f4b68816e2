"""A table lived through in this process: which policy would have served its rows best."""
