"""What may be wrong with a column, or with all of a row: each sign of a data fault by itself, against what is usual."""
