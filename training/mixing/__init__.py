"""Members to one answer: their maps and weights, their families, who comes, stays and leaves (pure)."""
