"""Short ways from lists, Arrow and raw bytes: equal to the long ways, and silent about whatever is not plainly right."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codecs.tensors import from_bytes, from_json, to_bytes
from service.columns.arrow_buffers import coded_array, float_array, id_array, numbers_in, text_array
from service.columns.dictionary import arrow_texts, listed_numbers, listed_texts, raw_texts
from service.errors import InvalidRowsError, UnreadableBodyError
from tests.patience import PATIENCE_SECONDS
from tests.properties import few
from training.schema.rows import Coded

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["", "\0\0\0", "é", "x" * 300, "x" * 70_000])
numbers = st.none() | st.floats() | st.integers() | st.sampled_from([0, 1, 0.0, 1.0, -0.0, 2**53 + 1, 2**64, 10**400])
anything: st.SearchStrategy[Any] = numbers | st.booleans() | words | st.just([1]) | st.just({"a": 1})
array_types: st.SearchStrategy[Any] = st.sampled_from([pa.string(), pa.large_string()])
index_types: st.SearchStrategy[Any] = st.sampled_from([pa.int8(), pa.uint8(), pa.int32(), pa.uint64()])


@few(120)
@given(st.lists(numbers, max_size=6) | st.lists(anything, max_size=6))
def test_lists_of_numbers_become_what_numpy_makes_of_them_if_they_are_numbers(values: list[Any]) -> None:
    try:
        is_taken = {type(value) for value in values} <= {int, float, type(None)}
        expected = np.array(values, dtype=np.float64) if is_taken else None
    except OverflowError:
        expected = None

    taken = listed_numbers(values)

    assert (taken is None) == (expected is None)
    if taken is not None and expected is not None:
        assert np.where(np.isnan(taken), 0, taken).tobytes() == np.where(np.isnan(expected), 0, expected).tobytes()
        assert np.isnan(taken).tolist() == np.isnan(expected).tolist()


@given(st.lists(st.none() | words, max_size=8) | st.lists(anything, max_size=8))
def test_lists_of_texts_are_coded_if_they_are_texts(values: list[Any]) -> None:
    coded = listed_texts(values)

    if {type(value) for value in values} <= {str, type(None)}:
        assert coded is not None
        assert coded.column().tolist() == values
        assert len(set(coded.values)) == len(coded.values) == len(set(values))
    else:
        assert coded is None


@st.composite
def chunked_texts(draw: st.DrawFn) -> pa.ChunkedArray:
    """Plain or dictionary columns of texts, in chunks that are slices; dictionaries hold nulls and one value twice."""
    kind, index, is_plain = draw(array_types), draw(index_types), draw(st.booleans())
    chunks = []
    for _ in range(draw(st.integers(1, 3))):
        values = draw(st.lists(st.none() | words, min_size=1, max_size=6))
        if is_plain:
            chunk = pa.array(values, kind)
        else:
            places = draw(st.lists(st.none() | st.integers(0, len(values) - 1), min_size=1, max_size=6))
            chunk = pa.DictionaryArray.from_arrays(pa.array(places, index), pa.array(values, kind))
        chunks.append(chunk.slice(draw(st.integers(0, len(chunk))), draw(st.integers(0, 6))))
    return pa.chunked_array(chunks)


@few(120)
@given(chunked_texts())
def test_texts_of_arrow_are_coded_by_the_values_that_rows_have(column: pa.ChunkedArray) -> None:
    coded = arrow_texts(column)

    assert coded is not None
    assert coded.column().tolist() == column.to_pylist()
    assert sorted(coded.values, key=str) == sorted(set(column.to_pylist()), key=str)
    assert coded_array(coded).to_pylist() == text_array(column.to_pylist()).to_pylist() == column.to_pylist()


@pytest.mark.parametrize("values", [[1], [b"a"], [Decimal(1)], [["a"]], [None]])
@pytest.mark.parametrize("is_dictionary", [False, True])
def test_other_columns_of_arrow_are_not_coded(values: list[Any], is_dictionary: bool) -> None:
    column = pa.array(values, pa.int64()) if values == [None] else pa.array(values)

    if is_dictionary and not pa.types.is_list(column.type):
        column = column.dictionary_encode()

    assert arrow_texts(pa.chunked_array([column])) is None


@given(
    st.sampled_from([pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_()]),
    st.lists(st.none() | st.integers(0, 1), min_size=1, max_size=20),
    st.integers(0, 20),
)
def test_numbers_of_arrow_are_numpys(kind: Any, values: list[Any], start: int) -> None:
    turn = bool if kind == pa.bool_() else int
    array = pa.array([None if value is None else turn(value) for value in values], kind).slice(start)

    numbers = numbers_in(array)

    assert np.array_equal(numbers, np.array(array.to_pylist(), dtype=np.float64), equal_nan=True)
    assert array.null_count or numbers.dtype == np.dtype(kind.to_pandas_dtype())


@few(100)
@given(st.lists(words, min_size=1, max_size=6), st.integers(1, 60), st.booleans())
def test_raw_texts_read_as_the_long_way_reads_them(texts: list[str], times: int, is_short: bool) -> None:
    many = [text[:200].replace("\0", "") or "x" if is_short else text[:300] for text in texts] * times
    raw = memoryview(to_bytes(np.array([*many, None], dtype=object)[:-1]))

    coded = raw_texts(raw, len(many))
    tensor = from_bytes("x", "BYTES", [len(many)], raw)

    assert coded is not None
    assert coded.column().tolist() == many
    assert isinstance(tensor.values, Coded) == (len(many) > 32)


@few(100)
@given(st.data())
def test_damaged_raw_texts_are_refused_as_the_long_way_refuses_them(data: st.DataObject) -> None:
    many = data.draw(st.lists(words.map(lambda text: text[:5]), min_size=33, max_size=40))
    good = to_bytes(np.array([*many, None], dtype=object)[:-1])
    place, octets = data.draw(st.integers(0, len(good))), data.draw(st.binary(max_size=5))
    raw = memoryview(good[:place] + octets + good[place + data.draw(st.integers(0, 5)) :])

    def read(columns: list[str]) -> Any:
        try:
            values = from_bytes("x", "BYTES", [len(many)], raw, columns).values
        except (InvalidRowsError, UnreadableBodyError) as error:
            return str(error).replace("'y'", "'x'").split("field")[-1]
        return values.column().tolist() if isinstance(values, Coded) else values

    short, long = read(["x"]), read(["x", "y"])  # texts of a matrix are not coded

    assert short == long


@few(100)
@given(st.sampled_from(["FP16", "FP32", "FP64", "INT8", "UINT64", "BYTES"]), st.data())
def test_long_json_tensors_read_as_short_ones(datatype: str, data: st.DataObject) -> None:
    kinds = {"F": st.floats(), "I": st.integers(-128, 127), "U": st.integers(0, 2**64 - 1), "B": words.map(lambda text: text[:5])}
    values = data.draw(st.lists(kinds[datatype[0]] | st.none() | data.draw(st.sampled_from([st.none(), anything])), min_size=1, max_size=5))

    def read(some: list[Any]) -> Any:
        try:
            read = from_json("x", datatype, [len(some)], some).values
        except (InvalidRowsError, OverflowError) as error:
            return type(error)
        return [repr(value) for value in (read.column().tolist() if isinstance(read, Coded) else list(read))]

    few, many = read(values), read(values * 40)

    assert many == (few if isinstance(few, type) else few * 40)


@given(st.text("ab01-", max_size=5), st.sampled_from([0, 1, 9, 10, 11, 99, 100, 101, 1001]))
def test_ids_of_arrow_are_those_of_rows(prefix: str, n_rows: int) -> None:
    assert id_array(prefix, n_rows).to_pylist() == [f"{prefix}-{row}" for row in range(n_rows)]


def test_arrays_made_by_their_buffers_are_whole() -> None:
    for array in (id_array("p", 11), text_array(["é", None, ""]), float_array(np.zeros((2, 2))[:, 1])):
        array.validate(full=True)


def test_no_request_in_arrow_or_raw_tensors_imports_pandas() -> None:
    program = """
import sys
import numpy as np, pyarrow as pa
from service.codecs.arrow import from_arrow, to_arrow
from service.columns.reader import ColumnReader
from service.columns.arrow_buffers import coded_array, float_array
from service.codecs.tensors import from_bytes, to_bytes
from training.schema.prediction import Prediction
from training.schema.rows import Coded
from training.schema.schema import Feature, Schema
schema = Schema((Feature("x", "numeric", nullable=True), Feature("c", "categorical")), target="y", task="binary")
table = pa.table({"x": float_array(np.zeros(40)), "c": coded_array(Coded(np.zeros(40, np.int32), ("a",)))})
sink = pa.BufferOutputStream()
with pa.ipc.new_stream(sink, table.schema) as writer:
    writer.write_table(table)
sent = from_arrow(sink.getvalue().to_pybytes(), schema, 100)
read = ColumnReader(schema).read_columns(sent.columns, sent.n_rows)
labels = np.array(["a"] * 40, dtype=object)
to_arrow(Prediction(labels, np.zeros((40, 2)), ("a", "b")), "prefix", ["own", None] * 20, {"model": "m"})
from_bytes("c", "BYTES", [40], memoryview(to_bytes(labels)))
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=PATIENCE_SECONDS).returncode == 0
