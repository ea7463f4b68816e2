import numpy as np
import pytest

from training.rows import Rows


def make(times: list[int], target: list[object] | None = None) -> Rows:
    labels = None if target is None else np.array(target, object)
    return Rows({"x": np.array(times, float)}, labels, np.array(times, np.int64))


def test_between_takes_the_start_and_leaves_the_end() -> None:
    assert make([1, 2, 2, 3]).between(2, 3).time_us.tolist() == [2, 2]


def test_concat_brings_rows_into_time_order_and_keeps_ties_in_order() -> None:
    joined = Rows.concat([make([1, 5], ["a", "b"]), make([1, 4], ["c", "d"])])

    assert joined.time_us.tolist() == [1, 1, 4, 5]
    assert joined.labels.tolist() == ["a", "c", "d", "b"]


def test_a_part_without_labels_makes_the_whole_one_without() -> None:
    assert Rows.concat([make([1], ["a"]), make([2])]).target is None


def test_labelled_leaves_out_rows_whose_truth_is_not_known() -> None:
    assert make([1, 2], ["a", None]).labelled().time_us.tolist() == [1]
    assert Rows({}, np.array([1.0, np.nan]), np.array([1, 2])).labelled().time_us.tolist() == [1]


def test_rows_without_a_target_have_no_labels_to_give() -> None:
    with pytest.raises(ValueError, match="no target"):
        _ = make([1]).labels
