"""Requests as bytes, and readers of them: ours, gunicorn's own, h11's, each over the same stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h11
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from service.framing.head_grammar import FramingError
from service.worker.connection import Connection
from service.worker.http_framing import RequestParser

PEER = ("127.0.0.1", 50000)
OPEN, CLOSED = "open", "closed"
GUNICORN = Config()  # to make one takes ten times as long as to read a request


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader makes of a stream: the requests (method, target, body), and how it ends: open, closed or a status."""

    requests: list[tuple[str, str, bytes | None]]
    end: str

    @property
    def whole(self) -> list[tuple[str, str, bytes | None]]:
        """Those that were not refused unread for their size."""
        return [request for request in self.requests if request[2] is not None]


class Pieces:
    """A socket that gives out what it is given."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = list(pieces)[::-1]

    def fileno(self) -> int:
        return -1

    def recv(self, n_bytes: int) -> bytes:
        piece = self._pieces.pop() if self._pieces else b""
        if len(piece) > n_bytes:
            self._pieces.append(piece[n_bytes:])
        return piece[:n_bytes]

    def send(self, data: bytes) -> int:
        return len(data)


def make_parser() -> RequestParser:
    return RequestParser(GUNICORN, ("127.0.0.1", 8000), lambda environ: None)


def read_by_ours(pieces: Iterable[bytes], *, parser: RequestParser | None = None, max_body_bytes: int = 1 << 20) -> Reading:
    """Read a stream as a worker does that answers everything."""
    connection = Connection(Pieces(pieces), PEER, parser or make_parser(), max_body_bytes, now=0.0)  # type: ignore[arg-type]
    requests: list[tuple[str, str, bytes | None]] = []
    try:
        while connection.receive():
            while (request := connection.take()) is not None:
                requests.append((request.head.environ["REQUEST_METHOD"], request.head.environ["RAW_URI"], request.body))
                if request.head.closes or request.body is None:
                    return Reading(requests, CLOSED)
    except FramingError as error:
        return Reading(requests, error.status[:3])
    return Reading(requests, OPEN)


def read_by_gunicorn(stream: bytes) -> Reading:
    """Read a stream with gunicorn's parser and body readers, one request after the other."""
    unreader, requests = IterUnreader([stream]), list[tuple[str, str, bytes | None]]()
    while True:
        try:
            request: Any = Request(GUNICORN, unreader, PEER, len(requests) + 1)
            body = request.body.read()
        except (NoMoreData, StopIteration):
            return Reading(requests, OPEN)
        except (ParseException, OSError) as error:  # older readers of chunks raise the latter
            return Reading(requests, type(error).__name__)
        if len(body) < getattr(request.body.reader, "length", 0):
            return Reading(requests, OPEN)
        requests.append((request.method, request.uri, body))
        if request.should_close():
            return Reading(requests, CLOSED)


def read_by_h11(stream: bytes) -> Reading:
    """Read a stream with h11, answering each request; an empty line before a request is taken, as RFC 9112 asks and h11 does not."""
    connection = _h11_at(stream)
    requests, parts, head = list[tuple[str, str, bytes | None]](), list[bytes](), None
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return Reading(requests, str(error.error_status_hint))
        if isinstance(event, h11.Request):
            head, parts = event, []
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            requests.append((head.method.decode(), head.target.decode("latin-1"), b"".join(parts)))
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                return Reading(requests, CLOSED)
            connection = _h11_at(connection.trailing_data[0].removeprefix(b"\r\n"))
        else:
            return Reading(requests, OPEN)


def _h11_at(stream: bytes) -> h11.Connection:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    if stream:
        connection.receive_data(stream)
    return connection
