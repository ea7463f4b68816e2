"""Two threads of a worker read at a time, whatever they read; the others wait, and the loop does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from service.app import create_app, service_of
from service.errors import TooManyRowsError
from service.routes.reading import MOST_READERS, Limits, Readers, read_encoded
from service.web.bodies import ARROW
from tests.patience import PATIENCE_SECONDS
from tests.service.encodings import ENCODINGS, Sent, as_json, send
from training.schema.feature import Feature
from training.schema.schema import Schema

RIDE = {"at": "2026-01-11T00:00:00Z", "temp": 12.5, "docks": 3, "workday": True, "district": "north"}
WAITING: dict[str, Sent] = {
    **{name: ENCODINGS[name]([RIDE]) for name in ("rows", "rows, gzip", "csv", "arrow", "v1 lists", "v2 raw", "mlflow split")},
    "labels": as_json({"labels": [{"id": "nobody-0", "label": True}]}, "/models/bikes/labels"),
    "the index": as_json({"ready": True}, "/v2/repository/index"),
}


@contextmanager
def all_taken(readers: Readers, pool: ThreadPoolExecutor) -> Iterator[None]:
    """Read for as long as the block lasts, in as many threads as may."""
    is_in, may_go = threading.Barrier(MOST_READERS + 1), threading.Event()

    def hold() -> None:
        with readers:
            is_in.wait(PATIENCE_SECONDS)
            assert may_go.wait(PATIENCE_SECONDS)

    held = [pool.submit(hold) for _ in range(MOST_READERS)]
    is_in.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        may_go.set()
        for one in held:
            one.result(PATIENCE_SECONDS)


def test_whatever_is_read_waits_for_its_turn_but_in_the_loop(place: Any, until: Callable[..., Any]) -> None:
    app = create_app(place.settings(default_model="bikes"))
    service_of(app).follower.refresh()
    readers = service_of(app).limits.readers
    with ThreadPoolExecutor(MOST_READERS + len(WAITING)) as pool:
        with all_taken(readers, pool):
            answers = {name: pool.submit(send, app.test_client(), sent) for name, sent in WAITING.items()}
            until(lambda: readers.waiting == len(WAITING))
            in_the_loop = send(app.test_client(), WAITING["rows"])
            done = [name for name, answer in answers.items() if answer.done()]

        statuses = {name: answer.result(PATIENCE_SECONDS).status_code for name, answer in answers.items()}
    service_of(app).stop()

    assert (in_the_loop.status_code, done, readers.waiting) == (200, [], 0)
    assert statuses == dict.fromkeys(WAITING, 200)


def test_no_more_than_two_are_in_and_who_is_away_makes_room(until: Callable[..., Any]) -> None:
    readers, most, inside, lock = Readers(), [0], [0], threading.Lock()

    def step(by: int) -> None:
        with lock:
            inside[0] += by
            most[0] = max(most[0], inside[0])

    def read() -> None:
        for _ in range(50):
            with readers:
                step(1)
                step(-1)
                with readers.away():
                    pass
                step(1)
                step(-1)

    with ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(read) for _ in range(8)]:
            one.result(PATIENCE_SECONDS)
        with all_taken(readers, pool):
            waits = pool.submit(readers.__enter__)
            until(lambda: readers.waiting == 1)
        waits.result(PATIENCE_SECONDS)

    assert most[0] <= MOST_READERS


def test_who_raises_while_reading_leaves_its_place(app: Any) -> None:
    readers = service_of(app).limits.readers

    def refused() -> int:
        return int(app.test_client().post("/models/bikes/predict", data=b"{").status_code)

    with ThreadPoolExecutor(1) as pool:
        statuses = [pool.submit(refused).result(PATIENCE_SECONDS) for _ in range(MOST_READERS + 1)]

    assert (statuses, readers.waiting) == ([400] * (MOST_READERS + 1), 0)


def test_of_a_very_wide_table_fewer_rows_are_read() -> None:
    wide = Schema(tuple(Feature(f"x{n}", "numeric", nullable=True) for n in range(1000)), target="y", task="regression")
    limits = Limits(max_bytes=1_000_000, max_rows=100_000)
    sink = pa.BufferOutputStream()
    table = pa.table({"x0": pa.array(np.zeros(501))})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)

    with pytest.raises(TooManyRowsError, match="more than 500 rows"):
        read_encoded(ARROW, sink.getvalue().to_pybytes(), wide, limits)
