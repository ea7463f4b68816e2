"""Parquet is read by a process that may die of a file: whoever sent it is told so, and nobody else notices."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.codecs.arrow import columns_known_to, from_parquet
from service.codecs.parquet_process import ParquetProcess
from service.codecs.tables import SentTable
from service.columns.reader import ColumnReader
from service.columns.values import Unread
from service.errors import BodyTooLargeError, InvalidRowsError, OverloadedError, RequestError, TooManyRowsError, UnreadableBodyError
from tests.patience import PATIENCE_SECONDS
from tests.service.encodings import OURS, PARQUET
from training.schema.feature import Feature
from training.schema.schema import Schema

SCHEMA = Schema((Feature("n", "numeric", nullable=True), Feature("word", "categorical")), target="y", task="regression", extra="error")
DEADLY = 122
"""A byte of the smallest file of one number: with 0 in its place, pyarrow 26 ends the process that asks for the column's sizes."""


@pytest.fixture(scope="module")
def process() -> Iterator[ParquetProcess]:
    made = ParquetProcess(PATIENCE_SECONDS, PATIENCE_SECONDS)
    yield made
    made.stop()


def file(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


SMALL = file(pa.table({"n": [1.0]}))


def deadly(body: bytes) -> bytes:
    return body[:DEADLY] + b"\0" + body[DEADLY + 1 :]


def read(process: ParquetProcess, body: bytes, max_rows: int = 1000, max_bytes: int = 1 << 20) -> SentTable:
    return from_parquet(process.read(body, columns_known_to(SCHEMA), max_rows, max_bytes), SCHEMA, max_rows)


def outcome(process: ParquetProcess, body: bytes) -> str:
    try:
        return str(read(process, body).n_rows)
    except (RequestError, OverloadedError) as error:
        return type(error).__name__


def test_a_file_of_which_its_reader_dies_is_refused_with_a_sentence_and_the_next_one_is_read(process: ParquetProcess) -> None:
    read(process, SMALL)
    pid = process.pid

    with pytest.raises(UnreadableBodyError, match=r"not a Parquet file: whoever reads it dies of it \(SIG"):
        read(process, deadly(SMALL))

    assert read(process, SMALL).columns["n"].tolist() == [1.0]  # type: ignore[union-attr]
    assert process.pid == pid


@pytest.mark.parametrize("byte", [0x00, 0x7F, 0xFF])
def test_no_byte_of_a_file_ends_the_process(process: ParquetProcess, byte: int) -> None:
    read(process, SMALL)
    pid = process.pid

    outcomes = {outcome(process, SMALL[:place] + bytes([byte]) + SMALL[place + 1 :]) for place in range(byte % 5, len(SMALL), 5)}

    assert outcomes <= {"1", "UnreadableBodyError", "TooManyRowsError", "BodyTooLargeError"}
    assert process.pid == pid


def test_a_service_refuses_it_with_400_and_goes_on(app: Any) -> None:
    client, temp = app.test_client(), file(pa.table({"temp": [1.0]}))

    answers = [client.post(OURS, data=body, content_type=PARQUET) for body in (deadly(temp), temp)]

    assert [(answer.status_code, answer.json["code"]) for answer in answers] == [(400, "body.unreadable"), (422, "schema.missing_field")]


def test_more_than_the_limits_is_refused_before_it_is_read(process: ParquetProcess) -> None:
    table = file(pa.table({"n": np.arange(1000.0)}), use_dictionary=False)

    with pytest.raises(TooManyRowsError, match="more than 999 rows"):
        read(process, table, max_rows=999)
    with pytest.raises(BodyTooLargeError, match="when decompressed; the limit is 4000"):
        read(process, table, max_bytes=4000)


def test_a_file_that_takes_too_long_is_refused() -> None:
    process = ParquetProcess(0.0005, PATIENCE_SECONDS)

    with pytest.raises(UnreadableBodyError, match=r"takes longer than 0\.0005 s"):
        read(process, file(pa.table({"n": np.arange(100_000.0)})), 100_000, 1 << 24)

    process.stop()


@pytest.mark.slow
def test_a_few_bytes_that_stand_for_much_memory_are_refused(process: ParquetProcess) -> None:
    n_rows = 60_000_000
    small = file(pa.table({"n": pa.array(np.zeros(n_rows))}))

    with pytest.raises(UnreadableBodyError):
        read(process, small, n_rows, 1 << 20)


def test_a_process_that_somebody_ended_is_started_again(process: ParquetProcess) -> None:
    read(process, SMALL)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)

    sent = read(process, SMALL)

    assert sent.n_rows == 1


def test_a_process_that_does_not_answer_is_given_up_and_replaced(until: Callable[..., Any]) -> None:
    process = ParquetProcess(1.0, 1.0)
    until(lambda: outcome(process, SMALL) == "1")
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(OverloadedError, match="does not answer"):
        process.read(SMALL, ["n"], 10, 1 << 20)

    patient = ParquetProcess(PATIENCE_SECONDS, PATIENCE_SECONDS)
    assert patient.read(SMALL, ["n"], 10, 1 << 20).n_rows == 1
    assert process.pid is None
    patient.stop()


ORPHANS = """
import os, sys, time
from service.codecs.parquet_process import ParquetProcess
process = ParquetProcess(600, 600)
process.read(open(sys.argv[1], "rb").read(), ["n"], 10, 1 << 20)
print(process.pid, flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    """Whether a process has ended; whoever should wait for it may not have done so yet."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_the_process_ends_with_its_parent_however_that_ends(tmp_path: Any, until: Callable[..., Any]) -> None:
    (tmp_path / "small.parquet").write_bytes(SMALL)
    command = [sys.executable, "-c", ORPHANS, str(tmp_path / "small.parquet")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()

    until(lambda: is_gone(pid))


def test_only_known_columns_of_plain_values_are_read(process: ParquetProcess) -> None:
    table = pa.table({"x": [1, 2], "word": ["a", None], "n": [[1.0], [2.0]], "__index_level_0__": [0, 1]})

    sent = read(process, file(table))

    lists = Unread("list<element: double>")
    assert sent.columns["n"] == [lists, lists]
    assert sent.columns["x"] == [Unread("int64")] * 2
    assert set(sent.columns) == {"n", "word", "x"}
    with pytest.raises(InvalidRowsError) as caught:
        ColumnReader(SCHEMA).read_columns(sent.columns, sent.n_rows)
    refusal = caught.value
    assert [(problem.row, problem.field, problem.code) for problem in refusal.problems] == [
        (0, "n", "type"),
        (0, "x", "extra_field"),
        (1, "n", "type"),
        (1, "word", "missing"),
        (1, "x", "extra_field"),
    ]
    assert refusal.problems[0].got == "a value of type list<element: double>"


def test_a_file_without_a_known_column_has_rows_all_the_same(process: ParquetProcess) -> None:
    sent = read(process, file(pa.table({"x": [1, 2, 3]})))

    assert (sent.n_rows, list(sent.columns)) == (3, ["x"])


def test_the_worker_itself_does_not_load_what_reads_parquet() -> None:
    code = "import sys; import service.app; print('pyarrow.parquet' in sys.modules, 'pyarrow._parquet' in sys.modules)"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.split() == ["False", "False"]
