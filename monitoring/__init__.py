"""The watching process: judges what was served, retrains, gates, promotes, takes back; and the command line over all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitoring.batch.comparison import Window, compare

__all__ = ["Window", "compare"]


def __getattr__(name: str) -> object:
    """Return what notebooks import from here, loaded when it is asked for: every process of ours imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("monitoring.batch.comparison"), name)
