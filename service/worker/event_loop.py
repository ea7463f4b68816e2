"""The loop of a worker: reads ahead without blocking, answers light requests itself, hands the rest to threads.

A request is only looked at when every byte of it is here, so a slow client costs a file descriptor, not a thread. Light ones
(the application's `is_light` says which) are answered in the loop, with no
hand-over between threads; all others go to a bounded number of threads. A request that outlives the deadline is answered with
504 and the worker replaced: a thread cannot be stopped.
"""

from __future__ import annotations

import io
import itertools
import logging
import os
import select
import time
from collections import deque
from contextlib import suppress

from gunicorn.workers import base

from service.framing.head_grammar import FramingError
from service.worker.accepting import DECLINE_SECONDS, Acceptor, ConnectionCounts
from service.worker.connection import Connection, Phase, WholeRequest, least_progress_first, that_wait_for_an_answer
from service.worker.http_framing import RequestParser
from service.worker.protocol import Application, Environ
from service.worker.raw_responses import RawResponse, raw_error
from service.worker.thread_pool import ThreadPool
from service.worker.watchdog import Watchdog

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
LARGE_BYTES = 1 << 16
MOST_IN_A_TURN = 4
"""Requests of one client that were sent at once; then it is the others' turn."""
TURNS_IN_A_STEP = 8
"""Further turns of such clients, between two looks at all the others."""
MOST_ACCEPTED = 32
FULL = "too many large requests and answers are on their way here already; try again soon"
PARTING_SECONDS = 1.0
_EVENTS = select.EPOLLIN | select.EPOLLRDHUP


class EventLoop:
    """Serves the connections of a worker's listeners until the worker is told to stop.

    Parameters
    ----------
    worker
        gunicorn's side: configuration, listeners, life and death.

    Attributes
    ----------
    held_bytes
        What requests that are not whole and answers that are not read hold in memory.
    """

    def __init__(self, worker: base.Worker, app: Application, counts: ConnectionCounts) -> None:
        self._worker = worker
        self._app = app
        self._limits = app.worker_limits
        self._poll = select.epoll()
        listeners = {sock.fileno(): (sock, RequestParser(worker.cfg, sock.getsockname(), app.add_route)) for sock in worker.sockets}
        self._acceptor = Acceptor(self._poll, listeners, counts, worker.age)
        self._poll.register(worker.PIPE[0], select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._turns: dict[Connection, None] = {}  # of those that have sent more than is answered in a turn
        self.held_bytes = 0
        self._finished: deque[tuple[WholeRequest, bytes, bool]] = deque()
        self._threads = ThreadPool(worker.cfg.threads)
        self._watchdog = Watchdog(self._limits.deadline_seconds, self._give_up)
        self._n_in_flight = 0
        self._is_being_replaced = False

    def run(self) -> None:
        """Serve, then answer what has begun and return."""
        self._watchdog.start()
        next_tick = 0.0
        while self._worker.alive:
            now = time.monotonic()
            if now >= next_tick:
                self._tick(now)
                next_tick = now + TICK_SECONDS
            self._step(TICK_SECONDS)
        self._finish()

    # ---- one step of the loop -----------------------------------------------------------------------------------

    def _step(self, timeout: float) -> None:
        if self._turns:
            timeout = 0.0
        events = self._poll.poll(min(timeout, DECLINE_SECONDS) if self._acceptor.has_declined else timeout)
        if self._acceptor.has_declined:
            self._acceptor.go_on(events)
        for fd, event in events:
            connection = self._connections.get(fd)
            if connection is not None:
                self._serve(connection, event)
            elif fd in self._acceptor:
                for _ in range(MOST_ACCEPTED):
                    if not self._accept(fd) or len(self._connections) >= self._worker.cfg.worker_connections:
                        break
            elif fd == self._worker.PIPE[0]:
                with suppress(BlockingIOError):
                    os.read(fd, 4096)
        if self._turns:
            for connection in list(itertools.islice(self._turns, TURNS_IN_A_STEP)):
                self._turns.pop(connection, None)
                self._advance(connection)
                self._count(connection)
        while self._finished:
            request, payload, closes = self._finished.popleft()
            self._n_in_flight -= 1
            self._respond(request.connection, payload, closes)
            self._count(request.connection)

    def _accept(self, fd: int) -> bool:
        now = time.monotonic()
        if not self._acceptor.is_our_turn(len(self._connections), now):
            return False
        if len(self._connections) >= self._worker.cfg.worker_connections and not self._evict(now):
            self._acceptor.decline(now)
            return False
        connection = self._acceptor.accept(fd, self._limits.max_body_bytes, now)
        if connection is not None:
            self._connections[connection.fd] = connection
            self._acceptor.publish(len(self._connections), now)
            self._poll.register(connection.fd, _EVENTS)
        return connection is not None

    def _evict(self, now: float) -> bool:
        """Make room for another connection by closing the one that makes least progress."""
        leaving = max(self._connections.values(), key=lambda connection: connection.behind(now))
        if leaving.behind(now) <= 0:
            return False
        self._close(leaving)
        return True

    def _serve(self, connection: Connection, event: int) -> None:
        if connection.phase is Phase.READING:
            if connection not in self._turns:
                self._read(connection)
        elif connection.phase is Phase.WRITING:
            self._continue_writing(connection)
        elif connection.phase is Phase.LINGERING:
            self._discard(connection)
        elif event & (select.EPOLLHUP | select.EPOLLERR):  # its thread is still at work: only stop listening to it
            with suppress(OSError):
                self._poll.unregister(connection.fd)
        self._count(connection)

    def _read(self, connection: Connection) -> None:
        was_idle, now = connection.is_idle, time.monotonic()
        try:
            is_there = connection.receive()
        except MemoryError:
            self._refuse_full(connection)
            return
        if not is_there:
            self._close(connection)
            return
        if was_idle:
            connection.begin(now)
        connection.note_progress(now)
        if connection.buffered > LARGE_BYTES:
            self._count(connection)
            if not self._make_room(now, except_for=connection):
                self._refuse_full(connection)
                return
        self._advance(connection)

    def _count(self, connection: Connection) -> None:
        """Keep the sum of what all connections hold."""
        held = connection.held
        self.held_bytes += held - connection.counted
        connection.counted = held

    def _make_room(self, now: float, except_for: Connection) -> bool:
        """Let go of what slow clients hold while it is too much, the slowest first; return whether it is within the bound then."""
        if self.held_bytes > self._limits.max_held_bytes:
            for connection in least_progress_first(self._connections.values(), now):
                if self.held_bytes > self._limits.max_held_bytes and connection.held and connection is not except_for:
                    if connection.phase is Phase.READING:
                        self._refuse_full(connection)
                        self._count(connection)
                    else:
                        self._close(connection)
        return self.held_bytes <= self._limits.max_held_bytes

    def _refuse_full(self, connection: Connection) -> None:
        self._respond(connection, self._error("503 Service Unavailable", FULL, "limit.in_flight", 1), closes=True, lingers=True)

    def _advance(self, connection: Connection) -> None:
        """Answer what is whole, one request after the other, as many as are answered in a turn."""
        for _ in range(MOST_IN_A_TURN):
            if connection.phase is not Phase.READING or connection.is_idle:
                return
            try:
                request = connection.take()
            except FramingError as error:
                self._respond(connection, self._error(error.status, str(error)), closes=True, lingers=True)
                return
            except MemoryError:
                self._refuse_full(connection)
                return
            if request is None:
                return
            self._dispatch(request)
        if connection.phase is Phase.READING and not connection.is_idle:
            self._turns[connection] = None

    def _dispatch(self, request: WholeRequest) -> None:
        connection, head = request.connection, request.head
        environ = head.environ.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = connection.peer[0], str(connection.peer[1])
        environ["wsgi.input"] = io.BytesIO(request.body or b"")
        self._app.add_body(environ, request.body)
        if request.body is None:
            payload, _ = self._answer(environ, request)
            self._respond(connection, payload, closes=True, lingers=True)
        elif self._app.is_light(environ, len(request.body)):
            self._respond(connection, *self._answer(environ, request))
        elif self._n_in_flight >= self._limits.max_in_flight or not self._make_room(time.monotonic(), except_for=connection):
            self._app.add_overload(environ)
            self._respond(connection, *self._answer(environ, request))
        else:
            self._n_in_flight += 1
            connection.phase, connection.since = Phase.ANSWERING, time.monotonic()
            self._poll.modify(connection.fd, 0)
            self._threads.run(lambda: self._answer_in_thread(environ, request))

    def _answer_in_thread(self, environ: Environ, request: WholeRequest) -> None:
        answer = (b"", True)
        try:
            answer = self._answer(environ, request)
        finally:  # whatever happened, its place is free again
            self._finished.append((request, *answer))
            with suppress(BlockingIOError):  # full of wake-ups that were not read yet: one of them will do
                os.write(self._worker.PIPE[1], b"1")

    def _answer(self, environ: Environ, request: WholeRequest) -> tuple[bytes, bool]:
        """Return the bytes of the answer, and whether the connection ends with it."""
        closes = request.head.closes or not self._worker.alive or request.body is None
        response = RawResponse(request.head.version, closes)
        self._watchdog.begin(request)
        try:
            parts = self._app(environ, response.start)
            payload = response.with_body(parts)
            if hasattr(parts, "close"):
                parts.close()
            return payload, closes
        except BaseException:
            logger.exception("the application failed outside its own error handling")
            return self._error("500 Internal Server Error", "something went wrong here; the log says what", "internal"), True
        finally:
            self._watchdog.end(request)

    # ---- after the answer ---------------------------------------------------------------------------------------

    def _respond(self, connection: Connection, payload: bytes, closes: bool, *, lingers: bool = False) -> None:
        was_handed, now = connection.phase is Phase.ANSWERING, time.monotonic()
        if was_handed:
            connection.resume(now)
        connection.phase, connection.since = Phase.READING, now
        if not connection.send(payload):
            self._close(connection)
        elif connection.out is not None:
            connection.phase = Phase.WRITING
            connection.closes_after = closes
            self._listen(connection, select.EPOLLOUT)
            connection.note_progress(now)
            self._bound_answers(connection, now)
        elif lingers:
            connection.linger()
        elif closes:
            self._close(connection)
        elif was_handed:
            self._listen(connection, _EVENTS)
            self._advance(connection)

    def _bound_answers(self, newest: Connection, now: float) -> None:
        """Close whoever reads least of its answer, while unread ones take more memory than all may hold; one may always go on."""
        self._count(newest)
        if not self._make_room(now, except_for=newest):
            unread = [connection for connection in self._connections.values() if connection.phase is Phase.WRITING]
            for connection in sorted(unread, key=lambda connection: connection.patient_until)[:-1]:
                if self.held_bytes > self._limits.max_held_bytes:
                    self._close(connection)

    def _continue_writing(self, connection: Connection) -> None:
        now = time.monotonic()
        if connection.out is not None and not connection.send(connection.out):
            self._close(connection)
            return
        connection.note_progress(now)
        if connection.out is None and connection.closes_after:
            self._close(connection)
        elif connection.out is None:
            connection.phase, connection.since = Phase.READING, now
            self._listen(connection, _EVENTS)
            if not connection.is_idle:
                self._turns[connection] = None

    def _discard(self, connection: Connection) -> None:
        try:
            if not connection.sock.recv(1 << 20):
                self._close(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _listen(self, connection: Connection, events: int) -> None:
        try:
            self._poll.modify(connection.fd, events)
        except FileNotFoundError:
            self._poll.register(connection.fd, events)

    def _close(self, connection: Connection) -> None:
        if self._connections.pop(connection.fd, None) is not None:
            self._acceptor.publish(len(self._connections), time.monotonic())
        with suppress(OSError):
            self._poll.unregister(connection.fd)
        connection.close()
        self._turns.pop(connection, None)
        self._count(connection)

    # ---- time ---------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        self._worker.notify()
        self._acceptor.publish(len(self._connections), now)
        if self._worker.ppid != os.getppid():  # the master was killed; what was acknowledged is in the spool
            self._worker.alive = False
        for connection in list(self._connections.values()):
            waited = now - connection.since
            if connection.is_late(now) and connection.phase is Phase.READING:
                late = self._error("408 Request Timeout", f"the request was not whole after {waited:.0f} seconds")
                self._respond(connection, late, closes=True)
            elif connection.is_late(now) or (connection.is_idle and waited > self._worker.cfg.keepalive):
                self._close(connection)

    def _give_up(self, request: WholeRequest) -> None:
        """Answer for a request that hangs, and replace this worker; called from the watching thread."""
        seconds = self._limits.deadline_seconds
        logger.critical("a request did not end in %g s: this worker is replaced", seconds)
        self._app.note_deadline(request.head.environ)
        error = self._error("504 Gateway Timeout", f"no answer within {seconds:g} seconds", "deadline.exceeded")
        self._is_being_replaced, self._worker.alive = True, False  # first: who gets the 504 can trust that we take nothing new
        request.connection.end_with(error)
        with suppress(OSError):
            os.write(self._worker.PIPE[1], b"1")
        time.sleep(PARTING_SECONDS)  # the loop, unless it is what hangs, answers what else is in flight and leaves itself
        error = self._error("503 Service Unavailable", "the worker is replaced, try again", "worker.replaced", 1)
        for connection in that_wait_for_an_answer(list(self._connections.values())):
            connection.end_with(error)
        os._exit(1)

    def _finish(self) -> None:
        """Answer what has begun, take nothing new, and go."""
        self._acceptor.close()
        began = time.monotonic()
        until = began + (PARTING_SECONDS if self._is_being_replaced else self._worker.cfg.graceful_timeout)
        while self._connections and (now := time.monotonic()) < until:
            self._worker.notify()
            for connection in list(self._connections.values()):
                # A kept connection may be about to send: a moment later a request would find it closed.
                if connection.is_idle and now - began > PARTING_SECONDS:
                    self._close(connection)
            self._step(0.05)
        if not self._is_being_replaced:  # then the watching thread answers whoever is left
            for connection in list(self._connections.values()):
                self._close(connection)
        self._watchdog.stop()

    def _error(self, status: str, text: str, code: str | None = None, retry_after_seconds: int | None = None) -> bytes:
        number = int(status[:3])
        return raw_error(status, self._app.error_body(number, code or f"http.{number}", text), retry_after_seconds)
