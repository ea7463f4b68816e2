"""What the loop is worth on real streams, against the best that hindsight knows."""
