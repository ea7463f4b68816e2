"""An answer as bytes: status line, headers and body in one piece, so that it leaves in one packet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any

_date = (0, "")


class RawResponse:
    """Takes status and headers from a WSGI application and makes the bytes of its answer.

    Examples
    --------
    >>> response = RawResponse("HTTP/1.1", closes=False)
    >>> _ = response.start("200 OK", [("Content-Length", "2")])
    >>> payload = response.with_body([b"ok"])
    >>> payload.splitlines()[0], payload[-6:]
    (b'HTTP/1.1 200 OK', b'\\r\\n\\r\\nok')
    """

    __slots__ = ("_closes", "_headers", "_status", "_version")

    def __init__(self, version: str, closes: bool) -> None:
        self._version = version
        self._closes = closes
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """Take status and headers (the `start_response` of PEP 3333)."""
        self._status, self._headers = status, headers
        return _no_write

    def with_body(self, parts: Iterable[bytes]) -> bytes:
        """Return the whole answer."""
        body = b"".join(parts)
        lines = [f"{self._version} {self._status}\r\nDate: {_now()}\r\nConnection: {'close' if self._closes else 'keep-alive'}\r\n"]
        has_length = False
        for name, value in self._headers:
            has_length = has_length or name == "Content-Length"
            lines.append(f"{name}: {value}\r\n")
        if not has_length and self._status[:3] not in ("204", "304"):
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1") + body


def raw_error(status: str, body: bytes, retry_after_seconds: int | None = None) -> bytes:
    """Return the answer to a request that never reaches the application; the connection ends with it.

    Examples
    --------
    >>> raw_error("400 Bad Request", b"{}").splitlines()[0]
    b'HTTP/1.1 400 Bad Request'
    """
    response = RawResponse("HTTP/1.1", closes=True)
    retry = [] if retry_after_seconds is None else [("Retry-After", str(retry_after_seconds))]
    response.start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *retry])
    return response.with_body([body])


def _no_write(_: bytes) -> None:
    raise NotImplementedError("the application must return its body")


def _now() -> str:
    global _date
    second = int(time.time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]
