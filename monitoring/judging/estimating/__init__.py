"""How good a model may be where labels are missing, each estimate with its band and what it assumes (pure)."""
