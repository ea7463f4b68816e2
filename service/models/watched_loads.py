"""Loads that are waited for so long and no longer: a model that hangs while it is loaded holds up a thread of its own only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from service.models.served_model import Deployment
from training.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a load may hold up others, and how long it may take at all.

    Attributes
    ----------
    waited_seconds
        So long the models behind it wait; then they are followed while it goes on.
    longest_seconds
        After so long it hangs.
    """

    waited_seconds: float = 30.0
    longest_seconds: float = 300.0


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which version is loaded, for which move of its alias: None where that is not known."""

    model: str
    version: str
    move: int | None


@dataclass(slots=True)
class _Load:
    began: float
    deployment: Deployment | None = None
    error: BaseException | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False

    def run(self, load: Callable[[], Deployment]) -> None:
        try:
            self.deployment = load()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self.error = error
        self.ended.set()


class WatchedLoads:
    """Loads in threads of their own; each is begun once, and asked for until it ended.

    Parameters
    ----------
    on_hang
        What is called once with a load that takes too long.
    """

    def __init__(self, patience: Patience, on_hang: Callable[[Attempt], None]) -> None:
        self._patience = patience
        self._on_hang = on_hang
        self._loads: dict[Attempt, _Load] = {}

    def ask(self, attempt: Attempt, load: Callable[[], Deployment]) -> Deployment | None:
        """Begin a load and wait for it a while, or look at one that was begun; None while it goes on.

        Raises
        ------
        ArtifactError
            It hangs; its thread is left alone, and another look finds out whether it ended after all.
        BaseException
            Whatever the load raised.
        """
        begun = self._loads.get(attempt) or self._begin(attempt, load)
        if not begun.ended.is_set():
            if time.monotonic() - begun.began < self._patience.longest_seconds:
                return None
            if not begun.hangs:
                begun.hangs = True
                self._on_hang(attempt)
            raise ArtifactError(f"it is not loaded after {self._patience.longest_seconds:g} s: it hangs")
        del self._loads[attempt]
        if begun.error is not None:
            raise begun.error
        return begun.deployment

    def _begin(self, attempt: Attempt, load: Callable[[], Deployment]) -> _Load:
        for left in [other for other, begun in self._loads.items() if other.model == attempt.model and begun.ended.is_set()]:
            del self._loads[left]  # its alias moved on meanwhile
        begun = self._loads[attempt] = _Load(time.monotonic())
        threading.Thread(target=begun.run, args=(load,), name=f"loading {attempt.model}", daemon=True).start()
        begun.ended.wait(self._patience.waited_seconds)
        return begun
