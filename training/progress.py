"""How a long step tells that it is alive; training prints nothing itself."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a training run reports to."""

    def start(self, stage: str, total: int | None) -> None:
        """Begin a stage of `total` steps (None: not known)."""

    def advance(self, note: str) -> None:
        """Finish one step."""

    def done(self) -> None:
        """Finish the stage."""


class Silent:
    """Reports to nobody."""

    def start(self, stage: str, total: int | None) -> None:
        """Begin a stage."""

    def advance(self, note: str) -> None:
        """Finish one step."""

    def done(self) -> None:
        """Finish the stage."""
