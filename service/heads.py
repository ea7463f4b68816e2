"""The head of an HTTP request, read by gunicorn's own parser; what was read once is not read again.

Clients on a kept connection send the same head over and over, so what the parser made of a head is remembered by its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gunicorn.config import Config
from gunicorn.http import errors as refusals
from gunicorn.http import wsgi
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from service.marks import ROUTE

MOST_REMEMBERED = 1024
LONGEST_REMEMBERED = 4096

_OWN_TO_A_REQUEST = ("wsgi.input", "wsgi.early_hints", "gunicorn.socket", "REMOTE_ADDR", "REMOTE_PORT")
_STATUSES: tuple[tuple[type[Exception], str], ...] = (
    (refusals.LimitRequestLine, "414 URI Too Long"),
    (refusals.LimitRequestHeaders, "431 Request Header Fields Too Large"),
    (refusals.ExpectationFailed, "417 Expectation Failed"),
    (refusals.UnsupportedTransferCoding, "501 Not Implemented"),
    (refusals.ForbiddenProxyRequest, "403 Forbidden"),
)


class HeadError(Exception):
    """The head, or the framing of the body, is not HTTP/1.1; `status` is the status line to answer."""

    def __init__(self, status: str, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says.

    Parameters
    ----------
    environ
        What PEP 3333 wants, without what belongs to one request alone; copy it.
    length
        Bytes of the body; None when it is chunked.
    closes
        Whether the connection ends with the answer.
    """

    environ: dict[str, Any]
    length: int | None
    closes: bool
    expects_continue: bool
    version: str


class Heads:
    """Reads heads for one listener of a worker.

    Parameters
    ----------
    config
        gunicorn's, whose limits and policies hold.
    server
        The listener's own address.
    route
        Gives what `ROUTE` shall say of an environment; None to leave it out.
    """

    def __init__(self, config: Config, server: Any, route: Callable[[dict[str, Any]], Any]) -> None:
        self._config = config
        self._server = server
        self._route = route
        self._remembered: dict[tuple[str, bytes], Head] = {}

    def read(self, raw: bytes, peer: tuple[Any, ...]) -> Head:
        """Read a whole head, up to and with its empty line.

        Raises
        ------
        HeadError
            The parser refuses it.
        """
        key = (peer[0], raw)  # whether forwarding headers count depends on who sends them
        head = self._remembered.get(key)
        if head is None:
            head = self._parse(raw, peer)
            if len(raw) <= LONGEST_REMEMBERED:
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = head
        return head

    def _parse(self, raw: bytes, peer: tuple[Any, ...]) -> Head:
        try:
            request = Request(self._config, IterUnreader([raw]), peer)
            expects_continue, request._expected_100_continue = request._expected_100_continue, False
            _, environ = wsgi.create(request, None, peer, self._server, self._config)
        except (refusals.NoMoreData, StopIteration):
            raise HeadError("400 Bad Request", "the request ends within its head") from None
        except refusals.ParseException as error:
            raise refusal(error) from None
        names = [name for name, _ in request.headers]
        for name in _OWN_TO_A_REQUEST:
            environ.pop(name, None)
        route = self._route(environ)
        if route is not None:
            environ[ROUTE] = route
        length = None if "TRANSFER-ENCODING" in names else int(environ.get("CONTENT_LENGTH") or 0)
        return Head(environ, length, request.should_close(), expects_continue, environ["SERVER_PROTOCOL"])

    def decode_chunks(self, raw: bytes, peer: tuple[Any, ...]) -> bytes:
        """Give the body of a whole chunked request (head and body).

        Raises
        ------
        HeadError
            The parser refuses a chunk or a trailer.
        """
        try:
            body: bytes = Request(self._config, IterUnreader([raw]), peer).body.read()
        except refusals.NoMoreData:
            raise HeadError("400 Bad Request", "the chunked body is cut off") from None
        except refusals.ParseException as error:
            raise refusal(error) from None
        return body


def refusal(error: Exception) -> HeadError:
    """Say with which status an error of the parser is answered.

    Examples
    --------
    >>> refusal(refusals.LimitRequestHeaders("too many")).status
    '431 Request Header Fields Too Large'
    """
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), "400 Bad Request")
    return HeadError(status, f"the request is not HTTP we read: {str(error)[:200]}")


class ChunkScan:
    """Finds where a chunked body ends; whether it is right is for the parser to say.

    Examples
    --------
    >>> scan = ChunkScan(0)
    >>> scan.end(b"3\\r\\nabc\\r\\n0\\r\\n"), scan.end(b"3\\r\\nabc\\r\\n0\\r\\n\\r\\nGET")
    (None, 13)
    """

    LONGEST_LINE = 8192
    LONGEST_TRAILERS = 65536

    def __init__(self, start: int) -> None:
        self._at = start

    def end(self, buffer: bytes | bytearray) -> int | None:
        """Give the end of the body, or of what shows it to be wrong; None while more must come."""
        while True:
            line_end = buffer.find(b"\r\n", self._at)
            if line_end < 0:
                return None if len(buffer) - self._at <= self.LONGEST_LINE else len(buffer)
            try:
                size = int(bytes(buffer[self._at : line_end]).split(b";")[0], 16)
            except ValueError:
                return len(buffer)
            if size <= 0:
                return self._trailers_end(buffer, line_end)
            after = line_end + 2 + size
            if len(buffer) < after + 2:
                return None
            if buffer[after : after + 2] != b"\r\n":
                return len(buffer)
            self._at = after + 2

    def _trailers_end(self, buffer: bytes | bytearray, line_end: int) -> int | None:
        if buffer[line_end + 2 : line_end + 4] == b"\r\n":
            return line_end + 4
        end = buffer.find(b"\r\n\r\n", line_end)
        if end < 0:
            return None if len(buffer) - line_end <= self.LONGEST_TRAILERS else len(buffer)
        return end + 4
