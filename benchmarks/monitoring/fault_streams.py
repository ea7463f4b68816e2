"""The streams on which fault finding is measured, and the faults that are put into them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.bikes import stream
from monitoring.judging.data_faults import Known
from monitoring.judging.usual_ranges import Usual, is_constant_in, usual_blocks
from training.clock import duration_us
from training.dataset.dataset import read_table, rows_from_columns
from training.model_file.model_spec import load_spec
from training.policies import FaultPolicy, WatchingPolicy
from training.profiles.bins import Profile
from training.profiles.decimals import is_finer
from training.profiles.reference import Reference, build_reference
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

HISTORY = 0.25  # of a real stream's rows
REAL = ("bank_marketing", "beijing_pm25", "bike_sharing", "elec2")
EXAMPLES = Path(__file__).parents[2] / "examples"
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Stream:
    """Rows in time order after those a reference was learned from."""

    name: str
    reference: Reference
    rows: Rows
    watching: WatchingPolicy

    @property
    def bucket_us(self) -> int:
        """Width of a bucket."""
        return duration_us(self.watching.bucket)

    def buckets(self, rows: Rows) -> list[tuple[int, Profile]]:
        """Count rows by bucket, as the drain does."""
        if not len(rows):
            return []
        measures = self.reference.measures
        number = rows.time_us // self.bucket_us
        bounds = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1], [True]]))
        computed = measures.computed(rows.columns, rows.time_us)
        profiles = measures.bins.count_blocks(computed, bounds)
        return list(zip((number[bounds[:-1]] * self.bucket_us).tolist(), profiles, strict=True))


def example(seed: int, *, events: bool) -> Stream:
    """Return the example's live year."""
    spec = load_spec(EXAMPLES / "bikes" / "model.yaml")
    schema = _open(spec.schema)
    history = rows_from_columns(stream.history(seed), schema)
    name = "example" + (" with events" if events else "")
    return _stream(name, history, rows_from_columns(stream.live(seed, events=events), schema), schema, spec.watching)


def real(name: str, folder: Path) -> Stream:
    """Return the last three quarters of a real stream."""
    if name == "beijing_pm25":
        schema, watching = _beijing()
    else:
        spec = load_spec(EXAMPLES / "real" / f"{name}.yaml")
        schema, watching = _open(spec.schema), spec.watching
    rows = read_table(folder / name / f"{name}.csv.gz", schema)
    cut = int(np.searchsorted(rows.time_us, rows.time_us[int(len(rows) * HISTORY)]))
    return _stream(name, rows.slice(0, cut), rows.slice(cut, len(rows)), schema, watching)


def _stream(name: str, history: Rows, live: Rows, schema: Schema, watching: WatchingPolicy) -> Stream:
    return Stream(name, build_reference(history, schema, watching), live, watching)


def _open(schema: Schema) -> Schema:
    """Let every value pass: what a schema refuses is found as refused, and would be counted as found here."""
    features = (replace(f, nullable=True, minimum=None, maximum=None, categories=None) for f in schema.features)
    return replace(schema, features=tuple(features))


def _beijing() -> tuple[Schema, WatchingPolicy]:
    numbers = ("SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM")
    features = [Feature(name, "integer") for name in ("hour", "month")]
    features += [Feature(name, "numeric", nullable=True) for name in numbers]
    features.append(Feature("wd", "categorical", nullable=True))
    schema = Schema(tuple(features), "target", "regression", time=TimeColumn("event_time", "timestamp"))
    return schema, WatchingPolicy(faults=FaultPolicy(minimum_rows=24))


KINDS = ("nulls", "times 1.6", "times 1.6, rounded", "1.8 x + 32", "duplicates", "renamed", "stuck")
NULL_SHARE, DUPLICATE_SHARE = 0.4, 0.3
VARIES = 0.9  # of the reference's groups: a column that stands still in more of them by nature is not called stuck
STILL = 0.9  # of a group's rows have one value: it stands still
CHANGED = 0.25  # of the values at least: what changes fewer is no fault of the column (what is dry stays dry, times 1.6)


def eligible(stream: Stream, known: Known, kind: str) -> list[str]:
    """Return the columns a kind of fault can be put into: numbers that vary for another unit, categories for other names.

    No values are taken from a column that misses as many in some group of the reference: for the product that is as ever.
    """
    blocks = usual_blocks(stream.reference, known.policy.minimum_rows)
    columns = [c for c in known.columns.values() if not c.is_constant or c.is_calendar]
    if kind == "duplicates":
        return ["*"]
    if kind == "nulls":
        return [c.bins.name for c in columns if max(b.counts[c.bins.name][-1] / b.rows for b in blocks) < NULL_SHARE]
    if kind == "renamed":
        return [c.bins.name for c in columns if c.bins.kind == "categorical"]
    if kind == "stuck":
        return [c.bins.name for c in columns if not c.is_calendar and np.mean([not _stands_still(b, c) for b in blocks]) >= VARIES]
    varying = [c for c in columns if c.is_calendar or np.mean([not is_constant_in(b, c.bins.name) for b in blocks]) >= VARIES]
    return [c.bins.name for c in varying if c.bins.kind == "numeric" and c.bins.part == "value" and len(c.bins.edges) > 2]


def _stands_still(block: Profile, column: Usual) -> bool:
    counts = block.counts[column.bins.name][:-1]
    is_one_value = column.is_discrete and counts.max(initial=0) >= STILL * counts.sum()
    return bool(is_one_value or is_constant_in(block, column.bins.name))


def changed_share(before: Values, after: Values) -> float:
    """Return the share of the values that are others now.

    Examples
    --------
    >>> changed_share(np.array([1.0, 2.0, np.nan, 4.0]), np.array([1.0, 3.0, np.nan, np.nan]))
    0.5
    """
    both_missing = (before != before) & (after != after)
    return float(np.mean((before != after) & ~both_missing))


def broken_rows(rows: Rows, first: int, kind: str, column: str, rng: np.random.Generator) -> Rows:
    """Return rows of which those from `first` on are broken."""
    if kind == "duplicates":
        return _duplicated(rows, first, rng)
    values = rows.columns[column].copy()
    later = values[first:]
    if kind == "nulls":
        later[rng.random(len(later)) < NULL_SHARE] = None if values.dtype == object else np.nan
    elif kind == "renamed":
        later[:] = [None if v is None else f"new {v}" for v in later.tolist()]
    elif kind == "stuck":
        known = [v for v in later.tolist() if v is not None and v == v]
        later[:] = known[0]
    elif kind == "1.8 x + 32":
        later[:] = 1.8 * later + 32
    else:
        digits = next((d for d in range(7) if not is_finer(values, d).any()), None) if kind.endswith("rounded") else None
        later[:] = 1.6 * later if digits is None else np.round(1.6 * later, digits)
    return Rows({**rows.columns, column: values}, rows.labels, rows.time_us)


def _duplicated(rows: Rows, first: int, rng: np.random.Generator) -> Rows:
    """Send some rows twice, so that of all that come so many came before."""
    n = len(rows)
    again = (np.arange(n) >= first) & (rng.random(n) < DUPLICATE_SHARE / (1 - DUPLICATE_SHARE))
    chosen = np.repeat(np.arange(n), 1 + again)
    columns = {name: values[chosen] for name, values in rows.columns.items()}
    return Rows(columns, None if rows.labels is None else rows.labels[chosen], rows.time_us[chosen])
