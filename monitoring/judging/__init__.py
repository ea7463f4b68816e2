"""From counts and labels to a verdict (pure)."""
