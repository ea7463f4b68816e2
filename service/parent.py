"""A process that was started by another of Evergreen's ends with it, however that one ends, and imports what that one imports."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

PARENT = "EVERGREEN_PARENT"
_PR_SET_PDEATHSIG = 1
_ROOT = str(Path(__file__).parents[1])


def with_us_as_parent(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that is to end with this process.

    Python puts the working directory before all packages: a `training.py` there would be taken for ours. The child does not; where
    only that directory held our packages, they are named to it.
    """
    ours = {**environment, PARENT: str(os.getpid()), "PYTHONSAFEPATH": "1"}
    if _ROOT not in sys.path[0 if sys.flags.safe_path else 1 :]:
        ours["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, environment.get("PYTHONPATH"))))
    return ours


def follow_parent(environment: Mapping[str, str]) -> None:
    """Ask the kernel for SIGTERM when the parent that the environment names has ended; one that has already ends us at once.

    The wish outlives `exec`, so that gunicorn's master keeps it. Elsewhere than on Linux nothing is asked.
    """
    if PARENT not in environment:
        return
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if str(os.getppid()) != environment[PARENT]:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGTERM)
