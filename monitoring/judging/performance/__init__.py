"""How well a model answers: sums of outcomes, metrics with intervals, the baseline, and the evidence that it got worse (pure)."""
