"""Versions, aliases and the ledger of every move."""
