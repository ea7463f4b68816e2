import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.policies import ColumnRule, WatchingPolicy
from training.profiles.bins import Bins, ColumnBins, Profile
from training.profiles.measures import Measures, Segment, outputs_of
from training.profiles.reference import Answered, learn_measures
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

HOUR_US = 3_600_000_000
START_US = 1_767_225_600_000_000  # 2026-01-01
SCHEMA = Schema(
    (
        Feature("a", "numeric", nullable=True),
        Feature("b", "numeric", nullable=True),
        Feature("few", "integer"),
        Feature("wet", "boolean"),
        Feature("city", "categorical", nullable=True),
        Feature("month", "integer"),
        Feature("clock", "categorical"),
        Feature("number", "integer"),
        Feature("at", "datetime"),
    ),
    "y",
    "binary",
    ("no", "yes"),
    time=TimeColumn("at"),
)
WATCHING = WatchingPolicy(bucket=WatchingPolicy().bucket / 24, segments=("city", "few", "wet"), rules={"a": ColumnRule((-2.0, 2.0))})
HOURS = np.array([f"{hour}h" for hour in range(24)], object)


def make(n: int, seed: int = 0, start: int = 0) -> tuple[Columns, np.ndarray, Prediction]:
    rng = np.random.default_rng(seed)
    hour = start + np.arange(n)
    time_us = START_US + hour * HOUR_US
    a = rng.normal(size=n)
    columns = {
        "a": np.where(rng.random(n) < 0.1, np.nan, a),
        "b": np.where(rng.random(n) < 0.1, np.nan, 0.8 * a + 0.6 * rng.normal(size=n)),
        "few": rng.integers(0, 14, n).astype(float),
        "wet": rng.integers(0, 2, n).astype(float),
        "city": rng.choice(np.array([*"abcdefghijklm", None], object), n),
        "month": time_us.astype("M8[us]").astype("M8[M]").astype(np.int64) % 12 + 1.0,
        "clock": HOURS[hour % 24],
        "number": 1000.0 + hour,
        "at": time_us / 1e6,
    }
    p = rng.random(n)
    return columns, time_us, Prediction(np.where(p > 0.5, "yes", "no").astype(object), np.column_stack([1 - p, p]), ("no", "yes"))


COLUMNS, TIMES, ANSWERS = make(24 * 70)
MEASURES = learn_measures(Rows(COLUMNS, None, TIMES), SCHEMA, WATCHING, Answered(ANSWERS, np.arange(len(TIMES))))


def counted(columns: Columns, time_us: np.ndarray, prediction: Prediction | None) -> dict[str, Profile]:
    return dict(MEASURES.profiles(columns, time_us, prediction))


def merged(parts: list[dict[str, Profile]]) -> dict[str, dict]:
    out: dict[str, Profile] = {}
    for part in parts:
        for key, profile in part.items():
            out[key] = out[key].merge(profile) if key in out else profile
    return {key: profile.to_dict() for key, profile in sorted(out.items())}


def test_all_that_is_counted_of_a_row_is_learned() -> None:
    assert [column.name for column in MEASURES.bins.columns] == [
        *SCHEMA.names,
        *("@score", "@label", "@confidence", "@missing", "@residual", "@distance", "@product:a*b", "@rule:a", "@hour", "@decimals", "@row"),
    ]
    assert [(column.name, column.part) for column in MEASURES.calendar] == [("month", "month"), ("clock", "hour")]
    assert MEASURES.running == ("number",)
    assert [len(segment.keys) for segment in MEASURES.segments] == [11, 11, 3]
    assert MEASURES.keys[0] == ""
    assert "wet=1" in MEASURES.keys
    assert set(SCHEMA.names) - set(MEASURES.watched) == {"number"}
    assert {"@hour", "@rule:a", "@decimals", "@row"} & set(MEASURES.watched) == set()
    assert [MEASURES.is_number(name) for name in ("a", "wet", "city", "month", "clock", "at", "@score", "unknown")] == [
        *(True, True, False, True, False, True, None, None),
    ]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=5), st.integers(0, 2**16))
def test_counts_of_parts_add_up_to_those_of_the_whole_in_any_order(sizes: list[int], seed: int) -> None:
    columns, time_us, prediction = make(sum(sizes), seed, start=24 * 60)
    order = np.random.default_rng(seed).permutation(sum(sizes))
    parts = [
        counted({name: values[part] for name, values in columns.items()}, time_us[part], prediction.take(part))
        for part in np.split(order, np.cumsum(sizes)[:-1])
    ]

    assert merged(parts) == merged([counted(columns, time_us, prediction)])


def test_a_row_is_counted_alike_alone_and_among_others() -> None:
    """Rows of the reference lie on the edges of their own bins: the last bit of a derived value decides where they are counted."""
    columns, time_us, prediction = make(40)
    alone = [
        counted({n: v[i : i + 1] for n, v in columns.items()}, time_us[i : i + 1], prediction.take(slice(i, i + 1))) for i in range(40)
    ]

    assert merged(alone) == merged([counted(columns, time_us, prediction)])


def test_segments_are_those_rows_counted_alone() -> None:
    profiles = counted(COLUMNS, TIMES, ANSWERS)

    assert set(MEASURES.keys) - set(profiles) == {"wet=(other)"}
    for key, mask in MEASURES.parts(COLUMNS):
        rows = {name: values[mask] for name, values in COLUMNS.items()}
        alone = MEASURES.computed(rows, TIMES[mask], ANSWERS.take(mask))
        told_by_all = {"@decimals", "@row"}
        assert profiles[key].to_dict() == MEASURES.count({n: v for n, v in alone.items() if n not in told_by_all}).to_dict(), key
    for segment in MEASURES.segments:
        assert sum(profiles[key].rows for key in segment.keys if key in profiles) == len(TIMES)


def test_values_that_no_key_can_hold_are_among_the_others() -> None:
    values = ["a" * 101] * 4 + ["\x00b", "c\nd", "\ud800"] * 3 + ["e" * 100, "(other)", "f"]

    segment = Segment.learn("x", np.array([*values, None], object))

    assert segment.values == ("e" * 100, "f")
    assert segment.places(np.array([*values, None], object)).tolist() == [2] * 13 + [0, 2, 1, 2]
    assert Segment.learn("x", np.array([3.0, 3.0, 1e20, -1.0, np.nan])).values == ("3", "-1", "100000000000000000000")


def test_measures_survive_json_and_count_the_same() -> None:
    read = Measures.from_json(MEASURES.to_json())

    assert (read, read.id, read.to_json()) == (MEASURES, MEASURES.id, MEASURES.to_json())
    assert read.watched == MEASURES.watched
    assert {k: p.to_dict() for k, p in read.profiles(COLUMNS, TIMES, ANSWERS)} == {
        k: p.to_dict() for k, p in MEASURES.profiles(COLUMNS, TIMES, ANSWERS)
    }
    assert all(profile.bins_id == MEASURES.id == MEASURES.bins.id for profile in counted(COLUMNS, TIMES, ANSWERS).values())


def test_many_rows_are_counted_as_few_are_and_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def most_memory(times: int) -> int:
        columns, time_us = {name: np.tile(values, times) for name, values in COLUMNS.items()}, np.tile(TIMES, times)
        tracemalloc.start()
        try:
            assert dict(MEASURES.profiles(columns, time_us))[""].rows == times * len(TIMES)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    whole = counted(COLUMNS, TIMES, ANSWERS)
    monkeypatch.setattr("training.profiles.measures._BLOCK_ROWS", 700)

    assert {key: p.to_dict() for key, p in counted(COLUMNS, TIMES, ANSWERS).items()} == {key: p.to_dict() for key, p in whole.items()}
    assert list(counted(COLUMNS, TIMES, ANSWERS)) == list(whole)
    assert most_memory(20) < 1.5 * most_memory(1)


def test_bins_alone_keep_the_id_they_had_before_there_were_measures() -> None:
    bins = Bins((ColumnBins("x", "numeric", edges=(0.0, 1.0)),))

    assert Measures(bins).id == bins.id == "89a69e7de70ace10"
    assert Measures(bins, running=("x",)).id == bins.id
    assert Measures(bins, segments=(Segment("x", ("1",)),)).id != bins.id
    assert Measures.from_dict(bins.to_dict()) == Measures(bins) == Measures.from_dict({"bins": bins.to_dict()})
    assert json.loads(Measures(bins).to_json()) == {"bins": bins.to_dict()}
    assert MEASURES.without_segments().without_derived().id != MEASURES.id
    assert MEASURES.without_segments().keys == ("",)
    assert [c.name for c in MEASURES.without_derived().bins.columns][-1] == "@confidence"


def test_what_another_version_does_not_send_is_not_counted_nor_what_is_computed_of_it() -> None:
    columns = {name: values for name, values in COLUMNS.items() if name not in ("b", "city", "month")}

    profiles = counted(columns, TIMES, None)

    assert set(profiles[""].counts) == {"a", "few", "wet", "clock", "number", "at", "@rule:a", "@hour", "@decimals"}
    assert not any(key.startswith("city") for key in profiles)


SURE = {"@score": [0.25], "@label": ["a"], "@confidence": [0.75]}


@pytest.mark.parametrize(
    ("prediction", "outputs"),
    [
        (None, {}),
        (Prediction(np.array([4.0])), {"@score": [4.0]}),
        (
            Prediction(np.array(["b"], object), np.array([[0.25, 0.75]]), ("a", "b")),
            {"@score": [0.75], "@label": ["b"], "@confidence": [0.75]},
        ),
        (Prediction(np.array(["c"], object), np.array([[0.2, 0.2, 0.6]]), ("a", "b", "c")), {"@score": [0.6], "@label": ["c"]}),
    ],
    ids=["none", "a value", "two classes", "three classes"],
)
def test_an_answer_is_counted_by_score_label_and_confidence(prediction: Prediction | None, outputs: dict) -> None:
    assert {name: values.tolist() for name, values in outputs_of(prediction).items()} == outputs
