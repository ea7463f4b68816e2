"""Where a request ends: the grammar of heads and chunked bodies, and what must be true of the parser that reads them."""
