"""One protocol a file: each turns a request into columns and an answer into bytes, and decides nothing."""
