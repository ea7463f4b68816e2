"""What an operator does by hand, and may be asked of a running monitor."""
