"""Everything on one machine: start, supervise, try, replay."""
