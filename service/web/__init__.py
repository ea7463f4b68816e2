"""What happens to every request whatever its route: keys, limits, ids, bodies, one error body."""
