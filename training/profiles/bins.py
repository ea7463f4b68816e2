"""Profiles: mergeable binned counts of every column, the reference the watcher compares with.

Counts carry the id of their bins; counts under different bins are never added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from training.errors import BinsMismatchError
from training.profiles.occurrences import occurrences

SCORE, LABEL, CONFIDENCE = "@score", "@label", "@confidence"
OUTPUTS = (SCORE, LABEL, CONFIDENCE)
"""The pseudo columns of what the model answered: as one number, as a class, and how sure it was of two."""
MISSING, RESIDUAL, DISTANCE, HOUR = "@missing", "@residual", "@distance", "@hour"
DECIMALS, ROW = "@decimals", "@row"
PRODUCT, RULE = "@product:", "@rule:"
"""The pseudo columns that are computed of a row, see `training.profiles.derived_columns`; of the last two the beginning of their names."""
UNWATCHED = (HOUR, DECIMALS, ROW)
"""What is counted to know how a window is composed, and what only faults are told by."""
TWO_VALUES = (0.0, 0.5, float(np.nextafter(1.0, 2.0)))
"""The edges of a column of zeros and ones."""
_SMALL = 256
_MANY_EDGES = 64
_CHUNK = 1 << 14
_LARGE = 1000
_DAY = 86_400.0


def is_derived(name: str) -> bool:
    """Return whether a counted column is computed of the features, not one of them nor an answer.

    Examples
    --------
    >>> is_derived("@product:a*b"), is_derived("@score"), is_derived("a")
    (True, False, False)
    """
    return name.startswith("@") and name not in OUTPUTS


def is_watched(name: str) -> bool:
    """Return whether a counted column of that name may be watched for drift.

    Examples
    --------
    >>> is_watched("@distance"), is_watched("@hour"), is_watched("@rule:age")
    (True, False, False)
    """
    return name not in UNWATCHED and not name.startswith(RULE)


@dataclass(frozen=True, slots=True)
class ColumnBins:
    """The bins of one column.

    A numeric column with the edges e0 < ... < em has m bins [e(i), e(i+1)) and then ``below``, ``above``,
    ``missing``; the reference lies in [e0, em). A categorical one has a bin a category, then ``other``, ``missing``.

    Attributes
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
        """Count a column as it comes (`training.schema.rows.Columns`), shape (size,)."""
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
        edges = np.array(self.edges)
        if len(edges) > _MANY_EDGES:
            places = values.astype(np.intp) if self.name == ROW else self.places(values)  # cells are their own places
            return np.bincount(places, minlength=self.size)
        if len(values) <= _SMALL:
            at_least = np.count_nonzero(values[:, None] >= edges, axis=0)
        else:
            at_least = np.zeros(len(edges), dtype=np.int64)
            for start in range(0, len(values), _CHUNK):  # so many stay in the fastest memory for all edges
                part = values[start : start + _CHUNK]
                at_least += [np.count_nonzero(part >= edge) for edge in self.edges]
        out[: len(self.edges) - 1] = at_least[:-1] - at_least[1:]
        out[-3] = known - at_least[0]
        out[-2] = at_least[-1]
        return out

    def places(self, column: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return the bin of each value, shape (n,): the place of its count in what `count` returns.

        Examples
        --------
        >>> ColumnBins("x", "numeric", edges=(0.0, 1.0, 2.0)).places(np.array([0.5, -1.0, 2.0, np.nan])).tolist()
        [0, 2, 3, 4]
        """
        if self.kind == "categorical":
            known: dict[Any, int] = {category: place for place, category in enumerate(self.categories)} | {None: self.size - 1}
            other = self.size - 2
            return np.fromiter((known.get(value, other) for value in column.tolist()), np.intp, len(column))
        values = self.values(column)
        if not self.edges:
            return np.where(values == values, self.size - 2, self.size - 1)
        place_of = np.array([self.size - 3, *range(len(self.edges) - 1), self.size - 2])
        return np.where(values == values, place_of[np.searchsorted(self.edges, values, side="right")], self.size - 1)

    def count_blocks(self, column: npt.NDArray[Any], block: npt.NDArray[np.intp], n_blocks: int) -> npt.NDArray[np.int64]:
        """Count a column apart for each block, shape (n_blocks, size); `block` has the number of each row's."""
        cells = block * self.size + self.places(column)
        return np.bincount(cells, minlength=n_blocks * self.size).reshape(n_blocks, self.size)

    def _count_categories(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        counted = occurrences(values)
        out = np.zeros(self.size, dtype=np.int64)
        out[-1] = counted.pop(None, 0)
        for place, category in enumerate(self.categories):
            out[place] = counted.pop(category, 0)
        out[-2] = counted.total()
        return out


def rank_scores(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return location and scale scores of ordered bins: ranks, and how far ranks are from the middle, without the missing.

    Parameters
    ----------
    shares
        Of the bins in the order of `ColumnBins`: inner ones, below, above, missing; shape (size,).

    Returns
    -------
    Scores with mean 0 under `shares`, shape (size, 2); those of missing are 0.

    Examples
    --------
    >>> rank_scores(np.array([0.5, 0.5, 0.0, 0.0, 0.0]))[:2].round(2).tolist()
    [[-0.87, 0.0], [0.87, 0.0]]
    """
    size = len(shares)
    order = np.array([size - 3, *range(size - 3), size - 2])
    known = shares[order] / max(float(shares[order].sum()), 1e-12)
    location = (np.cumsum(known) - known / 2 - 0.5) * np.sqrt(12.0)
    scale = location**2 - float(known @ location**2)
    scores = np.zeros((size, 2))
    scores[order] = np.stack([location, scale], axis=1)
    return scores


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
        return Profile(
            self.bins_id,
            self.rows + other.rows,
            _sums(self.counts, other.counts),
            _extremes(self.minimum, other.minimum, min),
            _extremes(self.maximum, other.maximum, max),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "bins_id": self.bins_id,
            "rows": self.rows,
            "counts": {n: _packed(c) for n, c in self.counts.items()},
            "minimum": self.minimum,
            "maximum": self.maximum,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Profile:
        """Read what `to_dict` wrote."""
        counts = {n: _unpacked(c) for n, c in stored["counts"].items()}
        return cls(stored["bins_id"], stored["rows"], counts, dict(stored["minimum"]), dict(stored["maximum"]))

    def to_json(self) -> bytes:
        """Return canonical JSON bytes."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes | str) -> Profile:
        """Read what `to_json` wrote."""
        return cls.from_dict(orjson.loads(text))


def _packed(counts: npt.NDArray[np.int64]) -> list[int] | dict[str, Any]:
    """Return counts as they are stored; of many that are mostly zero their number, and places and values of the others."""
    places = np.flatnonzero(counts) if len(counts) > _MANY_EDGES else counts
    if 2 * len(places) >= len(counts):
        return list(counts.tolist())
    return {"size": len(counts), "at": places.tolist(), "counts": counts[places].tolist()}


def _unpacked(stored: list[int] | dict[str, Any]) -> npt.NDArray[np.int64]:
    if isinstance(stored, list):
        return np.array(stored, dtype=np.int64)
    counts = np.zeros(stored["size"], dtype=np.int64)
    counts[stored["at"]] = stored["counts"]
    return counts


def _sums(a: dict[str, npt.NDArray[np.int64]], b: dict[str, npt.NDArray[np.int64]]) -> dict[str, npt.NDArray[np.int64]]:
    if a.keys() == b.keys():
        return {n: a[n] + b[n] for n in sorted(a)}
    sums = {n: own.copy() for n, own in a.items()}
    for n, more in b.items():
        sums[n] = sums[n] + more if n in sums else more.copy()
    return dict(sorted(sums.items()))


def _extremes(a: dict[str, float], b: dict[str, float], choose: Any) -> dict[str, float]:
    if a.keys() == b.keys():
        return {n: choose(a[n], b[n]) for n in sorted(a)}
    return {n: choose(a.get(n, b.get(n)), b.get(n, a.get(n))) for n in sorted(a.keys() | b.keys())}


@dataclass(frozen=True)
class Bins:
    """The bins of all columns of a model, pseudo columns included.

    Parameters
    ----------
    key
        The id of the measures they are the bins of, where these are more than bins (`training.profiles.measures`).

    Examples
    --------
    >>> bins = Bins((ColumnBins("x", "numeric", edges=(0.0, 1.0, 2.0)),))
    >>> bins.count({"x": np.array([0.5, 1.0, 9.0, np.nan])}).counts["x"].tolist()
    [1, 1, 0, 1, 1]
    """

    columns: tuple[ColumnBins, ...]
    key: str = ""

    def __post_init__(self) -> None:
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "_id", self.key or hashlib.sha256(canonical.encode()).hexdigest()[:16])

    @property
    def id(self) -> str:
        """The key, or the first 16 hexadecimal digits of the SHA-256 of the canonical JSON of the bins."""
        return str(self._id)  # type: ignore[attr-defined]

    def column(self, name: str) -> ColumnBins:
        """Return the bins of one column; raises KeyError."""
        return {c.name: c for c in self.columns}[name]

    def count(self, columns: Mapping[str, npt.NDArray[Any]]) -> Profile:
        """Count rows; a column that is not handed over is not counted.

        Parameters
        ----------
        columns
            Columns as in `training.schema.rows.Columns`, all of one length; also ``@score`` and ``@label``.
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

    def count_blocks(self, columns: Mapping[str, npt.NDArray[Any]], bounds: npt.NDArray[np.intp]) -> list[Profile]:
        """Count blocks of rows that lie one after another: what `count` returns for each, at once.

        Parameters
        ----------
        bounds
            Shape (n_blocks + 1,), increasing: block i has the rows from bounds[i] up to, not including, bounds[i + 1].
        """
        n_blocks, sizes = len(bounds) - 1, np.diff(bounds)
        if bounds[-1] - bounds[0] > _LARGE * n_blocks:
            spans = [slice(start, stop) for start, stop in pairwise(bounds.tolist())]
            return [self.count({name: values[span] for name, values in columns.items()}) for span in spans]
        block = np.repeat(np.arange(n_blocks), sizes)
        blocks = [Profile(self.id, size, {}, {}, {}) for size in sizes.tolist()]
        for bins in self.columns:
            if bins.name not in columns:
                continue
            column = columns[bins.name][bounds[0] : bounds[-1]]
            for profile, counts in zip(blocks, bins.count_blocks(column, block, n_blocks), strict=True):
                profile.counts[bins.name] = counts
            if bins.kind == "numeric" and len(column):
                values, starts = bins.values(column), bounds[:-1] - bounds[0]
                lowest, highest = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
                for profile, low, high in zip(blocks, lowest.tolist(), highest.tolist(), strict=True):
                    if low == low:
                        profile.minimum[bins.name], profile.maximum[bins.name] = low, high
        return blocks

    def under(self, key: str) -> Bins:
        """Return the same bins under another key."""
        return replace(self, key=key)

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
        """Read what `to_dict` wrote."""
        return cls(tuple(ColumnBins(c["name"], c["kind"], tuple(c["edges"]), tuple(c["categories"]), c["part"]) for c in stored))
