"""How good a model is, and whether another is better: scores, intervals, the gate (pure)."""
