"""What one slot says of drift, under the sequential rule: every column's distance and evidence, and the episodes (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.clock import from_us

MOST_NAMED = 5
MOST_KEPT = 100  # columns a verdict keeps: with segments a model may have thousands


@dataclass(frozen=True, slots=True)
class WatchedColumn:
    """One column against its reference.

    Attributes
    ----------
    column
        Its name, ``name where segment`` for one of a segment.
    psi
        Population stability index of the current window, less what chance alone adds.
    floor
        What `psi` must exceed to be material.
    log10_evidence
        How strongly its own counts speak for a change, as a sum over the starts of the change in days; None where the column is shown only.
    since_us
        When a change would have begun, model time; None where nothing speaks for one.
    missing_share
        Share of the window's rows without a value; None for a column of a segment.
    is_drifting
        Whether an episode of it is open and not muted.
    """

    column: str
    psi: float
    floor: float
    log10_evidence: float | None
    since_us: int | None
    missing_share: float | None
    is_drifting: bool


@dataclass(frozen=True, slots=True)
class OpenEpisode:
    """An open episode, as it is told.

    Attributes
    ----------
    is_new
        Whether this slot opened it.
    """

    number: int
    since_us: int
    columns: tuple[tuple[str, float], ...]
    is_new: bool
    is_muted: bool

    def sentence(self) -> str:
        """Say what moved, by how much, and since when."""
        named = ", ".join(f"{name} (PSI {max(psi, 0.0):.2f})" for name, psi in self.columns[:MOST_NAMED])
        rest = f" and {len(self.columns) - MOST_NAMED} more" if len(self.columns) > MOST_NAMED else ""
        return f"drift in {named}{rest} since about {from_us(self.since_us):%Y-%m-%d %H:%M} (episode {self.number})"


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What the drift watch of one model says at a slot.

    Attributes
    ----------
    columns
        Those with the strongest evidence first.
    rows
        Rows of the current window.
    bins_id
        Of the measures they are counted under.
    note
        Why nothing can be said, or what is left out; else empty.
    log10_evidence, log10_threshold
        An episode opens where the first reaches the second.
    episodes
        The open ones.
    ended
        A sentence for each that ended at this slot.
    reference
        The number of the reference in force.
    """

    columns: tuple[WatchedColumn, ...]
    rows: int
    bins_id: str
    note: str = ""
    log10_evidence: float | None = None
    log10_threshold: float | None = None
    episodes: tuple[OpenEpisode, ...] = ()
    ended: tuple[str, ...] = ()
    reference: int = 0

    @property
    def drifting(self) -> tuple[str, ...]:
        """Names of the columns of open episodes that are not muted, the farthest first."""
        open_columns = [column for one in self.episodes if not one.is_muted for column in one.columns]
        return tuple(dict.fromkeys(name for name, _ in sorted(open_columns, key=lambda column: -column[1])))

    def notices(self) -> tuple[str, ...]:
        """Return a sentence an open episode that is not muted."""
        return tuple(one.sentence() for one in self.episodes if not one.is_muted)

    def remarks(self) -> tuple[str, ...]:
        """Return what else is worth a word and asks nobody to look: what ended, and why nothing can be said."""
        return (*self.ended, *([self.note] if self.note else []))

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values, of many columns the hundred that drift most, or speak most for it."""
        ordered = sorted(self.columns, key=_strength)
        return {
            "rule": "sequential",
            "rows": self.rows,
            "bins_id": self.bins_id,
            "note": self.note,
            "reference": self.reference,
            "log10_evidence": _rounded(self.log10_evidence),
            "log10_threshold": _rounded(self.log10_threshold),
            "drifting": list(self.drifting),
            "episodes": [
                {"number": e.number, "since": from_us(e.since_us).isoformat(), "columns": dict(e.columns), "muted": e.is_muted}
                for e in self.episodes
            ],
            "ended": list(self.ended),
            "columns": [_column(c) for c in ordered[:MOST_KEPT]],
            "columns_left_out": len(ordered[MOST_KEPT:]),
        }


def _strength(column: WatchedColumn) -> tuple[bool, float, float]:
    """Return what sorts the strongest first: those of open episodes, then by evidence, then by distance."""
    return not column.is_drifting, math.inf if column.log10_evidence is None else -column.log10_evidence, -column.psi


def _column(column: WatchedColumn) -> dict[str, Any]:
    return {
        "column": column.column,
        "psi": _rounded(column.psi),
        "floor": column.floor,
        "log10_evidence": _rounded(column.log10_evidence),
        "since": None if column.since_us is None else from_us(column.since_us).isoformat(),
        "missing_share": _rounded(column.missing_share),
        "is_drifting": column.is_drifting,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def farthest_first(columns: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Order columns and their distances.

    Examples
    --------
    >>> farthest_first([("a", 0.1), ("b", 0.3)])
    (('b', 0.3), ('a', 0.1))
    """
    return tuple(sorted(columns, key=lambda column: (-column[1], column[0])))
