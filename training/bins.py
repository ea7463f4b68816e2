"""Profiles: mergeable binned counts of every column, the reference the watcher compares with.

Counts carry the id of their bins; counts under different bins are never added.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from training.errors import BinsMismatchError

SCORE, LABEL = "@score", "@label"
"""The pseudo columns: what the model answered, as one number and as a class."""
_SMALL = 256
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class ColumnBins:
    """The bins of one column.

    A numeric column with the edges e0 < ... < em has m bins [e(i), e(i+1)) and then ``below``, ``above``,
    ``missing``; the reference lies in [e0, em). A categorical one has a bin a category, then ``other``, ``missing``.

    Parameters
    ----------
    part
        ``hour``: count the hour of the day (0-24) of an epoch time, since the time itself always moves on.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    part: Literal["value", "hour"] = "value"

    @property
    def size(self) -> int:
        """How many counts this column has, the special bins included."""
        return max(len(self.edges) - 1, 0) + 3 if self.kind == "numeric" else len(self.categories) + 2

    @property
    def names(self) -> tuple[str, ...]:
        """A name a bin, for people."""
        if self.kind == "categorical":
            return (*self.categories, "(other)", "(missing)")
        spans = [f"[{a:g}, {b:g})" for a, b in zip(self.edges[:-1], self.edges[1:], strict=True)]
        return (*spans, "(below)", "(above)", "(missing)")

    def values(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what is counted of a column: itself, or the hour of the day."""
        return np.mod(column, _DAY) / 3600.0 if self.part == "hour" else column

    def count(self, column: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Count a column as it comes (:data:`training.rows.Columns`), shape (size,)."""
        if self.kind == "categorical":
            return self._count_categories(column)
        return self._count_numbers(self.values(column))

    def _count_numbers(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        out = np.zeros(self.size, dtype=np.int64)
        known = len(values) - int(np.count_nonzero(values != values))
        out[-1] = len(values) - known
        if not self.edges:
            out[-2] = known
            return out
        if len(values) <= _SMALL:
            at_least = np.count_nonzero(values[:, None] >= np.array(self.edges), axis=0)
        else:
            at_least = np.array([np.count_nonzero(values >= edge) for edge in self.edges])
        out[: len(self.edges) - 1] = at_least[:-1] - at_least[1:]
        out[-3] = known - at_least[0]
        out[-2] = at_least[-1]
        return out

    def _count_categories(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        found = Counter(values.tolist())
        out = np.zeros(self.size, dtype=np.int64)
        out[-1] = found.pop(None, 0)
        for place, category in enumerate(self.categories):
            out[place] = found.pop(category, 0)
        out[-2] = sum(found.values())
        return out


@dataclass(frozen=True, slots=True)
class Profile:
    """Counts of some rows under some bins, with the extremes of the numeric columns."""

    bins_id: str
    rows: int
    counts: dict[str, npt.NDArray[np.int64]]
    minimum: dict[str, float]
    maximum: dict[str, float]

    def merge(self, other: Profile) -> Profile:
        """Return the counts of both; raises BinsMismatchError when they were made under different bins."""
        if self.bins_id != other.bins_id:
            raise BinsMismatchError(f"counts under bins {self.bins_id} and {other.bins_id} cannot be added")
        counts = {
            n: self.counts[n].copy() if n in self.counts else np.zeros_like(other.counts[n])
            for n in self.counts.keys() | other.counts.keys()
        }
        for name, more in other.counts.items():
            counts[name] += more
        return Profile(
            self.bins_id,
            self.rows + other.rows,
            dict(sorted(counts.items())),
            _extremes(self.minimum, other.minimum, min),
            _extremes(self.maximum, other.maximum, max),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "bins_id": self.bins_id,
            "rows": self.rows,
            "counts": {n: c.tolist() for n, c in self.counts.items()},
            "minimum": self.minimum,
            "maximum": self.maximum,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Profile:
        """Read what :meth:`to_dict` wrote."""
        counts = {n: np.array(c, dtype=np.int64) for n, c in stored["counts"].items()}
        return cls(stored["bins_id"], stored["rows"], counts, dict(stored["minimum"]), dict(stored["maximum"]))

    def to_json(self) -> bytes:
        """Return canonical JSON bytes."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes | str) -> Profile:
        """Read what :meth:`to_json` wrote."""
        return cls.from_dict(orjson.loads(text))


def _extremes(a: dict[str, float], b: dict[str, float], choose: Any) -> dict[str, float]:
    return {n: choose(a.get(n, b.get(n)), b.get(n, a.get(n))) for n in sorted(a.keys() | b.keys())}


@dataclass(frozen=True)
class Bins:
    """The bins of all columns of one version, the pseudo columns ``@score`` and ``@label`` included.

    Examples
    --------
    >>> bins = Bins((ColumnBins("x", "numeric", edges=(0.0, 1.0, 2.0)),))
    >>> bins.count({"x": np.array([0.5, 1.0, 9.0, np.nan])}).counts["x"].tolist()
    [1, 1, 0, 1, 1]
    """

    columns: tuple[ColumnBins, ...]

    def __post_init__(self) -> None:
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "_id", hashlib.sha256(canonical.encode()).hexdigest()[:16])

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON of the bins."""
        return str(self._id)  # type: ignore[attr-defined]

    def column(self, name: str) -> ColumnBins:
        """Return the bins of one column; raises KeyError."""
        return {c.name: c for c in self.columns}[name]

    def count(self, columns: Mapping[str, npt.NDArray[Any]]) -> Profile:
        """Count rows; a column that is not handed over is not counted.

        Parameters
        ----------
        columns
            Columns as in :data:`training.rows.Columns`, all of one length; also ``@score`` and ``@label``.
        """
        counts, minimum, maximum, rows = {}, {}, {}, 0
        for bins in self.columns:
            if bins.name not in columns:
                continue
            column = columns[bins.name]
            rows = max(rows, len(column))
            counts[bins.name] = bins.count(column)
            if bins.kind == "numeric" and len(column) > counts[bins.name][-1]:
                values = bins.values(column)
                minimum[bins.name] = float(np.fmin.reduce(values))
                maximum[bins.name] = float(np.fmax.reduce(values))
        return Profile(self.id, rows, counts, minimum, maximum)

    def empty(self) -> Profile:
        """Return the profile of no rows."""
        return Profile(self.id, 0, {c.name: np.zeros(c.size, np.int64) for c in self.columns}, {}, {})

    def to_dict(self) -> list[dict[str, Any]]:
        """Return a JSON array."""
        return [
            {"name": c.name, "kind": c.kind, "edges": list(c.edges), "categories": list(c.categories), "part": c.part} for c in self.columns
        ]

    @classmethod
    def from_dict(cls, stored: list[dict[str, Any]]) -> Bins:
        """Read what :meth:`to_dict` wrote."""
        return cls(tuple(ColumnBins(c["name"], c["kind"], tuple(c["edges"]), tuple(c["categories"]), c["part"]) for c in stored))
