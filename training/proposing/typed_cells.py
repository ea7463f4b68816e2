"""Typed columns of Parquet taken into the facts of their column, a part of the table at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from training.proposing.facts import PLAIN_SIGNS, Facts, Span
from training.proposing.text_cells import add_text, add_times
from training.schema.schema import normalise_label
from training.schema.spellings import MOST_WHOLE, is_too_large, number_of
from training.schema.times import EARLIEST_US, LATEST_US

_OTHERS = (
    (pa.types.is_nested, "lists or structs"),
    (pa.types.is_duration, "durations: write them as numbers of one unit"),
    (pa.types.is_time, "times of day without a date"),
    (pa.types.is_binary, "bytes"),
    (pa.types.is_large_binary, "bytes"),
    (pa.types.is_fixed_size_binary, "bytes"),
)


def add_cells(facts: Facts, cells: pa.Array) -> None:
    """Take in a part of any column."""
    kind = cells.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        add_text(facts, pc.cast(cells, pa.string()))
        return
    facts.n_rows += len(cells)
    facts.n_empty += cells.null_count
    known = cells.drop_null()
    if not len(known):
        return
    if pa.types.is_boolean(kind):
        facts.is_boolean, facts.numbers, facts.times = True, {}, {}
        facts.levels.add((name, count) for name, count in (("true", known.true_count), ("false", known.false_count)) if count)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        _add_numbers(facts, known)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        _add_stamps(facts, known)
    else:
        facts.numbers, facts.times = {}, {}
        facts.other = next((words for is_such, words in _OTHERS if is_such(kind)), f"values of type {kind}")


def _add_numbers(facts: Facts, known: pa.Array) -> None:
    decimals = known if pa.types.is_decimal(known.type) else None
    if decimals is not None:
        known = _plain(decimals)
    is_integer = pa.types.is_integer(known.type)
    exact = known.to_numpy(zero_copy_only=False) if is_integer else pc.cast(known, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values = exact.astype(np.float64)
    finite = values[np.isfinite(values)]
    facts.n_empty += int(np.isnan(values).sum())
    facts.infinite.update({str(value): int((values == value).sum()) for value in (np.inf, -np.inf) if (values == value).any()})
    facts.n_numbers += len(finite)
    facts.numbers = {PLAIN_SIGNS: facts.numbers[PLAIN_SIGNS].add(finite)}
    if is_integer and len(values) and float(np.abs(values).max()) >= MOST_WHOLE:
        facts.has_large |= any(is_too_large(int(value)) for value in exact[np.abs(values) >= MOST_WHOLE][:1000].tolist())
    if decimals is not None and not is_integer:  # by their digits: floats may be the same
        numbers = [number_of(value) for value in decimals.to_pylist()]
        facts.has_large |= any(map(is_too_large, numbers))
        facts.levels.add(Counter(map(normalise_label, numbers)).items())
    else:
        distinct, counts = np.unique(exact[np.isfinite(values)], return_counts=True)
        facts.levels.add((normalise_label(value), int(count)) for value, count in zip(distinct.tolist(), counts.tolist(), strict=True))
    if is_integer and len(exact):
        add_times(facts, pd.Series(exact.astype(np.int64, copy=False)), str(exact[0]))
    elif facts.infinite or not facts.numbers[PLAIN_SIGNS].is_whole:
        facts.times = {}
    elif len(finite):  # whole, as whole numbers become floats where some are missing
        add_times(facts, pd.Series(finite), normalise_label(finite[0]))


def _plain(decimals: pa.Array) -> pa.Array:
    """Return decimals as whole numbers where all are, as databases write their integers, else as the nearest floats."""
    try:
        return pc.cast(decimals, pa.int64())
    except pa.ArrowInvalid:
        return pc.cast(pc.cast(decimals, pa.string()), pa.float64())


def _add_stamps(facts: Facts, known: pa.Array) -> None:
    stamps = pc.cast(known, pa.timestamp("us", getattr(known.type, "tz", None)), safe=False)
    microseconds: npt.NDArray[np.int64] = pc.cast(stamps, pa.int64()).to_numpy(zero_copy_only=False)
    is_outside = (microseconds < EARLIEST_US) | (microseconds > LATEST_US)
    facts.numbers, facts.times = {}, facts.times or {None: Span()}
    facts.times[None].add(microseconds[~is_outside].astype(np.float64))
    if is_outside.any():
        facts.outside[None] += int(is_outside.sum())
        facts.sample_outside = str(known[int(np.flatnonzero(is_outside)[0])])
    distinct, counts = np.unique(microseconds, return_counts=True)
    facts.levels.add((str(value), int(count)) for value, count in zip(distinct.tolist(), counts.tolist(), strict=True))
