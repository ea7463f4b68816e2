"""Loaded versions: which one answers, how it is asked, and what it fails on."""
