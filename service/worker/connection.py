"""One client's connection: bytes are collected without blocking until a whole request is there."""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any

from service.framing.chunked_body import ChunkDecoder
from service.framing.head_grammar import LONGEST_HEAD, HeadScanner
from service.worker.http_framing import RequestHead, RequestParser

READ_BYTES, MOST_READ_BYTES = 1 << 16, 1 << 20
READ_SECONDS = 30.0
WRITE_SECONDS = 30.0
LINGER_SECONDS = 10.0
SLOW_SECONDS = 2.0
SLOWEST_BYTES = 1 << 16
"""A second. A body that comes more slowly is given up after `READ_SECONDS`, an answer that goes more slowly after `WRITE_SECONDS`.
Whoever is `SLOW_SECONDS` behind it is closed, the furthest behind first, when another needs the place or the memory."""
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

    def __init__(self, connection: Connection, head: RequestHead, body: bytes | None) -> None:
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

    Attributes
    ----------
    since
        When what it waits for now began: to be used again, the rest of a request, an answer, that an answer is read.
    patient_until
        Each byte that comes or goes buys time, at most `SLOW_SECONDS` ahead; from then on the client is slow.
    counted
        What it was last counted to hold, for whoever keeps the sum.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_chunks",
        "_max_body",
        "_moved",
        "_parser",
        "_scanner",
        "_unsent_from",
        "closes_after",
        "counted",
        "fd",
        "head",
        "out",
        "patient_until",
        "peer",
        "phase",
        "since",
        "sock",
    )

    def __init__(self, sock: socket.socket, peer: Any, parser: RequestParser, max_body_bytes: int, now: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer: tuple[Any, ...] = peer if isinstance(peer, tuple) else ("", 0)
        self.phase = Phase.READING
        self.since = now
        self.patient_until = now + SLOW_SECONDS
        self.counted = 0
        self.out: memoryview | None = None
        self.closes_after = False
        self.head: RequestHead | None = None
        self._parser = parser
        self._max_body = max_body_bytes
        self._buffer: bytes | bytearray = b""
        self._at = 0  # what stands before it in the buffer is used up
        self._scanner: HeadScanner | None = None
        self._chunks: ChunkDecoder | None = None
        self._moved = 0  # bytes, since `note_progress`
        self._unsent_from = 0  # the bytes of the whole answer of which `out` is the rest

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a request has come since the last answer."""
        return self.phase is Phase.READING and self.head is None and len(self._buffer) == self._at

    def is_late(self, now: float) -> bool:
        """Whether it has been waited for long enough: some seconds, and more for much that comes or shall go steadily."""
        waited = now - self.since
        if self.phase is Phase.READING:
            return not self.is_idle and waited > READ_SECONDS + self.buffered / SLOWEST_BYTES
        if self.phase is Phase.WRITING:
            return waited > WRITE_SECONDS + self._unsent_from / SLOWEST_BYTES
        return self.phase is Phase.LINGERING and waited > LINGER_SECONDS

    def begin(self, now: float) -> None:
        """Note that it is idle no longer; to have been so makes up for having been slow, another request alone does not."""
        self.patient_until = min(now + SLOW_SECONDS, self.patient_until + 2 * (now - self.since))
        self.since = now

    def resume(self, now: float) -> None:
        """Note that its answer is made, and that making it was not the client's doing."""
        self.patient_until += now - self.since

    def note_progress(self, now: float) -> None:
        """Take into account what came and went."""
        self.patient_until = min(now + SLOW_SECONDS, self.patient_until + self._moved / SLOWEST_BYTES)
        self._moved = 0

    def behind(self, now: float) -> float:
        """Return for how many seconds it makes no progress, or would have to, to have made as little as it did."""
        if self.phase is Phase.LINGERING:
            return now - self.since - SLOW_SECONDS
        if self.phase in (Phase.READING, Phase.WRITING):
            return now - (self.since if self.is_idle else self.patient_until)
        return -math.inf

    @property
    def held(self) -> int:
        """How many bytes it keeps in memory: of a request that is not whole, of an answer that is not read."""
        return self.buffered + (0 if self.out is None else self._unsent_from)

    @property
    def buffered(self) -> int:
        """How many bytes wait here."""
        return len(self._buffer) + (0 if self._chunks is None else len(self._chunks.body))

    @property
    def _missing(self) -> int:
        """How many bytes of the request's body must still come, where its head tells."""
        return 0 if self.head is None or self.head.length is None else self._at + self.head.length - len(self._buffer)

    def receive(self) -> bool:
        """Take what the socket has; return False when the client is gone."""
        try:
            data = self.sock.recv(READ_BYTES if self.head is None else min(max(READ_BYTES, self._missing), MOST_READ_BYTES))
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self._moved += len(data)
        if len(self._buffer) == self._at:
            self._buffer, self._at = data, 0
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._drop_used()
            self._buffer += data
        return True

    def take(self) -> WholeRequest | None:
        """Return the next whole request, or one to refuse unread; None while more must come.

        Raises
        ------
        FramingError
            What came is not HTTP.
        """
        head = self.head or self._take_head()
        if head is None:
            return None
        if head.length is not None:
            if head.length > self._max_body:
                return self._cut(head, None, len(self._buffer))
            end = self._at + head.length
            return None if end > len(self._buffer) else self._cut(head, bytes(memoryview(self._buffer)[self._at : end]), end)
        if self._chunks is None:
            self._chunks = ChunkDecoder(self._max_body)
        self._at = self._chunks.advance(self._buffer, self._at)
        if self._chunks.is_too_large:
            return self._cut(head, None, len(self._buffer))
        return self._cut(head, bytes(self._chunks.body), self._at) if self._chunks.is_whole else None

    def _take_head(self) -> RequestHead | None:
        begin = self._at
        if len(self._buffer) == begin:
            return None
        if self._scanner is None:
            end = self._buffer.find(b"\r\n\r\n", begin, begin + LONGEST_HEAD) + 4
            if end < 4:  # not whole in one piece: look at the pieces one after the other
                self._drop_used()
                begin, self._scanner = 0, HeadScanner()
        if self._scanner is not None:
            end = self._scanner.end(self._buffer) or 0
            if not end:
                return None
        self._scanner = None
        head = self.head = self._parser.parse_head(bytes(self._buffer[begin:end]), self.peer)
        self._at = end
        if head.expects_continue and len(self._buffer) == end and (head.length or 0) <= self._max_body:
            with suppress(OSError):
                self.sock.send(_CONTINUE)
        return head

    def _cut(self, head: RequestHead, body: bytes | None, end: int) -> WholeRequest:
        self._at = end
        if end == len(self._buffer):
            self._buffer, self._at = b"", 0
        self.head = self._chunks = None
        return WholeRequest(self, head, body)

    def _drop_used(self) -> None:
        """Forget what is used up: once for each piece that comes, not for each request or chunk in it."""
        if self._at:
            self._buffer = self._buffer[self._at :]
            self._at = 0

    def send(self, payload: bytes | memoryview) -> bool:
        """Send, keeping in `out` what did not go at once; return False when the client is gone."""
        try:
            sent = self.sock.send(payload)
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        self._moved += sent
        if self.out is None:
            self._unsent_from = len(payload)
        self.out = memoryview(payload)[sent:] if sent < len(payload) else None
        return True

    def end_with(self, payload: bytes) -> None:
        """Send a last answer, from whatever thread, and nothing after it."""
        with suppress(OSError):
            self.sock.send(payload)
            self.sock.shutdown(socket.SHUT_RDWR)

    def linger(self) -> None:
        """Shut our side, and throw away what still comes."""
        self.phase = Phase.LINGERING
        self._forget()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def _forget(self) -> None:
        self._buffer, self._at = b"", 0
        self._chunks = self.out = None

    def close(self) -> None:
        """Close the socket."""
        self.phase = Phase.CLOSED
        self._forget()
        self.sock.close()


def least_progress_first(connections: Iterable[Connection], now: float) -> list[Connection]:
    """Return those that can be done without when places run out, in that order: idle, lingering, or slow in whatever they do."""
    return sorted((each for each in connections if each.behind(now) > 0), key=lambda each: -each.behind(now))


def that_wait_for_an_answer(connections: Sequence[Connection]) -> list[Connection]:
    """Return those whose client has sent something that is not answered yet, read or unread."""
    open_ones = {connection.fd: connection for connection in connections if connection.phase is not Phase.CLOSED}
    poll = select.poll()
    for fd in open_ones:
        poll.register(fd, select.POLLIN)
    unread = {fd for fd, event in poll.poll(0) if event & select.POLLIN}
    return [
        connection for fd, connection in open_ones.items() if fd in unread or connection.phase is Phase.ANSWERING or connection.buffered
    ]
