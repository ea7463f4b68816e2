import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.bins import Bins, ColumnBins, Profile
from training.errors import BinsMismatchError

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


def test_extremes_leave_missing_values_out() -> None:
    profile = BINS.count({"x": np.array([3.0, np.nan, -2.0])})

    assert (profile.minimum["x"], profile.maximum["x"]) == (-2.0, 3.0)


def test_an_all_missing_column_has_no_extremes() -> None:
    assert BINS.count({"x": np.array([np.nan])}).minimum == {}


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

    with pytest.raises(BinsMismatchError):
        BINS.count(COLUMNS).merge(other.count({"x": COLUMNS["x"]}))


def test_profiles_and_bins_survive_json() -> None:
    profile = BINS.count(COLUMNS)

    assert Profile.from_json(profile.to_json()).to_json() == profile.to_json()
    assert Bins.from_dict(BINS.to_dict()) == BINS
    assert Bins.from_dict(BINS.to_dict()).id == BINS.id


def test_every_bin_has_a_name() -> None:
    assert [len(c.names) for c in BINS.columns] == [c.size for c in BINS.columns]
