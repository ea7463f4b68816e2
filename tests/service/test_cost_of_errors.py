"""A refusal costs no more than an answer: what is wrong is counted by columns, and only what is shown is looked at value by value.

Costs are calls of functions, of Python's and of C's, which do not depend on how busy a machine is.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask import Flask

from service.app import create_app, service_of
from service.columns.explaining import EXTRA, MAX_LISTED
from service.columns.reader import ColumnReader
from service.errors import InvalidRowsError
from tests.service.conftest import Trained, make_place
from tests.service.counting import calls_of
from tests.service.encodings import ARROW, ENCODINGS, OURS, PARQUET, Sent, send
from training.schema.feature import Feature
from training.schema.schema import Schema

N = 1000
A_FEW = 6000
"""The calls that a refusal may cost beside those of an answer whatever the number of rows: for the hundred values that are shown."""
MORE_A_ROW = 4
"""And those for each row; to explain a value takes thirty."""
RIDE = {"at": "2026-01-11T00:00:00Z", "temp": 12.5, "docks": 3, "workday": True, "district": "north"}


@pytest.fixture(scope="module")
def client(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a service in which `/invocations` means `bikes`."""
    with contextmanager(make_place)(trained, tmp_path_factory.mktemp("place") / "home") as place:
        made = create_app(place.settings(default_model="bikes"))
        service_of(made).follower.refresh()
        yield made.test_client()
        service_of(made).stop()


WRONG = {
    "a value out of range": ({"temp": 99.0}, N),
    "several": ({"temp": -41.0, "workday": None, "at": ""}, 3 * N),
}
WHOLE = ("rows", "rows, gzip", "columns", "csv", "arrow", "parquet", "v1 lists", "v2 tensors", "mlflow split", "mlflow records")


@pytest.mark.parametrize("encoding", WHOLE)
@pytest.mark.parametrize("wrong", ["a value out of range", "several"])
def test_bad_values_cost_no_more_calls_than_good_ones_in_every_encoding(client: Any, encoding: str, wrong: str) -> None:
    changes, total = WRONG[wrong]
    good, bad = (ENCODINGS[encoding]([row] * N) for row in (RIDE, {**RIDE, **changes}))
    send(client, good)

    answer, for_good = calls_of(lambda: send(client, good))
    refusal, for_bad = calls_of(lambda: send(client, bad))

    assert (answer.status_code, refusal.status_code) == (200, 422)
    assert (len(refusal.json["fields"]), refusal.json["fields_total"]) == (MAX_LISTED, total)
    assert for_bad <= for_good + A_FEW + MORE_A_ROW * N


def stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def rows_of(row: Any) -> Sent:
    return Sent(OURS, json.dumps({"rows": [row] * N}).encode())


def columns_of(**columns: list[Any]) -> Sent:
    return Sent(OURS, json.dumps({"columns": columns}).encode())


def tensor_of(datatype: str, value: Any) -> Sent:
    tensor = {"name": "temp", "datatype": datatype, "shape": [N], "data": [value] * N}
    return Sent("/v2/models/bikes/infer", json.dumps({"inputs": [tensor]}).encode())


NULLS = pa.table({name: pa.nulls(N) for name in RIDE})
LISTS = pa.table({"temp": pa.array([[1]] * N), "district": pa.array([{"a": 1}] * N)})
UNKNOWN = pa.table({**{f"c{n}": pa.nulls(N) for n in range(50)}, "temp": pa.array([1.0] * N)})
REFUSED = {
    "rows without names": (rows_of({}), 3 * N),
    "rows of other names": (rows_of({name.upper(): value for name, value in RIDE.items()}), 3 * N),
    "rows that are no objects": (rows_of([]), N),
    "rows of lists": (rows_of({name: [] for name in RIDE}), 5 * N),
    "own ids that are none": (rows_of({**RIDE, "_id": ""}), N),
    "columns of nulls": (columns_of(**{name: [None] * N for name in RIDE}), 3 * N),
    "columns of other names": (columns_of(**{name.upper(): [value] * N for name, value in RIDE.items()}), 3 * N),
    "CSV of other names": (Sent(OURS, b"TEMP,zz\n" + b"1,x\n" * N, {"Content-Type": "text/csv"}), 3 * N),
    "CSV of other lengths": (Sent(OURS, b"temp,docks\n" + b"1\n" * N, {"Content-Type": "text/csv"}), N),
    "Arrow of nulls": (Sent(OURS, stream(NULLS), {"Content-Type": ARROW}), 3 * N),
    "Arrow of lists": (Sent(OURS, stream(LISTS), {"Content-Type": ARROW}), 5 * N),
    "Arrow of unknown columns": (Sent(OURS, stream(UNKNOWN), {"Content-Type": ARROW}), 3 * N),
    "Parquet of nulls": (Sent(OURS, file(NULLS), {"Content-Type": PARQUET}), 3 * N),
    "Parquet of unknown columns": (Sent(OURS, file(UNKNOWN), {"Content-Type": PARQUET}), 3 * N),
    "a tensor of texts": (tensor_of("FP64", "x"), N),
    "a tensor of numbers that do not fit": (tensor_of("UINT8", 256), N),
    "a tensor of numbers for texts": (tensor_of("BYTES", 1), N),
    "labels without ids": (Sent("/models/bikes/labels", json.dumps({"labels": [{"id": 7, "label": 1}] * N}).encode()), N),
    "labels of nothing": (Sent("/models/bikes/labels", json.dumps({"labels": [None] * N}).encode()), N),
    "labels with own ids that are none": (
        Sent("/models/bikes/labels", json.dumps({"labels": [{"own_id": "", "label": True}] * N}).encode()),
        N,
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_the_calls_of_a_refusal_are_few_a_row_and_its_count_is_exact(client: Any, wrong: str) -> None:
    sent, total = REFUSED[wrong]

    refusal, n_calls = calls_of(lambda: send(client, sent))

    assert (refusal.status_code, len(refusal.json["fields"]), refusal.json["fields_total"]) == (422, MAX_LISTED, total)
    assert n_calls <= 2 * A_FEW + 9 * N


def test_a_wide_table_with_every_name_wrong_is_refused_by_its_columns() -> None:
    wide = Schema(tuple(Feature(f"f{n}", "numeric") for n in range(2000)), target="y", task="regression", extra="error")
    reader = ColumnReader(wide)
    rows = [{f"F{n}": 1.5 for n in range(2000)}] * 50

    def read() -> InvalidRowsError:
        with pytest.raises(InvalidRowsError) as refused:
            reader.read(rows)
        return refused.value

    refusal, n_calls = calls_of(read)

    assert refusal.total == 2 * 50 * 2000
    assert refusal.counts[EXTRA, "extra_field"] == 50 * 2000
    assert refusal.problems[0].got == "nothing, but 'F0', 'F1', 'F2'"
    assert n_calls < 10 * (2000 + 50) + 10 * A_FEW


@pytest.mark.parametrize("names", [{"temp": "x"}, {"TEMP": 1, "dokcs": 2}], ids=["a value", "names"])
def test_what_is_shown_of_columns_are_the_first_hundred_by_rows(app: Flask, names: dict[str, Any]) -> None:
    rows = [RIDE] * 7 + [{**{key: value for key, value in RIDE.items() if key not in ("docks",)}, **names}] * N

    refusal = app.test_client().post(OURS, json={"rows": rows}).json

    shown = [(problem["row"], problem["field"]) for problem in refusal["fields"]]
    assert shown == sorted(shown, key=lambda place: place[0])
    assert shown[0][0] == 7
    assert {row for row, _ in shown} == set(range(7, 7 + -(-MAX_LISTED // len({field for _, field in shown}))))


def test_texts_of_many_kinds_are_counted_by_kind() -> None:
    reader = ColumnReader(Schema((Feature("c", "categorical", categories=("a",), unknown="error"),), target="y", task="regression"), 10)
    values = np.array(["a", "b", "x" * 11, None, 3], dtype=object)[np.arange(1000) % 5].tolist()

    with pytest.raises(InvalidRowsError) as refused:
        reader.read_columns({"c": values}, len(values))

    assert refused.value.counts == {("c", code): 200 for code in ("unknown_category", "too_long", "missing", "type")}
