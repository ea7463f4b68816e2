"""The head of an HTTP request: what may stand in one is checked here, what it means is read by gunicorn's own parser.

Where a request ends is decided once. The parser's decision holds only where ours is the same: it took every byte of the head, no
more fields and no fewer, and its body is as long. So no version of gunicorn, laxer or stricter, makes one request into two.

Clients on a kept connection send the same head over and over, so what the parser made of a head is remembered by its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gunicorn.config import Config
from gunicorn.http import body as readers
from gunicorn.http import errors as refusals
from gunicorn.http import wsgi
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from service.framing.head_grammar import HEAD, FramingError, bad_request
from service.worker.protocol import Environ

MOST_REMEMBERED = 1024
LONGEST_REMEMBERED = 4096

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?", re.ASCII)
_ADDRESS = re.compile(r"https?://([^/?]+)", re.ASCII | re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,32}", re.ASCII)

_OWN_TO_A_REQUEST = ("wsgi.input", "wsgi.early_hints", "gunicorn.socket", "REMOTE_ADDR", "REMOTE_PORT")
_STATUSES: tuple[tuple[type[Exception], str], ...] = (
    (refusals.LimitRequestLine, "414 URI Too Long"),
    (refusals.LimitRequestHeaders, "431 Request Header Fields Too Large"),
    (refusals.ExpectationFailed, "417 Expectation Failed"),
    (refusals.UnsupportedTransferCoding, "501 Not Implemented"),
    (refusals.ForbiddenProxyRequest, "403 Forbidden"),
)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the head of a request holds.

    Attributes
    ----------
    environ
        What PEP 3333 wants, without what belongs to one request alone; copy it.
    length
        Bytes of the body; None when it is chunked.
    closes
        Whether the connection ends with the answer.
    """

    environ: Environ
    length: int | None
    closes: bool
    expects_continue: bool
    version: str


class RequestParser:
    """Parses the requests of one listener of a worker.

    Parameters
    ----------
    config
        gunicorn's, whose limits and policies hold.
    server
        The listener's own address.
    add_route
        Called with the environment of each head that is not remembered, see `Application.add_route`.
    """

    def __init__(self, config: Config, server: Any, add_route: Callable[[Environ], None]) -> None:
        self._config = config
        self._server = server
        self._add_route = add_route
        self._remembered: dict[tuple[str, bytes], RequestHead] = {}

    def parse_head(self, raw: bytes, peer: tuple[Any, ...]) -> RequestHead:
        """Parse a whole head, up to and with its empty line.

        Raises
        ------
        FramingError
            gunicorn's parser refuses it, or we do.
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

    def _parse(self, raw: bytes, peer: tuple[Any, ...]) -> RequestHead:
        version = _version(raw)
        unreader = IterUnreader([raw])
        try:
            request = Request(self._config, unreader, peer)
            # A name with an underscore would pass for one with a hyphen, or for a variable of the server such as SCRIPT_NAME.
            request.headers = [(name, value) for name, value in request.headers if "_" not in name]
            expects_continue, request._expected_100_continue = request._expected_100_continue, False
            _, environ = wsgi.create(request, None, peer, self._server, self._config)
        except (refusals.NoMoreData, StopIteration):
            raise bad_request("it ends within its head") from None
        except refusals.ParseException as error:
            raise framing_error(error) from None
        length = _agreed_length(raw, unreader.read(), request, version)
        _check_address(raw.strip(b"\r\n").split(b" ", 2)[1].decode("ascii"), request, version)
        expects_continue = expects_continue and version >= (1, 1) and length != 0
        for name in _OWN_TO_A_REQUEST:
            environ.pop(name, None)
        self._add_route(environ)
        return RequestHead(environ, length, _closes(request), expects_continue, environ["SERVER_PROTOCOL"])


def _version(raw: bytes) -> tuple[int, int]:
    """Return the version of a whole head that has the form of one."""
    form = HEAD.fullmatch(raw)
    if form is None:
        raise bad_request("a line of its head is malformed")
    version = int(form[1]), int(form[2])
    if version not in ((1, 0), (1, 1)):
        raise FramingError("505 HTTP Version Not Supported", f"HTTP/{version[0]}.{version[1]} is not spoken here, HTTP/1.1 is")
    return version


def _agreed_length(raw: bytes, left: bytes, request: Request, version: tuple[int, int]) -> int | None:
    """Return how many bytes of body follow a head, or None for chunks, if the parser is of the same mind."""
    lines = raw.strip(b"\r\n").split(b"\r\n")[1:]
    names = [name for name in (line.partition(b":")[0].decode("ascii").upper() for line in lines) if "_" not in name]
    if left or names != [name for name, _ in request.headers]:
        raise bad_request("its head can be read in two ways")
    length = _length(request.headers, version)
    reader = request.body.reader
    if (None if isinstance(reader, readers.ChunkedReader) else reader.length) != length:
        raise bad_request("the length of its body can be read in two ways")
    return length


def _length(headers: list[tuple[str, str]], version: tuple[int, int]) -> int | None:
    codings = [value for name, value in headers if name == "TRANSFER-ENCODING"]
    lengths = [value for name, value in headers if name == "CONTENT-LENGTH"]
    if codings and (lengths or version < (1, 1)):
        raise bad_request("Transfer-Encoding stands beside Content-Length, or in HTTP/1.0")
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise FramingError("501 Not Implemented", f"Transfer-Encoding: {', '.join(codings)[:100]!r} is not read here, chunked is")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise bad_request("Content-Length is not one number")
    return int(lengths[0])


def _check_address(target: str, request: Request, version: tuple[int, int]) -> None:
    """Refuse a request without its host, with one that is none, or with a target that others read as another path or host.

    RFC 9112 3.2; a target has no fragment, and what a proxy forbids by its path must not come along with one.
    """
    hosts = _values_of("HOST", request)
    if len(hosts) > 1 or (not hosts and version >= (1, 1)):
        raise bad_request(f"there are {len(hosts)} Host fields, want one")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise bad_request(f"Host {hosts[0][:100]!r} is no name or address with a port")
    if "#" in target:
        raise bad_request("its target has a fragment")
    if target.startswith("/") or (target, request.method) == ("*", "OPTIONS") or request.method == "CONNECT":
        return
    address = _ADDRESS.match(target)
    if address is None or (hosts and address[1].lower() != hosts[0].lower()):
        raise bad_request(f"its target {target[:100]!r} is no path, and no http address of the host that Host names")


def _closes(request: Request) -> bool:
    """Return whether the connection ends with the answer; ``close`` counts wherever it stands (RFC 9112 9.3)."""
    options = ",".join(_values_of("CONNECTION", request)).lower().split(",")
    return bool(request.should_close()) or "close" in [option.strip(" \t") for option in options]


def _values_of(field: str, request: Request) -> list[str]:
    return [value for name, value in request.headers if name == field]


def framing_error(error: Exception) -> FramingError:
    """Return what an error of the parser is answered with.

    Examples
    --------
    >>> framing_error(refusals.LimitRequestHeaders("too many")).status
    '431 Request Header Fields Too Large'
    """
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), "400 Bad Request")
    return FramingError(status, f"the request is not HTTP we read: {str(error)[:200]}")
