"""Named places at which a test may kill or stop the process, to prove that nothing is lost and nothing done twice."""

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
    "run.begun",  # of the monitor: the row of a retraining run is written, its child is not started
    "run.started",
    "run.fitted",  # of the training child, these three: before anything of the version is written
    "run.saved",
    "run.registered",
    "gate.decided",  # of the monitor again
    "growth.saved",
    "growth.registered",
    "promotion.done",
    "refusal.done",
    "rollback.done",
    "reweigh.saved",
    "reweigh.done",
)


def never(name: str) -> None:
    """Do nothing: what every process runs with unless a test armed a failpoint."""


def kill_self() -> None:
    """End this process as a power-hungry operator would: SIGKILL, no clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop_self() -> None:
    """Stop this process where it is: SIGSTOP, until somebody lets it go on, or kills it and whom else they like."""
    os.kill(os.getpid(), signal.SIGSTOP)


def armed(text: str, act: Callable[[], None] | None = None) -> Failpoint:
    """Arm one failpoint, in this process: others that are started with the same environment act on their own.

    Parameters
    ----------
    text
        ``name[:nth][:stop]``: act when the place is reached for the nth time (default the first); kill the process, or stop it.
    act
        What to do there instead.

    Raises
    ------
    SettingsError
        The name is not one of `NAMES`, nth is not a positive whole number, or there is more.

    Examples
    --------
    >>> hits = []
    >>> point = armed("answer:2", lambda: hits.append("now"))
    >>> point("answer"); point("spool.append.after"); point("answer"); hits
    ['now']
    """
    name, *rest = text.split(":")
    stops = rest[-1:] == ["stop"]
    nth_text = ":".join(rest[:-1] if stops else rest)
    does = act or (stop_self if stops else kill_self)
    if name not in NAMES:
        raise SettingsError(f"EVERGREEN_FAILPOINT names {name!r}; known are {', '.join(NAMES)}")
    if nth_text and (not nth_text.isdigit() or int(nth_text) < 1):
        raise SettingsError(f"EVERGREEN_FAILPOINT wants name[:nth][:stop] with nth >= 1, got {text!r}")
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
            does()

    return point
