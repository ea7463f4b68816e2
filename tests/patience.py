"""How long tests wait for what is to come: only what never comes uses it up, however slow and busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 300.0
"""One number for all of them, below the `timeout` of a test; a bound of its own is a bound on the machine."""
LONGER_SECONDS = 3 * PATIENCE_SECONDS
"""For what holds something until a test lets it go: that one waits meanwhile, more than once."""
LOOK_SECONDS = 0.02

Answer = TypeVar("Answer")


def until(ask: Callable[[], Answer], wanted: str | Callable[[], str] = "") -> Answer:
    """Ask until the answer is true, and return it.

    Parameters
    ----------
    wanted
        What is waited for, or what says how far it came; it stands in the error.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true in {PATIENCE_SECONDS:g} s: {wanted() if callable(wanted) else wanted}")
        time.sleep(LOOK_SECONDS)
    return answer
