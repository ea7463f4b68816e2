"""An open-loop client: keep-alive connections that send at a fixed rate, answered or not. One thread, about 0.1 ms a request."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tests.patience import PATIENCE_SECONDS, until

Seconds = float


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and what came of it; `status` is 0 when the connection ended without an answer.

    Attributes
    ----------
    due, done
        When it had to leave, and when all of the answer was there; the difference is what a client waits, queueing here included.
    port
        The client's port: tells the connection, and by it the worker.
    """

    number: int
    due: Seconds
    done: Seconds
    port: int
    status: int
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


@dataclass(eq=False)
class _Line:
    """One connection, and the request on it."""

    socket: socket.socket
    port: int
    number: int = -1
    due: Seconds = 0.0
    left: int = 0
    read: bytearray = field(default_factory=bytearray)


class Load:
    """Sends requests, turn by turn, until it is left; then waits for the last answers.

    Parameters
    ----------
    requests
        Whole requests as bytes; number i of the run sends ``requests[i % len(requests)]``.
    per_second
        The rate; 0 sends as fast as the connections are answered.
    connections
        At most so many requests are under way.
    lifetime
        Requests after which a connection is replaced by a fresh one, as pools of clients do; 0 for never.
    """

    def __init__(
        self, port: int, requests: Sequence[bytes], *, per_second: float = 500.0, connections: int = 32, lifetime: int = 0
    ) -> None:
        self._port = port
        self._requests = requests
        self._gap = 1.0 / per_second if per_second else 0.0
        self._lifetime = lifetime or 1 << 60
        self._connections = connections
        self._selector = selectors.DefaultSelector()
        self._idle: deque[_Line] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._missing = 0
        self.sent: list[Sent] = []
        self.cpu_seconds = 0.0
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "answers are missing"
        if self.error is not None:
            raise self.error

    def failures(self) -> list[Sent]:
        return [each for each in self.sent if each.status != 200]

    def wait_for(self, more: int) -> None:
        """Wait until so many more requests were answered."""
        self.wait_until(lambda target=len(self.sent) + more: len(self.sent) >= target)  # type: ignore[misc]

    def wait_until(self, ask: Callable[[], bool]) -> None:
        """Ask until it is true."""

        def ask_while_it_runs() -> bool:
            assert self._thread.is_alive(), f"the load stopped: {self.error!r}"
            return ask()

        until(ask_while_it_runs, lambda: f"{len(self.sent)} requests are answered so far")

    # ---- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._missing = self._connections
            self._send_and_read()
        except BaseException as error:  # noqa: BLE001 - raised where the load is left
            self.error = error
        finally:
            self.cpu_seconds = time.thread_time()
            for key in list(self._selector.get_map().values()):
                key.data.socket.close()
            self._selector.close()

    def _send_and_read(self) -> None:
        number, due = 0, time.perf_counter()
        while True:
            self._connect()
            now = time.perf_counter()
            while self._idle and (due <= now or not self._gap) and not self._stopping.is_set():
                self._begin(self._idle.popleft(), number, due if self._gap else now)
                number, due = number + 1, due + self._gap
            if self._stopping.is_set() and len(self._idle) + self._missing == self._connections:
                return
            wait = max(0.0, due - time.perf_counter()) if self._idle and self._gap else 0.05
            for key, _ in self._selector.select(wait):
                self._read(key.data)

    def _connect(self) -> None:
        while self._missing and not self._stopping.is_set():
            try:
                made = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_SECONDS)
            except OSError:
                return
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setblocking(False)
            line = _Line(made, made.getsockname()[1], left=self._lifetime)
            self._selector.register(made, selectors.EVENT_READ, line)
            self._idle.append(line)
            self._missing -= 1

    def _begin(self, line: _Line, number: int, due: Seconds) -> None:
        line.number, line.due, line.left = number, due, line.left - 1
        line.read.clear()
        try:
            line.socket.sendall(self._requests[number % len(self._requests)])
        except OSError:
            self._end(line, 0, b"")
            self._drop(line)

    def _read(self, line: _Line) -> None:
        try:
            got = line.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            if line.number >= 0:
                self._end(line, 0, bytes(line.read))
            else:
                self._idle.remove(line)
            self._drop(line)
            return
        line.read += got
        at = line.read.find(b"\r\n\r\n")
        if at < 0:
            return
        head = bytes(line.read[:at]).lower()
        start = head.index(b"content-length:") + 15
        length = int(head[start : head.find(b"\r\n", start) if b"\r\n" in head[start:] else None])
        if len(line.read) < at + 4 + length:
            return
        self._end(line, int(head[9:12]), bytes(line.read[at + 4 :]))
        if b"connection: close" in head or line.left <= 0:
            self._drop(line)
        else:
            self._idle.append(line)

    def _end(self, line: _Line, status: int, body: bytes) -> None:
        self.sent.append(Sent(line.number, line.due, time.perf_counter(), line.port, status, body))
        line.number = -1

    def _drop(self, line: _Line) -> None:
        self._selector.unregister(line.socket)
        line.socket.close()
        self._missing += 1
