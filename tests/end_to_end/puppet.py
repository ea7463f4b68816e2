"""A model whose strings are files: it holds a row until it is let go, and lies while a file says so."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.patience import LONGER_SECONDS

STRINGS = "PUPPET_STRINGS"
HOLD = -77.0


class Puppet:
    """Answers ``offset + distance`` after some seconds of arithmetic; by its default no service thinks that its rows are quick.

    A row of distance `HOLD` is noted in the file ``entered`` and waits for a file ``go``; while there is a file ``hold``, so does whatever
    is asked first. While there is a file ``lie`` every answer is wrong. Where an object of it leaves the memory of a process, the process
    is noted in the file ``left``. The files lie where the variable `STRINGS` says, so that one stored puppet does for all tests; without
    scikit-learn, whose import takes a worker a second.
    """

    def __init__(self, offset: float = 0.0, seconds: float = 0.001) -> None:
        self.seconds = seconds
        self.offset = offset

    def predict(self, table: Any) -> npt.NDArray[np.float64]:
        ends = time.thread_time() + self.seconds
        while time.thread_time() < ends:
            pass
        distance = np.asarray(table["distance"], dtype=np.float64)
        if HOLD in distance:
            note("entered")
            _wait_for(_string("go"))
        elif _takes(_string("hold")):
            _wait_for(_string("go"))
        answer: npt.NDArray[np.float64] = self.offset + distance + _string("lie").exists()
        return answer

    def __del__(self) -> None:
        with suppress(Exception):
            note(f"left.{self.offset:g}")


def note(name: str) -> None:
    """Add this process to a file."""
    with _string(name).open("a") as file:
        file.write(f"{os.getpid()}\n")


def entries(folder: Path, name: str) -> list[int]:
    """Return the processes in a file, one an entry."""
    path = folder / name
    return list(map(int, path.read_text().split())) if path.exists() else []


def noted(folder: Path, name: str) -> set[int]:
    """Return which processes are in a file."""
    return set(entries(folder, name))


def _string(name: str) -> Path:
    return Path(os.environ.get(STRINGS, "/nowhere")) / name


def _takes(path: Path) -> bool:
    """Remove a file; whether it was there, which is so for one caller only."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + LONGER_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
