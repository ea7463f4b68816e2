"""The loop of a worker against clients that do not read, do not send, or do not leave, and an application that raises what it likes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from gunicorn.config import Config

from service.worker import connection as connections
from service.worker.accepting import ConnectionCounts
from service.worker.event_loop import MOST_IN_A_TURN, EventLoop
from service.worker.protocol import Environ, WorkerLimits
from tests.end_to_end.wire import Reply, Wire, request
from tests.patience import PATIENCE_SECONDS
from tests.service.worker.framing_vectors import VECTORS

PLACES, MOST_IN_FLIGHT, HELD = 8, 2, 3_000_000
BIG = b"x" * 2_000_000


RAISED = {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "generator": GeneratorExit(), "error": ValueError("no")}


class App:
    """Answers `/light…` in the loop and all else in a thread; `…/big` with much; raises what the last part of a path names."""

    worker_limits = WorkerLimits(
        max_body_bytes=1 << 20, max_in_flight=MOST_IN_FLIGHT, max_held_bytes=HELD, deadline_seconds=PATIENCE_SECONDS
    )

    def __call__(self, environ: Environ, start: Callable[..., Any], /) -> Iterable[bytes]:
        path = environ["PATH_INFO"].split("/")
        if path[-1] in RAISED:
            raise RAISED[path[-1]]
        start("503 Service Unavailable" if environ.get("overload") else "200 OK", [])
        return [BIG if "big" in path else b"well"]

    def add_route(self, environ: Environ) -> None:
        if environ["PATH_INFO"] == "/too-much":  # while the request is put together
            raise MemoryError

    def add_body(self, environ: Environ, body: bytes | None) -> None: ...

    def add_overload(self, environ: Environ) -> None:
        environ["overload"] = True

    def is_light(self, environ: Environ, n_bytes: int) -> bool:
        return bool(environ["PATH_INFO"].startswith("/light"))

    def note_deadline(self, environ: Environ) -> None: ...

    def error_body(self, status: int, code: str, text: str) -> bytes:
        return f'{{"code": "{code}"}}'.encode()


class FakeWorker:
    """What the loop uses of gunicorn's worker, around one listener."""

    age = 1

    def __init__(self) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=512)]
        self.PIPE = os.pipe()
        for end in self.PIPE:
            os.set_blocking(end, False)
        self.alive, self.ppid, self.cfg = True, os.getppid(), Config()
        self.cfg.set("worker_connections", PLACES)
        self.cfg.set("graceful_timeout", 0)
        self.cfg.set("threads", 2)

    def notify(self) -> None: ...


class Served:
    def __init__(self) -> None:
        self.worker = FakeWorker()
        self.port = self.worker.sockets[0].getsockname()[1]
        self.loop = EventLoop(self.worker, App(), ConnectionCounts())  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()
        self.stack = ExitStack()

    def wire(self) -> Wire:
        return self.stack.enter_context(Wire(self.port))

    def ask(self, target: str) -> Reply:
        with Wire(self.port) as wire:
            return wire.ask(request(target))

    def deaf(self, target: str, n: int = 1) -> Wire:
        """A client that asks several times and reads nothing, with little room for what it does not read."""
        wire = self.wire()
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return wire.send(request(target) * n)

    def stop(self) -> None:
        self.stack.close()
        self.worker.alive = False
        os.write(self.worker.PIPE[1], b"1")
        self._thread.join(PATIENCE_SECONDS)
        for end in self.worker.PIPE:
            os.close(end)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(connections, "SLOW_SECONDS", 0.05)
    made = Served()
    yield made
    made.stop()


@pytest.mark.parametrize("where", ["/heavy", "/light"], ids=["in a thread", "in the loop"])
@pytest.mark.parametrize("what", RAISED)
def test_whatever_the_application_raises_is_an_answer_and_gives_its_place_back(served: Served, where: str, what: str) -> None:
    refused = [served.ask(f"{where}/{what}") for _ in range(MOST_IN_FLIGHT + 2)]
    after = [served.ask("/heavy"), served.ask("/light")]

    assert [(reply.status, reply.json["code"]) for reply in refused] == [(500, "internal")] * (MOST_IN_FLIGHT + 2)
    assert [reply.status for reply in after] == [200, 200]


def test_a_request_for_which_there_is_no_memory_is_refused_and_the_loop_goes_on(served: Served) -> None:
    refused, after = served.ask("/too-much"), served.ask("/light")

    assert (refused.status, refused.json["code"]) == (503, "limit.in_flight")
    assert after.status == 200


SLOW: dict[str, Callable[[Served], object]] = {
    "read nothing": lambda served: served.deaf("/light/big"),
    "read nothing and have sent much": lambda served: served.deaf("/light/big", 200),
    "read nothing that a thread has made": lambda served: served.deaf("/heavy/big"),
    "send half a head": lambda served: served.wire().send(b"GET /light HTTP/1.1\r\n"),
    "send half a body": lambda served: served.wire().send(b"POST /light HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"),
    "send half a chunk": lambda served: served.wire().send(b"POST /light HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"),
    "do not leave when refused": lambda served: served.wire().send(b"BAD\r\n\r\n"),
    "say nothing": lambda served: served.wire(),
}


@pytest.mark.parametrize("occupy", SLOW.values(), ids=SLOW.keys())
def test_clients_that_keep_all_places_keep_nobody_out(served: Served, occupy: Callable[[Served], object]) -> None:
    for _ in range(3 * PLACES):
        with suppress(OSError):  # who is closed for another while it sends
            occupy(served)

    assert [served.ask("/light").status for _ in range(20)] == [200] * 20


def test_unread_answers_hold_no_more_than_the_bound(served: Served) -> None:
    deaf = [served.deaf("/light/big", 20) for _ in range(PLACES - 1)]

    status = served.ask("/light").status

    assert (len(deaf), status) == (PLACES - 1, 200)
    assert served.loop.held_bytes <= HELD


def test_requests_sent_at_once_are_answered_in_turns_and_all(served: Served) -> None:
    n = 3 * MOST_IN_A_TURN + 1

    wire = served.wire().send(request("/light") * n)

    assert [wire.reply().status for _ in range(n)] == [200] * n


@pytest.mark.parametrize("stream", [stream for stream, expected in VECTORS.values() if expected == "400"][:40:4], ids=range(10))
def test_a_stream_that_is_no_http_gets_one_refusal_and_the_end(served: Served, stream: bytes) -> None:
    wire = served.wire().send(stream)

    assert wire.reply().status == 400
    assert wire.is_closed()
