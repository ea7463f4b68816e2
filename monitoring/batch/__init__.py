"""Tables without a server: predicted in pieces, compared, or read as labels into the log."""
