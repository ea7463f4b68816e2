"""What was decided, on which evidence, by which runs; leases with fencing."""
