"""Every kind of fault, put into rows, counted by the product's bins and found by name; and what is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from monitoring.judging.data_faults import find, learn
from monitoring.judging.faults.repeated_rows import repeated_share
from monitoring.judging.faults.unit_changes import convert
from training.policies import ColumnRule, FaultPolicy, WatchingPolicy
from training.profiles.bins import Profile
from training.profiles.reference import Reference, build_reference
from training.schema.feature import Feature
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

DAY_US = 86_400_000_000
A_DAY = 60
KINDS = {"speed": "numeric", "warmth": "numeric", "age": "integer", "hour": "integer", "town": "categorical", "shop": "categorical"}
SCHEMA = Schema(
    tuple(Feature(name, kind, nullable=True) for name, kind in KINDS.items()),  # type: ignore[arg-type]
    "y",
    "regression",
    time=TimeColumn("at", "timestamp"),
)
RULES = {"age": ColumnRule((0.0, 120.0), 0.01)}
WATCHING = WatchingPolicy(bucket=timedelta(days=1), rules=RULES)


def rows(seed: int, days: int, first_day: int = 0) -> Rows:
    """A speed in tenths, a warmth in tenths that wanders from day to day, an age, the hour, a town, and a shop of each day."""
    rng = np.random.default_rng(seed)
    n = days * A_DAY
    day = first_day + np.arange(n) // A_DAY
    columns: Columns = {
        "speed": np.round(rng.gamma(3, 1.6, n), 1),
        "warmth": np.round(10 + 8 * np.sin(day / 5) + rng.normal(0, 3, n), 1),
        "age": rng.integers(18, 90, n).astype(float),
        "hour": np.arange(n) % A_DAY // 2.5 // 1,
        "town": rng.choice(np.array(["x", "y", "z"], dtype=object), n, p=[0.5, 0.3, 0.2]),
        "shop": np.array([f"s{d % 4}" for d in day], dtype=object),
    }
    return Rows(columns, None, day * DAY_US + np.arange(n) % A_DAY * (DAY_US // A_DAY))


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Sixty days of them."""
    return build_reference(rows(0, 60), SCHEMA, WATCHING)


def counted(reference: Reference, live: Rows) -> list[tuple[int, Profile]]:
    measures = reference.measures
    days = live.time_us // DAY_US
    out = []
    for day in np.unique(days).tolist():
        own = np.flatnonzero(days == day)
        columns = {name: values[own] for name, values in live.columns.items()}
        out.append((day * DAY_US, measures.count(measures.computed(columns, live.time_us[own], None))))
    return out


def findings(reference: Reference, live: Rows) -> list[tuple[str, str]]:
    return [(f.kind, f.column) for f in find(learn(reference, FaultPolicy(), RULES), counted(reference, live), DAY_US)]


def with_column(live: Rows, name: str, values: Any) -> Rows:
    return Rows({**live.columns, name: values}, None, live.time_us)


@pytest.mark.parametrize("seed", range(1, 4))
def test_rows_like_the_reference_have_no_fault(reference: Reference, seed: int) -> None:
    assert reference.measures.calendar[0].name == "hour"
    assert findings(reference, rows(seed, 100, first_day=60)) == []


@pytest.mark.parametrize(
    ("column", "change", "kind"),
    [
        ("speed", lambda v: v * 1.6, "decimals"),
        ("warmth", lambda v: 1.8 * v + 32, "decimals"),
        ("age", lambda v: v + 0.5, "decimals"),
        ("speed", lambda v: np.round(v / 3.6, 1), "unit_change"),
        ("speed", lambda v: np.where(np.arange(len(v)) % 5 < 2, np.nan, v), "null_burst"),
        ("age", lambda v: np.full_like(v, v[0]), "constant"),
        ("age", lambda v: v + 1000, "rule"),
        ("hour", lambda v: (v + 3) % 24, "off_calendar"),
        ("town", lambda v: np.array([f"{x} new" for x in v], dtype=object), "new_category"),
        ("shop", lambda v: np.array([f"{x} new" for x in v], dtype=object), "new_category"),
    ],
)
def test_each_fault_is_found_by_kind_and_column_on_its_day(
    reference: Reference, column: str, change: Callable[[Any], Any], kind: str
) -> None:
    live = rows(4, 1, first_day=61)

    assert (kind, column) in findings(reference, with_column(live, column, change(live.columns[column])))


def test_each_fault_is_found_at_other_sizes_too(reference: Reference) -> None:
    known = learn(reference, FaultPolicy(), RULES)
    live = rows(4, 1, first_day=61)
    place = np.arange(A_DAY)

    def faults_with(column: str, values: Any) -> set[tuple[str, str]]:
        return {(f.kind, f.column) for f in find(known, counted(reference, with_column(live, column, values)), DAY_US)}

    for column in KINDS:
        values = live.columns[column]
        nothing = None if values.dtype == object else np.nan
        for share in (0.3, 0.4, 0.6, 1.0):
            assert ("null_burst", column) in faults_with(column, np.where(place < share * A_DAY, nothing, values)), (column, share)
        assert faults_with(column, np.where(place < 0.2 * A_DAY, nothing, values)) == set(), column
    for column in ("speed", "warmth"):
        for factor in (0.453592, 0.5144, 1.6, 2.54, 3.28084):
            assert ("decimals", column) in faults_with(column, live.columns[column] * factor), (column, factor)
    for column, value in [("speed", 3.1), ("speed", 20.0), ("warmth", -4.0), ("age", 18.0), ("town", "x"), ("town", "z")]:
        stuck = np.full(A_DAY, value, dtype=live.columns[column].dtype)
        assert ("constant", column) in faults_with(column, stuck), (column, value)
    for column in ("town", "shop"):
        values = live.columns[column]
        assert ("new_category", column) in faults_with(column, np.array([v.upper() for v in values], dtype=object))


@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
def test_repeated_rows_are_found_in_any_number(reference: Reference, share: float) -> None:
    for seed in range(6, 9):
        live = rows(seed, 1, first_day=61)
        n = round(A_DAY * share / (1 - share))
        again = np.concatenate([np.arange(n), np.arange(A_DAY)])
        assert findings(reference, live.take(np.sort(again))) == [("duplicates", "*")], (seed, share)


def test_a_recalibrated_number_that_is_written_as_ever_is_no_fault(reference: Reference) -> None:
    for factor in (0.75, 1.25, 1.4):
        live = rows(5, 60, first_day=60)
        assert findings(reference, with_column(live, "speed", np.round(live.columns["speed"] * factor, 1))) == []


def test_a_category_of_names_that_never_come_back_may_have_new_ones() -> None:
    known, live = rows(0, 60), rows(1, 5, first_day=60)
    names = [np.array([f"lot {t // (4 * DAY_US)}" for t in r.time_us.tolist()], dtype=object) for r in (known, live)]
    reference = build_reference(with_column(known, "shop", names[0]), SCHEMA, WATCHING)

    assert findings(reference, with_column(live, "shop", names[1])) == []


def test_rows_that_come_twice_are_a_fault_however_they_are_batched(reference: Reference) -> None:
    live = rows(6, 1, first_day=61)
    again = np.repeat(np.arange(A_DAY), np.where(np.arange(A_DAY) % 5 < 2, 2, 1))
    twice = Rows({name: values[again] for name, values in live.columns.items()}, None, live.time_us[again])
    (_, whole), *_ = counted(reference, twice)
    parts = [Rows({n: v[a:b] for n, v in twice.columns.items()}, None, twice.time_us[a:b]) for a, b in ((0, 7), (7, 50), (50, len(again)))]
    merged = counted(reference, parts[0])[0][1]
    for part in parts[1:]:
        merged = merged.merge(counted(reference, part)[0][1])

    assert findings(reference, twice) == [("duplicates", "*")]
    assert (merged.counts["@row"] == whole.counts["@row"]).all()
    assert repeated_share(whole) == pytest.approx(24 / 84, abs=0.07)
    assert (Profile.from_json(whole.to_json()).counts["@row"] == whole.counts["@row"]).all()


def test_rows_that_are_alike_by_nature_are_told_from_repeated_ones_by_their_own_time_only() -> None:
    columns: Columns = {"age": np.repeat(np.arange(30.0), 100), "town": np.full(3000, "x", dtype=object)}
    live = Rows(columns, None, np.arange(3000) * (DAY_US // 100))
    timed = replace(SCHEMA, features=tuple(f for f in SCHEMA.features if f.name in columns))
    by_arrival = replace(timed, time=TimeColumn("at", clock="arrival"))
    day, again = live.slice(0, 100), live.slice(0, 40)

    assert learn(build_reference(live, by_arrival, WATCHING), FaultPolicy()).repeated is None
    reference = build_reference(live, timed, WATCHING)
    assert findings(reference, live) == []
    assert findings(reference, Rows.concat([day, again])) == [("duplicates", "*")]


def test_a_column_without_a_shape_is_not_held_against_conversions() -> None:
    blocks = [b for _, b in counted(build_reference(rows(0, 60), SCHEMA, WATCHING), rows(1, 3))]
    reference = build_reference(rows(0, 60), SCHEMA, WATCHING)

    assert convert(reference.bins.column("town"), blocks, reference.total) is None
    assert convert(reference.bins.column("speed"), blocks, reference.total) is not None


def test_a_number_may_rest_where_its_instrument_ends() -> None:
    """What lies below two is read as two, for days in winter: that is the end of the scale, and two in summer is not."""
    known, winter = rows(0, 60), rows(1, 1, first_day=60)
    cold = known.time_us // DAY_US % 4 == 0
    floored = np.where(cold & (np.random.default_rng(0).random(len(cold)) < 0.97), 2.0, np.maximum(known.columns["warmth"], 2.0))
    reference = build_reference(with_column(known, "warmth", floored), SCHEMA, WATCHING)

    assert findings(reference, with_column(winter, "warmth", np.full(A_DAY, 2.0))) == []
    assert findings(reference, with_column(winter, "warmth", np.full(A_DAY, 9.3))) == [("constant", "warmth")]

    floored[cold] = 2.0  # whole days of it: they excuse no rest at another value
    reference = build_reference(with_column(known, "warmth", floored), SCHEMA, WATCHING)
    assert findings(reference, with_column(winter, "warmth", np.full(A_DAY, 2.0))) == []
    assert findings(reference, with_column(winter, "warmth", np.full(A_DAY, 9.3))) == [("constant", "warmth")]


def test_days_on_which_the_feed_of_the_reference_came_otherwise_hide_no_other_unit() -> None:
    """A day of averages in place of readings: a column is written with as many decimals as before and after."""
    known, live = rows(0, 60), rows(1, 1, first_day=61)
    is_average = known.time_us // DAY_US == 52
    speed = np.where(is_average, known.columns["speed"] + 0.0312, known.columns["speed"])
    reference = build_reference(with_column(known, "speed", speed), SCHEMA, WATCHING)

    assert findings(reference, live) == []
    assert findings(reference, with_column(live, "speed", 1.6 * live.columns["speed"])) == [("decimals", "speed")]
