import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import BinsMismatchError
from training.profiles.bins import Bins, ColumnBins, Profile

BINS = Bins(
    (
        ColumnBins("x", "numeric", edges=(0.0, 1.0, 2.0)),
        ColumnBins("c", "categorical", categories=("a", "b")),
        ColumnBins("t", "numeric", edges=(0.0, 12.0, 24.0), part="hour"),
    )
)
COLUMNS = {
    "x": np.array([-1.0, 0.0, 1.5, 2.0, np.nan, np.inf]),
    "c": np.array(["a", "b", "z", None, "a", "a"], object),
    "t": np.array([0.0, 13 * 3600.0, 86400.0, np.nan, 1e9, 1e9]),
}


def test_each_value_falls_into_its_bin_and_the_rest_into_the_special_ones() -> None:
    counts = BINS.count(COLUMNS).counts

    assert counts["x"].tolist() == [1, 1, 1, 2, 1]
    assert counts["c"].tolist() == [3, 1, 1, 1]
    assert counts["t"].tolist() == [4, 1, 0, 0, 1]


@pytest.mark.parametrize("times", [1, 42, 43, 100], ids=["few", "252 values", "258 values", "many"])
def test_a_value_on_an_edge_belongs_to_the_bin_above_however_many_there_are(times: int) -> None:
    column = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, np.nan] * times)

    assert BINS.count({"x": column}).counts["x"].tolist() == [times, times, times, 2 * times, times]


def test_a_column_without_edges_counts_what_is_there_as_above() -> None:
    bins = Bins((ColumnBins("x", "numeric"),))

    assert bins.count({"x": np.array([1.0, 2.0, np.nan])}).counts["x"].tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [(0.0, [1, 0]), (43_199.0, [1, 0]), (43_200.0, [0, 1]), (86_399.0, [0, 1]), (86_400.0, [1, 0]), (-1.0, [0, 1])],
)
def test_an_hour_begins_on_its_edge_on_any_day(seconds: float, counts: list[int]) -> None:
    assert BINS.count({"t": np.array([seconds])}).counts["t"].tolist() == [*counts, 0, 0, 0]


def test_categories_nobody_sends_count_nothing() -> None:
    assert BINS.count({"c": np.array(["y", "z", "b", "z"], object)}).counts["c"].tolist() == [0, 1, 3, 0]


def test_extremes_leave_missing_values_out_and_are_of_hours_where_hours_are_counted() -> None:
    profile = BINS.count({"x": np.array([3.0, np.nan, -2.0]), "c": COLUMNS["c"], "t": np.array([86_400 + 3600.0, 7200.0, np.nan])})

    assert profile.minimum == {"x": -2.0, "t": 1.0}
    assert profile.maximum == {"x": 3.0, "t": 2.0}


def test_an_all_missing_column_has_no_extremes() -> None:
    profile = BINS.count({"x": np.array([np.nan])})

    assert (profile.rows, profile.minimum, profile.maximum) == (1, {}, {})


def test_a_column_that_is_not_handed_over_is_not_counted() -> None:
    assert set(BINS.count({"c": COLUMNS["c"]}).counts) == {"c"}


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=700))
def test_few_and_many_values_are_counted_the_same_and_none_is_lost(values: list[float]) -> None:
    column = np.array(values, dtype=np.float64)
    halves = [BINS.count({"x": part}) for part in np.array_split(column, 5)]
    whole = BINS.count({"x": column})
    merged = halves[0].merge(halves[1]).merge(halves[2]).merge(halves[3]).merge(halves[4])

    assert merged.to_dict() == whole.to_dict()
    assert int(whole.counts["x"].sum()) == len(values)


def test_counts_under_other_bins_are_never_added() -> None:
    other = Bins((ColumnBins("x", "numeric", edges=(0.0, 5.0)),))

    with pytest.raises(BinsMismatchError, match=f"^counts under bins {BINS.id} and {other.id} cannot be added$"):
        BINS.count(COLUMNS).merge(other.count({"x": COLUMNS["x"]}))


def test_a_merge_adds_what_either_knows_and_changes_neither() -> None:
    a = BINS.count({"x": np.array([0.5, 9.0]), "c": np.array(["a", "a"], object)})
    b = BINS.count({"x": np.array([-3.0]), "t": np.array([3600.0])})
    before = a.to_json(), b.to_json()

    for merged in (a.merge(b), b.merge(a)):
        assert merged.to_dict() == {
            "bins_id": BINS.id,
            "rows": 3,
            "counts": {"c": [2, 0, 0, 0], "t": [1, 0, 0, 0, 0], "x": [1, 0, 1, 1, 0]},
            "minimum": {"t": 1.0, "x": -3.0},
            "maximum": {"t": 1.0, "x": 9.0},
        }
        assert list(merged.counts) == ["c", "t", "x"]
    assert (a.to_json(), b.to_json()) == before


def test_nothing_counted_is_the_beginning_of_every_sum() -> None:
    empty = BINS.empty()

    assert empty.to_dict() == {
        "bins_id": BINS.id,
        "rows": 0,
        "counts": {"x": [0] * 5, "c": [0] * 4, "t": [0] * 5},
        "minimum": {},
        "maximum": {},
    }
    assert {c.dtype for c in empty.counts.values()} == {np.dtype(np.int64)}
    assert empty.merge(BINS.count(COLUMNS)).to_json() == BINS.count(COLUMNS).to_json()


def test_profiles_and_bins_survive_json() -> None:
    profile = BINS.count(COLUMNS)

    assert Profile.from_json(profile.to_json()).to_json() == profile.to_json()
    assert Bins.from_dict(BINS.to_dict()) == BINS
    assert Bins.from_dict(BINS.to_dict()).id == BINS.id


def test_stored_profiles_are_canonical() -> None:
    profile = Bins((ColumnBins("x", "numeric", edges=(0.0, 1.0)), ColumnBins("c", "categorical", categories=("a",)))).count(
        {"x": np.array([0.5, 2.0]), "c": np.array(["a", None], object)}
    )

    assert profile.to_json().decode() == (
        f'{{"bins_id":"{profile.bins_id}","counts":{{"c":[1,0,1],"x":[1,0,1,0]}},"maximum":{{"x":2.0}},"minimum":{{"x":0.5}},"rows":2}}'
    )


def test_the_id_of_bins_is_the_hash_of_their_json() -> None:
    bins = Bins((ColumnBins("x", "numeric", edges=(0.0, 1.0)),))

    canonical = '[{"categories":[],"edges":[0.0,1.0],"kind":"numeric","name":"x","part":"value"}]'
    assert bins.id == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_every_bin_has_a_name() -> None:
    assert [c.names for c in BINS.columns] == [
        ("[0, 1)", "[1, 2)", "(below)", "(above)", "(missing)"),
        ("a", "b", "(other)", "(missing)"),
        ("[0, 12)", "[12, 24)", "(below)", "(above)", "(missing)"),
    ]
    assert [c.size for c in BINS.columns] == [5, 4, 5]
    assert (ColumnBins("x", "numeric").size, ColumnBins("x", "numeric").names) == (3, ("(below)", "(above)", "(missing)"))
