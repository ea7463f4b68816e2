"""One page of a model for people: read from ledger and journal, never from rows."""
