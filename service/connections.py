"""One client's connection: bytes are collected without blocking until a whole request is there."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from service.heads import ChunkScan, Head, HeadError, Heads

LONGEST_HEAD = 128 << 10
READ_BYTES, MOST_READ_BYTES = 1 << 16, 1 << 20
READ_SECONDS = 30.0
SLOWEST_BYTES = 1 << 16
"""A second; a body that comes more slowly than this is given up after `READ_SECONDS`."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """What a connection is doing."""

    READING = "reading"
    """Waiting for a request, or for the rest of one."""
    ANSWERING = "answering"
    """Its request is with a thread; nothing more is read."""
    WRITING = "writing"
    """The answer did not go out at once; nothing more is read."""
    LINGERING = "lingering"
    """Answered and shut, but the client still sends: its bytes are thrown away so that it gets to read the answer."""
    CLOSED = "closed"


class WholeRequest:
    """A request of which every byte is here.

    `body` is None when it is refused unread: it is larger than the limit, of which the head (or, chunked, the bytes) tells.
    """

    __slots__ = ("body", "connection", "head", "started")

    def __init__(self, connection: Connection, head: Head, body: bytes | None) -> None:
        self.connection = connection
        self.head = head
        self.body = body
        self.started = 0.0


class Connection:
    """Collects requests from a socket that does not block.

    Parameters
    ----------
    now
        Monotonic seconds.
    max_body_bytes
        A body beyond it is not read.
    """

    __slots__ = ("_buffer", "_heads", "_max_body", "_scan", "_start", "closes_after", "fd", "head", "out", "peer", "phase", "since", "sock")

    def __init__(self, sock: socket.socket, peer: Any, heads: Heads, max_body_bytes: int, now: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer: tuple[Any, ...] = peer if isinstance(peer, tuple) else ("", 0)
        self.phase = Phase.READING
        self.since = now
        self.out: memoryview | None = None
        self.closes_after = False
        self.head: Head | None = None
        self._heads = heads
        self._max_body = max_body_bytes
        self._buffer: bytes | bytearray = b""
        self._start = 0
        self._scan: ChunkScan | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a request has come since the last answer."""
        return self.phase is Phase.READING and not self._buffer

    def is_late(self, now: float) -> bool:
        """Whether the rest of a request has been waited for long enough: half a minute, and more for what comes steadily."""
        return self.phase is Phase.READING and not self.is_idle and now - self.since > READ_SECONDS + self.buffered / SLOWEST_BYTES

    @property
    def buffered(self) -> int:
        """How many bytes wait here."""
        return len(self._buffer)

    @property
    def _missing(self) -> int:
        """How many bytes of the request's body must still come, where its head tells."""
        return 0 if self.head is None or self.head.length is None else self._start + self.head.length - len(self._buffer)

    def receive(self) -> bool:
        """Take what the socket has; False when the client is gone."""
        try:
            data = self.sock.recv(min(max(READ_BYTES, self._missing), MOST_READ_BYTES))
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        if not self._buffer:
            self._buffer = data
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += data
        return True

    def take(self) -> WholeRequest | None:
        """Give the next whole request, or one to refuse unread; None while more must come.

        Raises
        ------
        HeadError
            What came is not HTTP.
        """
        head = self.head
        if head is None:
            if not self._buffer:
                return None
            head = self._take_head()
            if head is None:
                return None
        end = self._start + head.length if head.length is not None else self._chunks_end()
        if (len(self._buffer) if end is None else end) - self._start > self._max_body:
            return self._taken(head, None, len(self._buffer))
        if end is None or end > len(self._buffer):
            return None
        if head.length is None:
            body = self._heads.decode_chunks(bytes(self._buffer[:end]), self.peer)
            return self._taken(head, None if len(body) > self._max_body else body, end)
        return self._taken(head, bytes(memoryview(self._buffer)[self._start : end]), end)

    def _take_head(self) -> Head | None:
        end = self._buffer.find(b"\r\n\r\n", 0, LONGEST_HEAD)
        if end < 0:
            if len(self._buffer) > LONGEST_HEAD:
                raise HeadError("431 Request Header Fields Too Large", f"the head of the request is longer than {LONGEST_HEAD} bytes")
            return None
        self._start = end + 4
        head = self.head = self._heads.read(bytes(self._buffer[: self._start]), self.peer)
        if head.length is None:
            self._scan = ChunkScan(self._start)
        if head.expects_continue and len(self._buffer) == self._start and (head.length or 0) <= self._max_body:
            with suppress(OSError):
                self.sock.send(_CONTINUE)
        return head

    def _chunks_end(self) -> int | None:
        return self._scan.end(self._buffer) if self._scan is not None else None

    def _taken(self, head: Head, body: bytes | None, end: int) -> WholeRequest:
        self._buffer = bytes(self._buffer[end:]) if len(self._buffer) > end else b""
        self.head = self._scan = None
        return WholeRequest(self, head, body)

    def send(self, payload: bytes | memoryview) -> bool:
        """Send, keeping in `out` what did not go at once; False when the client is gone."""
        try:
            sent = self.sock.send(payload)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        self.out = memoryview(payload)[sent:] if sent < len(payload) else None
        return True

    def end_with(self, payload: bytes) -> None:
        """Send a last answer, from whatever thread, and nothing after it."""
        with suppress(OSError):
            self.sock.send(payload)
            self.sock.shutdown(socket.SHUT_RDWR)

    def linger(self) -> None:
        """Say that nothing more is sent, and throw away what still comes."""
        self.phase = Phase.LINGERING
        self._buffer = b""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self.phase = Phase.CLOSED
        self._buffer = b""
        self.sock.close()


def that_wait(connections: Sequence[Connection]) -> list[Connection]:
    """Choose those whose client has sent something that is not answered yet, read or unread."""
    left = {connection.fd: connection for connection in connections if connection.phase is not Phase.CLOSED}
    unread = select.poll()
    for fd in left:
        unread.register(fd, select.POLLIN)
    asking = {fd for fd, event in unread.poll(0) if event & select.POLLIN}
    return [connection for fd, connection in left.items() if fd in asking or connection.phase is Phase.ANSWERING or connection.buffered]
