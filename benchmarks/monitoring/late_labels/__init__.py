"""The real loop on streams whose labels come late, by class, by score, in part, broken or no more."""
