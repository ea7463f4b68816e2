"""Named places at which a test may kill the process, to prove that nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from service.errors import SettingsError

Failpoint = Callable[[str], None]

NAMES = (
    "spool.append.before",
    "spool.append.after",
    "answer",
    "drain.commit.before",
    "drain.commit.after",
    "spool.truncate.before",
    "spool.truncate.after",
)


def never(name: str) -> None:
    """Do nothing: what every process runs with unless a test armed a failpoint."""


def kill_self() -> None:
    """End this process as a power-hungry operator would: SIGKILL, no clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def armed(text: str, act: Callable[[], None] = kill_self) -> Failpoint:
    """Arm one failpoint.

    Parameters
    ----------
    text
        ``name`` or ``name:nth``: act when the place is reached for the nth time (default the first).
    act
        What to do there; kills the process unless a test hands in something milder.

    Raises
    ------
    SettingsError
        The name is not one of `NAMES`, or nth is not a positive whole number.

    Examples
    --------
    >>> hits = []
    >>> point = armed("answer:2", lambda: hits.append("now"))
    >>> point("answer"); point("spool.append.after"); point("answer"); hits
    ['now']
    """
    name, _, nth_text = text.partition(":")
    if name not in NAMES:
        raise SettingsError(f"EVERGREEN_FAILPOINT names {name!r}; known are {', '.join(NAMES)}")
    if nth_text and (not nth_text.isdigit() or int(nth_text) < 1):
        raise SettingsError(f"EVERGREEN_FAILPOINT wants name:nth with nth >= 1, got {text!r}")
    remaining = int(nth_text or 1)
    lock = threading.Lock()

    def point(reached: str) -> None:
        """Act when the armed place is reached for the nth time."""
        nonlocal remaining
        if reached != name:
            return
        with lock:
            remaining -= 1
            due = remaining == 0
        if due:
            act()

    return point
