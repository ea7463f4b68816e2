"""A model that makes trouble where a file says so: while it is unpickled, or while it predicts."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

from service.models.load_attempts import LoadAttempts
from training.errors import ArtifactError

FOLDER = "EVERGREEN_TROUBLE_FOLDER"
ROOT = Path(__file__).parents[1]
"""What `EVERGREEN_CODE` names for processes that load a `Troubled`: in a clean clone they do not find the tests otherwise."""
HANG = "a hang until this file says something else"


class OwnError(BaseException):
    """No `Exception`, and it cannot even be written down."""

    def __str__(self) -> str:
        raise SystemExit(5)


def _raise(error: BaseException) -> NoReturn:
    raise error


def _recurse() -> Any:
    return _recurse()


TROUBLES: dict[str, Callable[[], object]] = {
    "ValueError": lambda: _raise(ValueError("so not")),
    "a multi-line error": lambda: _raise(ValueError('line "one"\nline <two>\x00 ' + "x" * 5000)),
    "half a pair": lambda: _raise(ValueError("\ud800")),
    "MemoryError": lambda: _raise(MemoryError()),
    "RecursionError": _recurse,
    "StopIteration": lambda: _raise(StopIteration(1)),
    "GeneratorExit": lambda: _raise(GeneratorExit()),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "SystemExit": lambda: sys.exit(3),
    "OwnError": lambda: _raise(OwnError()),
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(3)": lambda: os._exit(3),
    "os._exit(4)": lambda: os._exit(4),
    "SIGSEGV": lambda: ctypes.string_at(0),
    "SIGABRT": lambda: os.abort(),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


class Troubled:
    """Answers the sum of a row, and before it makes the trouble that the file ``predict`` in the folder of `FOLDER` names.

    While it is unpickled it makes what ``unpickle`` names. One that has a name heeds files like ``name.unpickle``. It is without
    scikit-learn, whose import takes each process a second.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name

    def fit(self, _table: Any, _target: Any) -> Self:
        return self

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)
        _make(self.name, "unpickle")

    def predict(self, table: Any) -> npt.NDArray[np.float64]:
        _make(self.name, "predict")
        answer: npt.NDArray[np.float64] = np.asarray(table, dtype=np.float64).sum(axis=1)
        return answer


class TroubledLearner(Troubled):
    """Answers the mean of what it was fitted on, so that it can be fitted again."""

    def fit(self, _table: Any, target: Any) -> Self:
        self.mean_ = float(np.mean(np.asarray(target, dtype=np.float64)))
        return self

    def predict(self, table: Any) -> npt.NDArray[np.float64]:
        return np.zeros(len(super().predict(table))) + self.mean_


def _make(name: str, moment: str) -> None:
    path = Path(os.environ.get(FOLDER, "/nowhere")) / (f"{name}.{moment}" if name else moment)
    while (kind := _read(path)) == HANG:
        time.sleep(0.02)
    if kind:
        TROUBLES[kind]()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def die_twice(attempts: LoadAttempts, model: str, version: str, move: int) -> None:
    """Note the deaths of two workers that were loading a version, as a master does."""
    for _ in range(2):
        with suppress(SystemExit, ArtifactError), attempts.noted(model, version, move, try_apart=str):
            attempts.note_death(os.getpid())
            sys.exit()
