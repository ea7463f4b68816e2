"""Bodies damaged at random: each is read or refused; none ends the process, none is an error of ours.

Each batch is read in a forked child, so that an end by a signal is seen, and says which body it was.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import signal
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from service.codecs.arrow import from_arrow
from service.codecs.json_bodies import parse_json, rows_in
from service.codecs.label_bodies import read_labels
from service.codecs.open_inference import read_request
from service.codecs.tables import from_columns, from_csv
from service.columns.reader import ColumnReader
from service.errors import RequestError
from service.web.bodies import inflate
from tests.service.encodings import arrow, arrow_with_times_and_codes, comma_separated, raw_tensors, tensors
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

FEW, MANY, BATCH = 3_000, 1_000_000, 50_000
MOST_ROWS, MOST_BYTES = 1000, 1 << 20
BATCH_SECONDS = 600
SCHEMA = Schema(
    (
        Feature("temp", "numeric", nullable=True, minimum=-40, maximum=60, out_of_range="error"),
        Feature("docks", "integer"),
        Feature("workday", "boolean"),
        Feature("district", "categorical", nullable=True),
    ),
    target="empty",
    task="binary",
    time=TimeColumn("at", "timestamp"),
    extra="error",
)
READER = ColumnReader(SCHEMA, 100)
ROWS: list[dict[str, Any]] = [
    {"temp": 12.5, "docks": 3, "workday": True, "district": "north", "at": "2026-01-11T00:00:00Z"},
    {"temp": None, "docks": 0, "workday": False, "district": None, "at": "2026-01-12T01:30:00+02:00"},
    {"temp": -3.0, "docks": 17, "workday": True, "district": "é", "at": "2026-01-13"},
]


def nested_arrow(_rows: Any) -> bytes:
    """Types that no column takes, several batches, views, dictionaries of numbers."""
    table = pa.table(
        {
            "temp": pa.array([1.5, None, 2.5]).dictionary_encode(),
            "docks": pa.array([[1], [], None]),
            "district": pa.array(["a" * 20, "b", None], pa.string_view()),
            "workday": pa.array([True, None, False]),
            "at": pa.array([1, 2, None], pa.timestamp("ms")),
            "x": pa.array([{"a": 1, "b": "x"}] * 3),
            "y": pa.nulls(3),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return sink.getvalue()


def read_arrow(body: bytes) -> None:
    sent = from_arrow(body, SCHEMA, MOST_ROWS)
    READER.read_columns(sent.columns, sent.n_rows)


def read_csv(body: bytes) -> None:
    sent = from_csv(body, SCHEMA, MOST_ROWS)
    READER.read_columns(sent.columns, sent.n_rows)


def read_rows(body: bytes) -> None:
    if READER.read_json(body, MOST_ROWS) is None:
        READER.read(rows_in(parse_json(body), MOST_ROWS))


def read_json_columns(body: bytes) -> None:
    content = parse_json(body)
    if isinstance(content, dict):
        sent = from_columns(content, MOST_ROWS)
        READER.read_columns(sent.columns, sent.n_rows)


def read_tensors(body: bytes) -> None:
    sent = read_request(body, None, SCHEMA, MOST_ROWS)
    READER.read_columns(sent.table.columns, sent.table.n_rows)


RAW = raw_tensors(ROWS, "")


def read_raw_tensors(body: bytes) -> None:
    sent = read_request(body, RAW.headers["Inference-Header-Content-Length"], SCHEMA, MOST_ROWS)
    READER.read_columns(sent.table.columns, sent.table.n_rows)


def columns(rows: Any) -> bytes:
    return json.dumps({name: [row[name] for row in rows] for name in rows[0]}).encode()


LABELS = json.dumps({"labels": [{"id": "a-0", "label": True}, {"own_id": 17, "label": "é"}, {"own_id": "x", "label": None}]}).encode()
TEXT = b"some text, said again and again. " * 40
BODIES: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "arrow": (arrow(ROWS), read_arrow),
    "arrow with times and codes": (arrow_with_times_and_codes(ROWS[:1]), read_arrow),
    "arrow of many types": (nested_arrow(ROWS), read_arrow),
    "csv": (comma_separated(ROWS), read_csv),
    "rows": (json.dumps({"rows": ROWS}).encode(), read_rows),
    "columns": (columns(ROWS), read_json_columns),
    "tensors": (json.dumps(tensors(ROWS)).encode(), read_tensors),
    "raw tensors": (RAW.data, read_raw_tensors),
    "labels": (LABELS, lambda body: read_labels(body, MOST_ROWS)),
    "gzip": (gzip.compress(TEXT) * 2, lambda body: inflate(body, MOST_BYTES)),
    "deflate": (zlib.compress(TEXT), lambda body: inflate(body, MOST_BYTES)),
    "raw deflate": (zlib.compress(TEXT)[2:-4], lambda body: inflate(body, MOST_BYTES)),
}
ODD = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"[",
    b"{",
    b'"',
    b"\\",
    b",",
    b"\n",
    b"-",
    b"9" * 30,
)


def damaged(body: bytes, chance: random.Random) -> bytes:
    """Change one to four places of a body: a bit, some bytes, a part left out, repeated, moved, or the end cut off."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place, other = chance.randrange(len(body)), chance.randrange(len(body))
        kind = chance.randrange(6)
        if kind == 0:
            body = body[:place] + bytes([body[place] ^ (1 << chance.randrange(8))]) + body[place + 1 :]
        elif kind == 1:
            odd = chance.choice(ODD)
            body = body[:place] + odd + body[place + len(odd) :]
        elif kind == 2:
            body = body[:place] + chance.randbytes(chance.randrange(1, 9)) + body[place + chance.randrange(9) :]
        elif kind == 3:
            body = body[: min(place, other)] + body[max(place, other) :] or b"x"
        elif kind == 4:
            body = body[:place] + body[min(place, other) : min(place, other) + 64] + body[place:]
        else:
            body = body[: place + 1]
    return body


def read_batch(kind: str, seed: int, n_bodies: int) -> None:
    """Read so many damaged bodies in a child; fail when it ends otherwise than it should, naming the body."""
    body, read = BODIES[kind]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _read_and_leave(body, read, random.Random(seed), n_bodies, writing)
    os.close(writing)
    with open(reading, "rb") as words:
        last = words.read().split(b"\n")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 0, f"{kind}, seed {seed}: ended with {code}: {last[0]!r}; the body was {last[-1]!r}"


def _read_and_leave(body: bytes, read: Callable[[bytes], Any], chance: random.Random, n_bodies: int, writing: int) -> None:
    signal.alarm(BATCH_SECONDS)
    code = 1
    try:
        for _ in range(n_bodies):
            changed = damaged(body, chance)
            try:
                read(changed)
            except RequestError:
                continue
            except BaseException as error:
                os.write(writing, repr(error).encode() + b"\n" + changed.hex().encode())
                raise
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("kind", sorted(BODIES.keys() - {"arrow of many types"}))
def test_an_undamaged_body_is_read(kind: str) -> None:
    body, read = BODIES[kind]

    read(body)


@pytest.mark.parametrize("kind", BODIES)
def test_no_damaged_body_is_an_end_or_an_error_of_ours(kind: str) -> None:
    read_batch(kind, 0, FEW)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", BODIES)
def test_none_of_a_million_damaged_bodies_is_an_end_or_an_error_of_ours(kind: str) -> None:
    seeds = np.random.SeedSequence(20260301).generate_state(MANY // BATCH)

    for seed in seeds.tolist():
        read_batch(kind, seed, BATCH)
