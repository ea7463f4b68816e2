"""One protocol a file: a request in, an answer out; nothing is decided here."""
