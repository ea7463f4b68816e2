import numpy as np
import pytest

from training.schema.rows import BlockColumns, Coded, Rows, count_rows, object_column


def make(times: list[int], target: list[object] | None = None) -> Rows:
    labels = None if target is None else np.array(target, object)
    return Rows({"x": np.array(times, float)}, labels, np.array(times, np.int64))


def test_between_takes_the_start_and_leaves_the_end() -> None:
    rows = make([1, 2, 2, 3]).between(2, 3)

    assert rows.time_us.tolist() == [2, 2]
    assert rows.columns["x"].tolist() == [2.0, 2.0]


def test_concat_brings_rows_into_time_order_and_keeps_ties_in_order() -> None:
    joined = Rows.concat([make([1, 5], ["a", "b"]), make([1, 4], ["c", "d"])])

    assert joined.time_us.tolist() == [1, 1, 4, 5]
    assert joined.labels.tolist() == ["a", "c", "d", "b"]
    assert joined.columns["x"].tolist() == [1.0, 1.0, 4.0, 5.0]


def test_many_ties_keep_their_order_too() -> None:
    earlier, later = list(range(500)), list(range(500, 1000))

    joined = Rows.concat([make([7] * 500, [*earlier]), make([3] * 500, [*later])])

    assert joined.labels.tolist() == later + earlier


def test_one_part_alone_is_joined_to_nothing() -> None:
    joined = Rows.concat([make([1, 2], ["a", "b"])])

    assert (joined.columns["x"].tolist(), joined.labels.tolist(), joined.time_us.tolist()) == ([1.0, 2.0], ["a", "b"], [1, 2])


def test_a_part_without_labels_makes_the_whole_one_without() -> None:
    assert Rows.concat([make([1], ["a"]), make([2])]).target is None


def test_labelled_leaves_out_rows_whose_label_is_not_known() -> None:
    assert make([1, 2], ["a", None]).labelled().time_us.tolist() == [1]
    assert Rows({}, np.array([1.0, np.nan]), np.array([1, 2])).labelled().time_us.tolist() == [1]


@pytest.mark.parametrize(
    "target", [np.array(["a", "b"], object), np.array([0.0, 1.0]), np.array([], object)], ids=["labels", "values", "none"]
)
def test_rows_that_are_all_labelled_are_not_copied(target: np.ndarray) -> None:
    rows = Rows({}, target, np.arange(len(target)))

    assert rows.labelled() is rows


def test_rows_without_a_target_have_no_labels_to_give() -> None:
    with pytest.raises(ValueError, match=r"^these rows carry no target$"):
        _ = make([1]).labels


def test_an_object_column_looks_into_no_value() -> None:
    column = object_column(["a", None, 3])

    assert (column.dtype, column.tolist()) == (np.dtype(object), ["a", None, 3])
    assert object_column([(1, 2), (3, 4)]).tolist() == [(1, 2), (3, 4)]


def test_codes_stand_for_their_values() -> None:
    assert Coded(np.array([1, 0, 1], np.int32), ("a", None)).column().tolist() == [None, "a", None]


def test_a_matrix_is_handed_out_for_just_its_own_columns() -> None:
    numbers, town = np.array([[1.0, 2.0], [3.0, 4.0]]), Coded(np.array([0, 0], np.int32), ("a",))
    columns = BlockColumns([("x", numbers[0]), ("y", numbers[1]), ("town", town.column())], ("x", "y"), numbers, {"town": town})

    assert (list(columns), count_rows(columns), columns["y"].tolist()) == (["x", "y", "town"], 2, [3.0, 4.0])
    assert columns.block(("x", "y")) is numbers
    assert [columns.block(names) for names in (("y", "x"), ("x",), ())] == [None] * 3
    assert columns.coded == {"town": town}
    assert BlockColumns([], (), np.empty((0, 2))).coded == {}
