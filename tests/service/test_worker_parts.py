"""The small parts of the worker: threads, deadlines, the board of connections, answers as bytes."""

from __future__ import annotations

import queue
import threading
import time

from gunicorn.config import Config

from service.board import Board
from service.connections import WholeRequest
from service.deadlines import Deadlines
from service.heads import Heads
from service.replies import Reply, refusal_reply
from service.threads import Threads


def test_no_more_threads_are_made_than_allowed_and_all_jobs_are_done() -> None:
    threads, seen, gate = Threads(3), queue.SimpleQueue[str](), threading.Barrier(3)

    def job() -> None:
        gate.wait(10)  # passes only when three run at once
        seen.put(threading.current_thread().name)

    for _ in range(9):
        threads.run(job)

    assert len({seen.get(timeout=10) for _ in range(9)}) == 3


def test_an_idle_thread_is_used_again() -> None:
    threads, seen = Threads(8), queue.SimpleQueue[str]()

    for _ in range(5):
        threads.run(lambda: seen.put(threading.current_thread().name))
        name = seen.get(timeout=10)
        deadline = time.monotonic() + 10
        while threads._idle != 1:
            assert time.monotonic() < deadline

    assert name == "request-1"


def request() -> WholeRequest:
    head = Heads(Config(), ("127.0.0.1", 1), lambda environ: None).read(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", ("127.0.0.1", 2))
    return WholeRequest(None, head, b"")  # type: ignore[arg-type]


def test_a_request_that_outlives_the_deadline_is_told_of_once() -> None:
    outlived = queue.SimpleQueue[WholeRequest]()
    deadlines = Deadlines(0.05, outlived.put)
    hung, done = request(), request()
    deadlines.begin(done)
    deadlines.end(done)
    deadlines.begin(hung)

    deadlines.start()

    assert outlived.get(timeout=10) is hung
    assert outlived.empty()


def test_a_worker_that_stopped_writing_is_not_counted() -> None:
    board = Board()
    board.write(1, 10, now=100.0)
    board.write(2, 0, now=90.0)

    assert board.fewest_of_others(3, now=100.5) == 10


def test_an_answer_without_a_length_gets_one() -> None:
    reply = Reply("HTTP/1.1", closes=True)
    reply.start_response("200 OK", [("Content-Type", "text/plain")])

    head, _, body = reply.payload([b"a", b"b"]).partition(b"\r\n\r\n")

    assert body == b"ab"
    assert b"Content-Length: 2" in head.splitlines()
    assert b"Connection: close" in head.splitlines()


def test_a_refusal_has_the_one_error_shape() -> None:
    head, _, body = refusal_reply("431 Request Header Fields Too Large", "too long").partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"http.431"' in body
    assert b'"error":"too long"' in body
