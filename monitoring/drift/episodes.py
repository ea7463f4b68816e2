"""Drifts from their alarm to their end, and what a person says of them (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from training.clock import from_us


@dataclass(frozen=True, slots=True)
class MovedColumn:
    """One column of an episode: how far it had moved when the episode opened, and how strong the evidence was."""

    column: str
    psi: float
    log10_evidence: float


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a person said of an episode; seen to by the next slot.

    Attributes
    ----------
    who, why, at_us
        Machine time for `at_us`.
    mute_us
        Say nothing of it for so long, from the next slot on; None ends the episode.
    is_reference
        Take the last window as the new reference of all columns.
    """

    who: str
    why: str
    at_us: int
    mute_us: int | None = None
    is_reference: bool = False


@dataclass(frozen=True, slots=True)
class Episode:
    """A drift from its alarm to its end; model times in microseconds.

    Attributes
    ----------
    number
        Counts the episodes of a model, from 1.
    opened_us
        The slot whose alarm opened it.
    since_us
        When its columns began to move, as estimated then.
    columns
        Those that moved, the farthest first.
    muted_until_us
        Nothing is said of it before that.
    ended_us, why_ended
        The slot that ended it, and why; None while it is open.
    muted_by_us
        When a person said the mute that holds.
    """

    number: int
    opened_us: int
    since_us: int
    columns: tuple[MovedColumn, ...]
    muted_until_us: int | None = None
    ended_us: int | None = None
    why_ended: str | None = None
    muted_by_us: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(c.column for c in self.columns)

    def is_muted(self, slot_us: int) -> bool:
        """Return whether nothing is to be said of it at a slot."""
        return self.muted_until_us is not None and slot_us < self.muted_until_us

    def joined(self, columns: Iterable[MovedColumn]) -> Self:
        """Return it with further columns, the farthest first."""
        return replace(self, columns=tuple(sorted((*self.columns, *columns), key=lambda c: -c.psi)))

    def end(self, slot_us: int, why: str) -> Self:
        """Return it ended."""
        return replace(self, ended_us=slot_us, why_ended=why)

    def ended_sentence(self) -> str:
        """Say that it ended, and why."""
        return f"episode {self.number} ({', '.join(self.names)}) ended: {self.why_ended}"

    def acknowledged(self, acknowledgement: Acknowledgement, slot_us: int) -> Self:
        """Return it muted from a slot on, or ended there; what muted it already does so once.

        Examples
        --------
        >>> episode = Episode(1, 10, 5, (MovedColumn("wind", 0.3, 4.0),))
        >>> episode.acknowledged(Acknowledgement("ann", "known", 0, mute_us=30), 20).muted_until_us
        50
        >>> episode.acknowledged(Acknowledgement("ann", "known", 0), 20).why_ended
        'acknowledged by ann: known'
        """
        if acknowledgement.mute_us is not None:
            if self.muted_by_us == acknowledgement.at_us:
                return self
            return replace(self, muted_until_us=slot_us + acknowledgement.mute_us, muted_by_us=acknowledgement.at_us)
        why = f": {acknowledgement.why}" if acknowledgement.why else ""
        return self.end(slot_us, f"acknowledged by {acknowledgement.who}{why}")

    def calmed(self, slot_us: int, window_us: int, distances: Mapping[str, float], floors: Mapping[str, float]) -> Self:
        """Return it ended where a whole window since it began is below the floor in all of its columns.

        Parameters
        ----------
        distances
            Population stability index of the last window, by column; without any, a window without rows, nothing is calm.
        """
        is_whole = slot_us - window_us >= self.since_us
        if is_whole and distances and all(distances.get(name, 0.0) < floors[name] for name in self.names):
            return self.end(slot_us, "a window below the floor")
        return self

    def is_covered(self, trained_through_us: int, window_us: int) -> bool:
        """Return whether a training had at least one window of rows since it began."""
        return trained_through_us >= self.since_us + window_us

    def covered(self, slot_us: int, version: str, trained_through_us: int) -> Self:
        """Return it ended by a version that learned from it."""
        return self.end(slot_us, f"{version} was trained on rows up to {from_us(trained_through_us):%Y-%m-%d %H:%M}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"columns": [asdict(c) for c in self.columns]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{**stored, "columns": tuple(MovedColumn(**c) for c in stored["columns"])})
