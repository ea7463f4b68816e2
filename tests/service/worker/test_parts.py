"""The small parts of the worker: threads, the watchdog, the counts of connections, answers as bytes."""

from __future__ import annotations

import queue
import select
import socket
import threading

from gunicorn.config import Config

from service.worker.accepting import Acceptor, ConnectionCounts
from service.worker.connection import WholeRequest
from service.worker.http_framing import RequestParser
from service.worker.raw_responses import RawResponse, raw_error
from service.worker.thread_pool import ThreadPool
from service.worker.watchdog import Watchdog
from tests.patience import PATIENCE_SECONDS, until


def test_no_more_threads_are_made_than_allowed_and_all_jobs_are_done() -> None:
    pool, names, gate = ThreadPool(3), queue.SimpleQueue[str](), threading.Barrier(3)

    def job() -> None:
        gate.wait(PATIENCE_SECONDS)  # passes only when three run at once
        names.put(threading.current_thread().name)

    for _ in range(9):
        pool.run(job)

    assert len({names.get(timeout=PATIENCE_SECONDS) for _ in range(9)}) == 3


def test_an_idle_thread_is_used_again() -> None:
    pool, names = ThreadPool(8), queue.SimpleQueue[str]()

    for _ in range(5):
        pool.run(lambda: names.put(threading.current_thread().name))
        name = names.get(timeout=PATIENCE_SECONDS)
        until(lambda: pool._n_idle == 1, "the thread is idle")

    assert name == "request-1"


def request() -> WholeRequest:
    head = RequestParser(Config(), ("127.0.0.1", 1), lambda environ: None).parse_head(
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", ("127.0.0.1", 2)
    )
    return WholeRequest(None, head, b"")  # type: ignore[arg-type]


def test_a_request_that_outlives_the_deadline_is_given_up_once() -> None:
    given_up = queue.SimpleQueue[WholeRequest]()
    watchdog = Watchdog(0.05, given_up.put)
    hung, done = request(), request()
    watchdog.begin(done)
    watchdog.end(done)
    watchdog.begin(hung)

    watchdog.start()

    assert given_up.get(timeout=PATIENCE_SECONDS) is hung
    assert given_up.empty()


def test_a_worker_that_stopped_writing_is_not_counted() -> None:
    counts = ConnectionCounts()
    counts.write(1, 10, now=100.0)
    counts.write(2, 0, now=90.0)

    assert counts.fewest_of_others(3, now=100.5) == 10


def test_a_connection_left_to_another_worker_is_looked_for_until_somebody_took_it() -> None:
    ours, other = 2, 1
    counts = ConnectionCounts()
    counts.write(other, 0, now=1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener, select.epoll() as poll:
        parser = RequestParser(Config(), listener.getsockname(), lambda environ: None)
        acceptor = Acceptor(poll, {listener.fileno(): (listener, parser)}, counts, ours)
        with socket.create_connection(listener.getsockname()):
            for now in (1.0, 1.002, 1.004):
                events = poll.poll(10)
                assert [fd for fd, _ in events] == [listener.fileno()]
                assert not acceptor.is_our_turn(5, now)
                assert poll.poll(0) == []
                acceptor.go_on([])
                assert acceptor.has_declined
            taken, _ = listener.accept()  # the other worker
            acceptor.go_on(poll.poll(0))
            taken.close()

        assert not acceptor.has_declined
        assert not acceptor.is_our_turn(5, 1.9)  # the patience with the next one begins anew
        acceptor.go_on([])
        assert acceptor.is_our_turn(5, 1.95)


def test_an_answer_without_a_length_gets_one() -> None:
    response = RawResponse("HTTP/1.1", closes=True)
    response.start("200 OK", [("Content-Type", "text/plain")])

    head, _, body = response.with_body([b"a", b"b"]).partition(b"\r\n\r\n")

    assert body == b"ab"
    assert b"Content-Length: 2" in head.splitlines()
    assert b"Connection: close" in head.splitlines()


def test_an_error_of_the_worker_ends_the_connection_and_says_when_to_come_again() -> None:
    head, _, body = raw_error("503 Service Unavailable", b"{}", retry_after_seconds=1).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 503 ")
    assert {b"Connection: close", b"Retry-After: 1", b"Content-Length: 2"} <= set(head.splitlines())
    assert body == b"{}"
