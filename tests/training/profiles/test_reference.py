import json
from datetime import timedelta

import numpy as np
import pytest
from scipy import stats

from training.policies import WatchingPolicy
from training.profiles.bins import ColumnBins
from training.profiles.reference import Reference, build_reference, count_reference, newest_answered
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

DAY = 86_400_000_000
DAILY = WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=3))
SCHEMA = Schema((Feature("x", "numeric"), Feature("c", "categorical", nullable=True), Feature("t", "datetime")), "y", "binary")


def make(n: int = 240) -> Rows:
    rng = np.random.default_rng(0)
    columns = {
        "x": np.where(rng.random(n) < 0.3, 0.0, rng.normal(size=n)),
        "c": rng.choice(np.array(["a", "b", None], object), n),
        "t": np.arange(n) * 3600.0,
    }
    return Rows(columns, np.array(["yes", "no"] * (n // 2), object), np.arange(n, dtype=np.int64) * (DAY // 24))


def test_every_row_of_the_reference_lies_inside_its_own_bins() -> None:
    total = build_reference(make(), SCHEMA, DAILY).total

    assert [total.counts[n][-3:].tolist() for n in ("x", "t")] == [[0, 0, 0], [0, 0, 0]]
    assert {int(c.sum()) for c in total.counts.values()} == {240}


def test_blocks_are_buckets_of_the_epoch_and_whole_windows_from_the_end() -> None:
    reference = build_reference(make(), SCHEMA, DAILY)

    assert [p.rows for p in reference.bucket_blocks] == [24] * 10
    assert [p.rows for p in reference.window_blocks] == [72] * 3


def test_outputs_are_counted_over_the_newest_rows_only() -> None:
    labels = np.array(["no", "yes"] * 24, object)
    answers = Prediction(labels, np.tile([[0.9, 0.1], [0.2, 0.8]], (24, 1)), ("no", "yes"))

    reference = build_reference(make(), SCHEMA, DAILY, newest_answered(answers, 240))

    assert (int(reference.total.counts["@score"].sum()), int(reference.total.counts["@label"].sum())) == (48, 48)
    assert ["@score" in p.counts for p in reference.bucket_blocks] == [False] * 8 + [True] * 2


def test_a_reference_survives_json() -> None:
    reference = build_reference(make(), SCHEMA, DAILY)

    read = Reference.from_json(reference.to_json())

    assert (read.bucket, read.window, read.bins) == (timedelta(days=1), timedelta(days=3), reference.bins)
    assert read.to_dict() == reference.to_dict()


def test_a_stored_reference_is_canonical() -> None:
    stored = build_reference(make(), SCHEMA, DAILY).to_json()

    assert stored.decode() == json.dumps(json.loads(stored), sort_keys=True, separators=(",", ":"))
    assert list(json.loads(stored)) == [
        *(
            "bins",
            "bucket_blocks",
            "bucket_starts",
            "bucket_us",
            "measures",
            "range_us",
            "total",
            "variation",
            "window_blocks",
            "window_us",
        ),
    ]


def test_a_reference_of_an_older_version_is_read_and_says_nothing_of_what_was_not_kept() -> None:
    whole = build_reference(make(), SCHEMA, DAILY).to_dict()
    kept = ("bins", "total", "bucket_blocks", "window_blocks", "bucket_us", "window_us")

    read = Reference.from_dict({key: whole[key] for key in kept})

    assert read.to_dict() == {key: whole[key] for key in kept}
    assert (read.variation, read.bucket_starts, read.segments, read.start_us, read.end_us) == (None, (), {}, None, None)
    assert (read.measures.derived, read.measures.id) == (None, read.bins.id)


def dated(n: int = 60 * 24) -> Rows:
    """Sixty days of an hour each from 2026 on; x is warmer by day and comes and goes by the day, y are its answers."""
    rng = np.random.default_rng(0)
    hour = np.arange(n)
    x = np.sin(hour / 24 * 2 * np.pi) + np.repeat(rng.normal(size=n // 24), 24) + 0.2 * rng.normal(size=n)
    columns = {"x": x, "c": rng.choice(np.array(["a", "b", None], object), n), "t": hour * 3600.0}
    return Rows(columns, None, 1_767_225_600_000_000 + hour * (DAY // 24))


def test_the_reference_says_how_each_column_and_segment_varies() -> None:
    watching = WatchingPolicy(bucket=timedelta(hours=1), window=timedelta(days=3), segments=("c",))
    answers = Prediction(np.arange(240.0))

    reference = build_reference(dated(), SCHEMA, watching, newest_answered(answers, 60 * 24))

    variation = reference.variation
    assert variation is not None
    assert (variation.is_enough, variation.bins_id) == (True, reference.measures.id)
    assert [c.name for c in variation.columns if c.segment == ""] == list(reference.measures.watched)
    assert {c.segment for c in variation.columns} == set(reference.measures.keys)
    for column in variation.columns:
        counted = (reference.segments[column.segment] if column.segment else reference.total).counts[column.name]
        assert column.total.tolist() == counted.tolist(), column.key
    (x,) = [c for c in variation.columns if c.key == "x"]
    assert (x.phase, bool(x.excess), x.is_ordered) == ("hour", True, True)
    assert Reference.from_json(reference.to_json()).to_json() == reference.to_json()


def test_nothing_is_derived_of_numbers_whose_levels_come_and_stay() -> None:
    rng = np.random.default_rng(0)
    n = 120 * 24
    season = np.sin(np.arange(n) / n * 2 * np.pi) + 0.3 * rng.normal(size=n)
    a = rng.normal(size=n)
    columns = {"season": season, "a": a, "b": a + rng.normal(size=n)}
    schema = Schema(tuple(Feature(name, "numeric") for name in columns), "y", "regression", time=TimeColumn("t"))
    rows = Rows(columns, None, 1_767_225_600_000_000 + np.arange(n) * (DAY // 24))

    derived = build_reference(rows, schema, DAILY).measures.derived

    assert derived is not None
    assert (derived.numbers, derived.pairs) == (("a", "b"), (("a", "b"),))


def test_without_times_nothing_is_known_of_how_columns_vary() -> None:
    variation = build_reference(make(), SCHEMA, DAILY).variation

    assert variation is not None
    assert (variation.is_enough, {c.phase for c in variation.columns}, {len(c.excess) for c in variation.columns}) == (False, {"none"}, {0})


def test_a_table_is_counted_under_the_measures_of_another() -> None:
    measures = build_reference(dated(), SCHEMA, DAILY).measures
    half = dated().slice(0, 30 * 24)

    reference = count_reference(measures, half, DAILY)

    assert (reference.measures, reference.total.bins_id, reference.total.rows) == (measures, measures.id, 720)
    assert (reference.start_us, reference.end_us) == (int(half.time_us[0]), int(half.time_us[-1]))


def test_a_column_of_nothing_has_bins_too() -> None:
    schema = Schema((Feature("x", "numeric", nullable=True),), "y", "regression")
    rows = Rows({"x": np.full(5, np.nan)}, np.zeros(5), np.arange(5))

    assert build_reference(rows, schema, WatchingPolicy(bucket=timedelta(1), window=timedelta(1))).total.counts["x"].tolist() == [0, 0, 5]


def above(value: float) -> float:
    """The next number."""
    return float(np.nextafter(value, np.inf))


def test_each_kind_of_column_has_its_bins() -> None:
    schema = Schema(
        (Feature("x", "integer"), Feature("c", "categorical", nullable=True), Feature("t", "datetime")), "y", "binary", ("no", "yes")
    )
    columns = {"x": np.array([1.0, 3.0]), "c": np.array([None, "b"], object), "t": np.array([0.0, 86_400.0 * 9 + 3600.0])}
    answers = Prediction(np.array(["yes"], object), np.array([[0.25, 0.75]]), ("no", "yes"))

    reference = build_reference(
        Rows(columns, None, np.array([0, 9 * DAY])),
        schema,
        WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=2)),
        newest_answered(answers, 2),
    )

    assert reference.bins.columns == (
        ColumnBins("x", "numeric", (1.0, 2.0, above(3))),
        ColumnBins("c", "categorical", (), ("b",)),
        ColumnBins("t", "numeric", (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 24.0), (), "hour"),
        ColumnBins("@score", "numeric", (0.75, above(0.75))),
        ColumnBins("@label", "categorical", (), ("yes",)),
        ColumnBins("@confidence", "numeric", (0.75, above(0.75))),
    )
    assert {name: counts.tolist() for name, counts in reference.total.counts.items()} == {
        "x": [1, 1, 0, 0, 0],
        "c": [1, 0, 1],
        "t": [2] + [0] * 14,
        "@score": [1, 0, 0, 0],
        "@label": [1, 0, 0],
        "@confidence": [1, 0, 0, 0],
    }


def test_the_thirty_commonest_categories_have_bins_and_ties_are_taken_by_name() -> None:
    names = [f"c{k:02}" for k in range(32)]
    values = np.array([*reversed(names), "c31", "c31", "c09", None, None], object)
    schema = Schema((Feature("c", "categorical", nullable=True),), "y", "regression")

    reference = build_reference(
        Rows({"c": values}, None, np.arange(len(values))), schema, WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=1))
    )

    (column,) = reference.bins.columns
    assert column.categories == ("c31", "c09", *(name for name in names if name not in ("c31", "c09", "c29", "c30")))
    assert reference.total.counts["c"].tolist() == [3, 2, *[1] * 28, 2, 2]


@pytest.mark.parametrize(
    ("times", "buckets", "windows"),
    [
        pytest.param(range(5, 25), [5, 10, 5], [10, 10], id="two whole windows"),
        pytest.param(range(5, 24), [5, 10, 4], [10], id="one whole window, counted from the end"),
        pytest.param(range(5, 14), [5, 4], [], id="not one whole window"),
        pytest.param([0, 1, 2, 9, 30, 39], [4, 2], [4, 2], id="times without rows are no blocks"),
        pytest.param([7, 7, 7], [3], [], id="one time"),
    ],
)
def test_blocks_have_their_bounds(times: range | list[int], buckets: list[int], windows: list[int]) -> None:
    rows = Rows({"x": np.array(times, float)}, None, np.array(times, np.int64))
    ten = timedelta(microseconds=10)

    reference = build_reference(rows, Schema((Feature("x", "numeric"),), "y", "regression"), WatchingPolicy(bucket=ten, window=ten))

    assert [p.rows for p in reference.bucket_blocks] == buckets
    assert [p.rows for p in reference.window_blocks] == windows
    assert (reference.total.rows, reference.bucket, reference.window) == (len(times), ten, ten)


def test_of_many_blocks_four_hundred_are_kept_that_are_spread_over_all() -> None:
    times = np.arange(4 * 400, dtype=np.int64)
    unit = timedelta(microseconds=1)
    schema = Schema((Feature("x", "numeric"),), "y", "regression")

    reference = build_reference(Rows({"x": times.astype(float)}, None, times), schema, WatchingPolicy(bucket=unit, window=unit))

    for blocks in (reference.bucket_blocks, reference.window_blocks[::-1]):
        kept = np.array([p.minimum["x"] for p in blocks])
        assert (len(kept), abs(kept[0] - kept[-1])) == (400, 1599)
        assert set(np.abs(np.diff(kept)).tolist()) == {4.0, 5.0}
    assert reference.bucket_starts == tuple(int(p.minimum["x"]) for p in reference.bucket_blocks)


def test_answers_that_begin_within_a_block_are_counted_from_there() -> None:
    rows = Rows({"x": np.arange(6.0)}, None, np.arange(6))
    schema = Schema((Feature("x", "numeric"),), "y", "regression")
    three = timedelta(microseconds=3)

    reference = build_reference(
        rows, schema, WatchingPolicy(bucket=three, window=three), newest_answered(Prediction(np.array([7.0, 8.0, 9.0, 9.5])), 6)
    )

    assert [(p.minimum["@score"], p.maximum["@score"], int(p.counts["@score"].sum())) for p in reference.bucket_blocks] == [
        (7.0, 7.0, 1),
        (8.0, 9.5, 3),
    ]


def test_what_is_derived_of_later_rows_is_like_the_reference_however_many_columns_it_had_for_its_rows() -> None:
    names = [f"x{place}" for place in range(20)]
    schema = Schema(tuple(Feature(name, "numeric") for name in names), "y", "regression")
    few, many = (
        Rows({name: np.random.default_rng([n, place]).normal(size=n) for place, name in enumerate(names)}, None, np.arange(n))
        for n in (500, 20_000)
    )

    reference = build_reference(few, schema, DAILY)

    measures, total = reference.measures, reference.total
    live = measures.count(measures.computed(many.columns, many.time_us))
    for name in ("@residual", "@distance"):
        both = np.array([live.counts[name], total.counts[name]])
        assert stats.chi2_contingency(both[:, both.sum(axis=0) > 0]).pvalue > 1e-3
