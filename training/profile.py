"""Profiles of columns, and the reference: the training rows counted whole and by block of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from training.bins import LABEL, SCORE, Bins, ColumnBins, Profile
from training.clock import duration_us
from training.prediction import Prediction
from training.rows import Columns, Rows
from training.schema import Schema

__all__ = ["LABEL", "SCORE", "Bins", "ColumnBins", "Profile", "Reference", "build_reference", "with_outputs"]

QUANTILES = 10
POINT_MASS = 0.08
FEW_VALUES = 12
TOP_CATEGORIES = 30
MOST_BLOCKS = 400
_HOURS = tuple(float(h) for h in range(0, 25, 2))


@dataclass(frozen=True, slots=True)
class Reference:
    """What the training rows looked like.

    Parameters
    ----------
    total
        The counts of all rows.
    bucket_blocks, window_blocks
        The counts of the rows' own blocks of time, at the widths of ``watching.bucket`` (aligned to the epoch, as the
        log's) and ``watching.window`` (whole ones, counted back from the last row); at most 400 of each, the newest.
        They say how much the reference differs from itself: the floor of drift, the normal rate of faults.
    """

    bins: Bins
    total: Profile
    bucket_blocks: tuple[Profile, ...]
    window_blocks: tuple[Profile, ...]
    bucket: timedelta
    window: timedelta

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "bins": self.bins.to_dict(),
            "total": self.total.to_dict(),
            "bucket_blocks": [p.to_dict() for p in self.bucket_blocks],
            "window_blocks": [p.to_dict() for p in self.window_blocks],
            "bucket_us": duration_us(self.bucket),
            "window_us": duration_us(self.window),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Reference:
        """Read what :meth:`to_dict` wrote."""
        return cls(
            Bins.from_dict(stored["bins"]),
            Profile.from_dict(stored["total"]),
            tuple(Profile.from_dict(p) for p in stored["bucket_blocks"]),
            tuple(Profile.from_dict(p) for p in stored["window_blocks"]),
            timedelta(microseconds=stored["bucket_us"]),
            timedelta(microseconds=stored["window_us"]),
        )

    def to_json(self) -> bytes:
        """Return canonical JSON bytes."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes | str) -> Reference:
        """Read what :meth:`to_json` wrote."""
        return cls.from_dict(orjson.loads(text))


def with_outputs(columns: Columns, prediction: Prediction | None) -> Columns:
    """Add the pseudo columns ``@score`` and ``@label`` (the latter for classes only)."""
    if prediction is None:
        return columns
    outputs = {SCORE: prediction.score}
    return columns | outputs | ({LABEL: prediction.label} if prediction.classes is not None else {})


def build_reference(rows: Rows, schema: Schema, *, bucket: timedelta, window: timedelta, prediction: Prediction | None = None) -> Reference:
    """Learn bins from `rows` and count them, whole and in blocks.

    Parameters
    ----------
    prediction
        What a model that has not seen them says about the **newest** ``len(prediction)`` rows (a model is surer of rows
        it was fitted on than of any to come). The pseudo columns are counted over those only, and left out of blocks
        that hold none of them; without a prediction they are left out altogether.
    """
    outputs = with_outputs({}, prediction)
    columns = rows.columns | outputs
    bins = Bins(tuple(_learn(name, values, schema) for name, values in columns.items()))
    counted = _Counted(bins, rows.columns, outputs, len(rows), len(rows) if prediction is None else len(rows) - len(prediction))
    total = counted.count(0, len(rows))
    buckets = rows.time_us // duration_us(bucket)
    span = duration_us(window)
    back = (int(rows.time_us[-1]) - rows.time_us) // span if len(rows) else rows.time_us
    whole = int(rows.time_us[-1] + 1 - rows.time_us[0]) // span if len(rows) else 0
    windows = np.where(back < whole, -back, np.iinfo(np.int64).min)
    return Reference(bins, total, _blocks(counted, buckets), _blocks(counted, windows), bucket, window)


@dataclass(frozen=True, slots=True)
class _Counted:
    """Columns of `rows` rows, and outputs that begin at row `begin`."""

    bins: Bins
    columns: Columns
    outputs: Columns
    rows: int
    begin: int

    def count(self, start: int, stop: int) -> Profile:
        features = {n: v[start:stop] for n, v in self.columns.items()}
        first, last = max(start, self.begin) - self.begin, stop - self.begin
        found = {n: v[first:last] for n, v in self.outputs.items()} if last > first else {}
        return self.bins.count(features | found)


def _blocks(counted: _Counted, block: npt.NDArray[np.int64]) -> tuple[Profile, ...]:
    """Count each run of equal `block` numbers (ascending); runs marked with the least int64 are left out."""
    starts = np.flatnonzero(np.append(True, block[1:] != block[:-1])[: len(block)])
    stops = np.append(starts[1:], len(block))
    kept = [(a, b) for a, b in zip(starts, stops, strict=True) if block[a] != np.iinfo(np.int64).min]
    return tuple(counted.count(int(a), int(b)) for a, b in kept[-MOST_BLOCKS:])


def _learn(name: str, values: npt.NDArray[Any], schema: Schema) -> ColumnBins:
    if values.dtype == object:
        return ColumnBins(name, "categorical", categories=_top_categories(values))
    if name in schema.names and schema.feature(name).kind == "datetime":
        return ColumnBins(name, "numeric", edges=_HOURS, part="hour")
    return ColumnBins(name, "numeric", edges=numeric_edges(values))


def _top_categories(values: npt.NDArray[Any]) -> tuple[str, ...]:
    found = Counter(v for v in values.tolist() if v is not None)
    top = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:TOP_CATEGORIES]
    return tuple(category for category, _ in top)


def numeric_edges(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return bin edges for a numeric column: a bin a value when there are few, else tenths; heavy values stand alone.

    Examples
    --------
    >>> numeric_edges(np.array([0.0, 1.0, 1.0]))[:2]
    (0.0, 0.5)
    >>> len(numeric_edges(np.arange(1000.0)))
    11
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ()
    distinct, counts = np.unique(finite, return_counts=True)
    last = float(np.nextafter(distinct[-1], np.inf))
    if len(distinct) <= FEW_VALUES:
        middles = (distinct[:-1] + distinct[1:]) / 2
        return tuple(sorted({float(distinct[0]), *middles.tolist(), last}))
    heavy = distinct[counts >= POINT_MASS * len(finite)]
    light = finite[~np.isin(finite, heavy)]
    pieces = max(round(QUANTILES * len(light) / len(finite)), 1)
    inner = np.quantile(light, np.linspace(0, 1, pieces + 1)[1:-1], method="higher") if len(light) else np.empty(0)
    own = [edge for v in heavy.tolist() for edge in (v, float(np.nextafter(v, np.inf)))]
    return tuple(sorted({float(distinct[0]), *inner.tolist(), *own, last}))
