"""Bodies that cost more than they look, or kill who reads them: refused again and again, and the neighbour is answered meanwhile."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.end_to_end.arena import PREDICT, Arena
from tests.end_to_end.fault_report import Probes, note
from tests.end_to_end.puppet import Puppet
from tests.end_to_end.wire import request

pytestmark = pytest.mark.slow

CLIENTS, TIMES = 6, 5
BAD_ROWS = 100_000
PARQUET, ARROW, JSON = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream", "application/json"


def parquet_that_kills() -> bytes:
    """Return a file of one number with one byte changed: pyarrow 26 ends the process that asks for its sizes."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"hour": [1.0]}), sink)
    body = bytearray(sink.getvalue())
    body[122] = 0
    return bytes(body)


def arrow_of_nulls() -> bytes:
    """Return some hundred bytes that stand for many missing values."""
    table = pa.table({name: pa.nulls(BAD_ROWS) for name in ("distance", "hour")})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def deep(n: int) -> bytes:
    return b'{"rows": ' + b"[" * n + b"]" * n + b"}"


BODIES: dict[str, tuple[str, Callable[[], bytes], tuple[str, ...], set[int]]] = {
    "a Parquet file that kills its reader": ("M1", parquet_that_kills, (PARQUET,), {400}),
    "nulls in Arrow": ("M5", arrow_of_nulls, (ARROW,), {422}),
    "bad rows in JSON": ("M5", lambda: json.dumps({"rows": [{"distance": "far", "hour": None}] * BAD_ROWS}).encode(), (JSON,), {422}),
    "brackets": ("15", lambda: deep(1_000_000), (JSON,), {400}),
    "a number of a million digits": ("15", lambda: b'{"rows": [{"distance": ' + b"1" * 1_000_000 + b', "hour": 1}]}', (JSON,), {400, 422}),
    "a gzip bomb": ("16", lambda: gzip.compress(bytes(200_000_000)), (JSON, "gzip"), {413}),
    "many gzip streams": ("16", lambda: gzip.compress(bytes(20_000_000)) * 20, (JSON, "gzip"), {400, 413}),
}


@pytest.mark.parametrize(("fault", "make", "kind", "statuses"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_costs_more_than_it_looks_is_refused_and_the_neighbour_answered(
    arena: Callable[..., Arena],
    fault: str,
    make: Callable[[], bytes],
    kind: tuple[str, ...],
    statuses: set[int],
) -> None:
    served = arena(Puppet()).start(MAX_ROWS=str(BAD_ROWS))
    workers, body = served.workers(), make()
    lines = [f"Content-Type: {kind[0]}", f"Content-Length: {len(body)}", *(f"Content-Encoding: {each}" for each in kind[1:])]

    def send(_: int) -> set[int]:
        with served.wire() as wire:
            return {wire.ask(request(PREDICT, None, *lines, verb="POST"), body).status}

    with Probes(served.port) as probes:
        with ThreadPoolExecutor(CLIENTS) as clients:
            answered = set[int]().union(*clients.map(send, range(CLIENTS * TIMES)))
        probes.wait_for(20)
    still = served.workers()
    served.stop()
    note(fault, probes.ids, served.logged_ids(), probes.longest_silence())

    assert answered <= statuses
    assert (probes.failures, still) == ([], workers)
    assert set(probes.ids) <= served.logged_ids()
