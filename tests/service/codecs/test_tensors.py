"""Tensors: every datatype in JSON and raw, shapes and lengths that must fit, bad elements named by row and column."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.codecs.tensors import DTYPES, check_shape, from_bytes, from_json, to_bytes
from service.errors import InvalidRowsError, UnreadableBodyError

NUMBERS = {name: dtype for name, dtype in DTYPES.items() if name != "BYTES"}


@given(st.data(), st.sampled_from(sorted(NUMBERS)))
def test_json_and_raw_data_of_every_datatype_read_the_same(data: st.DataObject, datatype: str) -> None:
    dtype: npt.DTypeLike = np.dtype(NUMBERS[datatype])
    values = data.draw(arrays.arrays(dtype, arrays.array_shapes(max_dims=2, max_side=4)))
    shape = list(values.shape)

    nested = from_json("x", datatype, shape, values.tolist())
    flat = from_json("x", datatype, shape, values.ravel().tolist())
    raw = from_bytes("x", datatype, shape, memoryview(to_bytes(values)))

    for_comparison = [np.asarray(tensor.values) for tensor in (nested, flat, raw)]
    assert [form.tobytes() for form in map(_without_nan_bits, for_comparison)] == [_without_nan_bits(values.ravel()).tobytes()] * 3


def _without_nan_bits(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(values != values, values.dtype.type(0), values)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_texts_read_back_from_raw_bytes(texts: list[str]) -> None:
    raw = to_bytes(np.array([*texts, None], dtype=object)[:-1])

    assert from_bytes("x", "BYTES", [len(texts)], memoryview(raw)).values == texts


@given(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 5), min_size=1, max_size=2), st.binary(max_size=40))
def test_no_raw_bytes_make_it_stumble(datatype: str, shape: list[int], raw: bytes) -> None:
    outcomes = {InvalidRowsError: "refused", UnreadableBodyError: "refused"}

    try:
        outcome = from_bytes("x", datatype, shape, memoryview(raw)).datatype
    except (InvalidRowsError, UnreadableBodyError) as error:
        outcome = outcomes[type(error)]

    assert outcome in (datatype, "refused")


@pytest.mark.parametrize(
    ("datatype", "content", "row", "field", "want"),
    [
        pytest.param("FP64", [1.0, 2.0, "abc", 4.0], 1, "a", "a number (FP64)", id="text for a number"),
        pytest.param("INT8", [1, 2, 3, 128], 1, "b", "a whole number that fits INT8", id="too large"),
        pytest.param("UINT64", [1, 2, 3, -1], 1, "b", "a whole number that fits UINT64", id="negative"),
        pytest.param("INT64", [1, 2.5, 3, 4], 0, "b", "a whole number (INT64)", id="fraction"),
        pytest.param("BOOL", [True, False, 1, True], 1, "a", "true or false (BOOL)", id="number for boolean"),
        pytest.param("BYTES", ["a", "b", "c", 4], 1, "b", "a string (BYTES)", id="number for text"),
    ],
)
def test_an_element_of_another_datatype_is_named_by_row_and_column(
    datatype: str, content: list[Any], row: int, field: str, want: str
) -> None:
    with pytest.raises(InvalidRowsError) as refused:
        from_json("matrix", datatype, [2, 2], content, ["a", "b"])

    problem = refused.value.problems[0]
    assert (problem.row, problem.field, problem.code, problem.want) == (row, field, "type", want)


@pytest.mark.parametrize("shape", [[3], [2, 2], [1], [0]])
def test_data_that_do_not_fill_their_shape_are_refused(shape: list[int]) -> None:
    with pytest.raises(UnreadableBodyError):
        from_json("x", "FP64", shape, [1.0, 2.0])


@pytest.mark.parametrize("content", [[[1], [2, 3]], [[1, 2], 3], None, "ab", {"a": 1}, 3])
def test_ragged_or_other_data_are_refused(content: Any) -> None:
    with pytest.raises(UnreadableBodyError):
        from_json("x", "FP64", [3, 1], content)


@pytest.mark.parametrize(
    ("datatype", "shape"),
    [
        ("FP63", [1]),
        ("", [1]),
        (None, [1]),
        ("FP64", []),
        ("FP64", [1, 1, 1]),
        ("FP64", [-1]),
        ("FP64", [True]),
        ("FP64", "1"),
        ("FP64", [9, 9]),
    ],
)
def test_an_unknown_datatype_or_an_odd_shape_is_refused(datatype: Any, shape: Any) -> None:
    with pytest.raises(UnreadableBodyError, match="'x'"):
        check_shape("x", datatype, shape, most=10)


def test_a_number_beyond_its_datatype_becomes_infinite_as_in_raw_form() -> None:
    tensor = from_json("x", "FP16", [2], [1e9, float("nan")])

    assert np.isinf(np.asarray(tensor.values)[0])
    assert np.isnan(np.asarray(tensor.values)[1])


def test_null_is_kept_for_the_reader_to_judge() -> None:
    assert from_json("x", "FP32", [2], [None, 0.5]).values == [None, 0.5]
    assert from_json("x", "BOOL", [2], [None, True]).values == [None, True]
