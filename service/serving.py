"""The loop of a worker: reads ahead without blocking, answers light requests itself, hands the rest to threads.

A request is only looked at when every byte of it is here, so a slow client costs a file descriptor, not a thread. Light ones
(what the application's `is_light` says: health, and small predictions of compiled models) are answered in the loop, with no
hand-over between threads; all others go to a bounded number of threads. A request that outlives the deadline is answered with
504 and the worker replaced: a thread cannot be stopped.
"""

from __future__ import annotations

import io
import logging
import os
import select
import time
from collections import deque
from contextlib import suppress
from typing import Any

from gunicorn.workers import base

from service.board import Board
from service.connections import Connection, Phase, WholeRequest, that_wait
from service.deadlines import Deadlines
from service.door import DECLINE_SECONDS, Door
from service.heads import HeadError, Heads
from service.hooks import ServiceFlask
from service.marks import OVERLOADED, TOO_LARGE, WHOLE_BODY
from service.replies import Reply, refusal_reply
from service.threads import Threads

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
WRITE_SECONDS = 30.0
SLOW_SECONDS = 5.0
LARGE_BYTES = 1 << 16
FULL = "too many large requests are on their way here already; try again soon"
LINGER_SECONDS = 10.0
LAST_WORDS_SECONDS = 1.0
_EVENTS = select.EPOLLIN | select.EPOLLRDHUP


class Serving:
    """Serves the connections of a worker's listeners until the worker is told to stop.

    Parameters
    ----------
    worker
        gunicorn's side: configuration, listeners, life and death.
    """

    def __init__(self, worker: base.Worker, app: ServiceFlask, board: Board) -> None:
        self._worker = worker
        self._app = app
        self._poll = select.epoll()
        listeners = {sock.fileno(): (sock, Heads(worker.cfg, sock.getsockname(), app.route_of)) for sock in worker.sockets}
        self._door = Door(self._poll, listeners, board, worker.age)
        self._poll.register(worker.PIPE[0], select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._finished: deque[tuple[WholeRequest, bytes, bool]] = deque()
        self._threads = Threads(worker.cfg.threads)
        self._max_body: int = app.config["MAX_CONTENT_LENGTH"]
        self._most_held: int = app.config["MOST_HELD_BYTES"]
        self._most_in_flight: int = app.config["MOST_IN_FLIGHT"]
        self._deadlines = Deadlines(app.config["DEADLINE_SECONDS"], self._outlived)
        self._handed = 0
        self._is_doomed = False

    def run(self) -> None:
        """Serve, then answer what has begun and return."""
        self._deadlines.start()
        next_tick = 0.0
        while self._worker.alive:
            now = time.monotonic()
            if now >= next_tick:
                self._tick(now)
                next_tick = now + TICK_SECONDS
            self._turn(TICK_SECONDS)
        self._drain()

    # ---- one turn of the loop -----------------------------------------------------------------------------------

    def _turn(self, timeout: float) -> None:
        events = self._poll.poll(DECLINE_SECONDS if self._door.is_ajar else timeout)
        if self._door.is_ajar:
            self._door.reopen()
        for fd, event in events:
            connection = self._connections.get(fd)
            if connection is not None:
                self._serve(connection, event)
            elif fd in self._door:
                self._accept(fd)
            elif fd == self._worker.PIPE[0]:
                with suppress(BlockingIOError):
                    os.read(fd, 4096)
        while self._finished:
            request, payload, closes = self._finished.popleft()
            self._handed -= 1
            self._answered(request.connection, payload, closes)

    def _accept(self, fd: int) -> None:
        now = time.monotonic()
        if not self._door.is_ours(len(self._connections), now):
            return
        if len(self._connections) >= self._worker.cfg.worker_connections and not self._evict(now):
            self._door.decline(now)
            return
        connection = self._door.accept(fd, self._max_body, now)
        if connection is not None:
            self._connections[connection.fd] = connection
            self._door.tell(len(self._connections), now)
            self._poll.register(connection.fd, _EVENTS)

    def _evict(self, now: float) -> bool:
        """Make room by closing the connection that has been idle longest, or else the slowest sender."""
        reading = [connection for connection in self._connections.values() if connection.phase is Phase.READING]
        leaving = [connection for connection in reading if connection.is_idle]
        leaving = leaving or [connection for connection in reading if now - connection.since > SLOW_SECONDS]
        if not leaving:
            return False
        self._close(min(leaving, key=lambda connection: connection.since))
        return True

    def _serve(self, connection: Connection, event: int) -> None:
        if connection.phase is Phase.READING:
            was_idle = connection.is_idle
            if not connection.receive():
                self._close(connection)
                return
            if was_idle:
                connection.since = time.monotonic()
            if connection.buffered > LARGE_BYTES and sum(each.buffered for each in self._connections.values()) > self._most_held:
                self._answered(connection, refusal_reply("503 Service Unavailable", FULL, "limit.in_flight", 1), closes=True, lingers=True)
                return
            self._advance(connection)
        elif connection.phase is Phase.WRITING:
            self._go_on_writing(connection)
        elif connection.phase is Phase.LINGERING:
            self._throw_away(connection)
        elif event & (select.EPOLLHUP | select.EPOLLERR):  # its thread is still at work: only stop listening to it
            with suppress(OSError):
                self._poll.unregister(connection.fd)

    def _advance(self, connection: Connection) -> None:
        """Answer what is whole, one request after the other."""
        while connection.phase is Phase.READING:
            try:
                request = connection.take()
            except HeadError as error:
                self._answered(connection, refusal_reply(error.status, str(error)), closes=True, lingers=True)
                return
            if request is None:
                return
            self._dispatch(request)

    def _dispatch(self, request: WholeRequest) -> None:
        connection, head = request.connection, request.head
        environ = head.environ.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = connection.peer[0], str(connection.peer[1])
        environ["wsgi.input"] = io.BytesIO(request.body or b"")
        environ[WHOLE_BODY] = request.body or b""
        if request.body is None:
            environ[TOO_LARGE] = True
            payload, _ = self._answer(environ, request)
            self._answered(connection, payload, closes=True, lingers=True)
        elif self._app.is_light(environ, len(request.body)):
            self._answered(connection, *self._answer(environ, request))
        elif self._handed >= self._most_in_flight:
            environ[OVERLOADED] = True
            self._answered(connection, *self._answer(environ, request))
        else:
            self._handed += 1
            connection.phase = Phase.ANSWERING
            self._poll.modify(connection.fd, 0)
            self._threads.run(lambda: self._answer_in_thread(environ, request))

    def _answer_in_thread(self, environ: dict[str, Any], request: WholeRequest) -> None:
        self._finished.append((request, *self._answer(environ, request)))
        with suppress(BlockingIOError):  # full of wake-ups that were not read yet: one of them will do
            os.write(self._worker.PIPE[1], b"1")

    def _answer(self, environ: dict[str, Any], request: WholeRequest) -> tuple[bytes, bool]:
        """Give the bytes of the answer, and whether the connection ends with it."""
        closes = request.head.closes or not self._worker.alive or request.body is None
        reply = Reply(request.head.version, closes)
        self._deadlines.begin(request)
        try:
            said = self._app(environ, reply.start_response)
            payload = reply.payload(said)
            if hasattr(said, "close"):
                said.close()
            return payload, closes
        except Exception:
            logger.exception("the application failed outside its own error handling")
            return refusal_reply("500 Internal Server Error", "something went wrong here; the log says what"), True
        finally:
            self._deadlines.end(request)

    # ---- after the answer ---------------------------------------------------------------------------------------

    def _answered(self, connection: Connection, payload: bytes, closes: bool, *, lingers: bool = False) -> None:
        was_handed = connection.phase is Phase.ANSWERING
        connection.phase = Phase.READING
        connection.since = time.monotonic()
        if not connection.send(payload):
            self._close(connection)
        elif connection.out is not None:
            connection.phase = Phase.WRITING
            connection.closes_after = closes
            self._listen(connection, select.EPOLLOUT)
        elif lingers:
            connection.linger()
        elif closes:
            self._close(connection)
        elif was_handed:
            self._listen(connection, _EVENTS)
            self._advance(connection)

    def _go_on_writing(self, connection: Connection) -> None:
        if connection.out is not None and not connection.send(connection.out):
            self._close(connection)
            return
        connection.since = time.monotonic()
        if connection.out is None and connection.closes_after:
            self._close(connection)
        elif connection.out is None:
            connection.phase = Phase.READING
            self._listen(connection, _EVENTS)
            self._advance(connection)

    def _throw_away(self, connection: Connection) -> None:
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
            self._door.tell(len(self._connections), time.monotonic())
        with suppress(OSError):
            self._poll.unregister(connection.fd)
        connection.close()

    # ---- time ---------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        self._worker.notify()
        self._door.tell(len(self._connections), now)
        if self._worker.ppid != os.getppid():  # the master was killed; what was acknowledged is in the spool
            self._worker.alive = False
        for connection in list(self._connections.values()):
            waited = now - connection.since
            if connection.is_late(now):
                late = refusal_reply("408 Request Timeout", f"the request was not whole after {waited:.0f} seconds")
                self._answered(connection, late, closes=True)
            elif (
                (connection.is_idle and waited > self._worker.cfg.keepalive)
                or (connection.phase is Phase.WRITING and waited > WRITE_SECONDS)
                or (connection.phase is Phase.LINGERING and waited > LINGER_SECONDS)
            ):
                self._close(connection)

    def _outlived(self, request: WholeRequest) -> None:
        """Answer for a request that hangs, and replace this worker; called from the watching thread."""
        logger.critical("a request did not end in %g s: this worker is replaced", self._deadlines.seconds)
        self._app.note_deadline(request.head.environ)
        told = refusal_reply("504 Gateway Timeout", f"no answer within {self._deadlines.seconds:g} seconds", "deadline.exceeded")
        self._is_doomed, self._worker.alive = True, False  # first, so that who is told can trust that we take nothing new
        request.connection.end_with(told)
        with suppress(OSError):
            os.write(self._worker.PIPE[1], b"1")
        time.sleep(LAST_WORDS_SECONDS)  # the loop, unless it is what hangs, answers what else is in flight and leaves itself
        sorry = refusal_reply("503 Service Unavailable", "the worker is replaced, try again", "worker.replaced", 1)
        for connection in that_wait(list(self._connections.values())):
            connection.end_with(sorry)
        os._exit(1)

    def _drain(self) -> None:
        """Answer what has begun, take nothing new, and go."""
        self._door.close()
        began = time.monotonic()
        until = began + (LAST_WORDS_SECONDS if self._is_doomed else self._worker.cfg.graceful_timeout)
        while self._connections and (now := time.monotonic()) < until:
            self._worker.notify()
            for connection in list(self._connections.values()):
                # A kept connection may be about to send: a moment later a request would find it closed.
                if connection.is_idle and now - began > LAST_WORDS_SECONDS:
                    self._close(connection)
            self._turn(0.05)
        self._deadlines.stop()
