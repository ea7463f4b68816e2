"""An answer as bytes: status line, headers and body in one piece, so that it leaves in one packet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any

from service.answers import error_content

_date = (0, "")


class Reply:
    """Takes what a WSGI application says and makes the bytes of it.

    Examples
    --------
    >>> reply = Reply("HTTP/1.1", closes=False)
    >>> _ = reply.start_response("200 OK", [("Content-Length", "2")])
    >>> reply.payload([b"ok"]).splitlines()[0], reply.payload([b"ok"])[-6:]
    (b'HTTP/1.1 200 OK', b'\\r\\n\\r\\nok')
    """

    __slots__ = ("_closes", "_headers", "_status", "_version")

    def __init__(self, version: str, closes: bool) -> None:
        self._version = version
        self._closes = closes
        self._status = ""
        self._headers: list[tuple[str, str]] = []

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """Take status and headers (PEP 3333)."""
        self._status, self._headers = status, headers
        return _no_write

    def payload(self, said: Iterable[bytes]) -> bytes:
        """Give the whole answer."""
        body = b"".join(said)
        lines = [f"{self._version} {self._status}\r\nDate: {_now()}\r\nConnection: {'close' if self._closes else 'keep-alive'}\r\n"]
        has_length = False
        for name, value in self._headers:
            has_length = has_length or name == "Content-Length"
            lines.append(f"{name}: {value}\r\n")
        if not has_length and self._status[:3] not in ("204", "304"):
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1") + body


def refusal_reply(status: str, text: str, code: str | None = None, retry_after: int | None = None) -> bytes:
    """Give the answer to a request that never reaches the application, in the one error shape.

    Examples
    --------
    >>> refusal_reply("400 Bad Request", "no").splitlines()[0]
    b'HTTP/1.1 400 Bad Request'
    """
    number = int(status[:3])
    body = error_content(number, code or f"http.{number}", text, "")
    reply = Reply("HTTP/1.1", closes=True)
    retry = [] if retry_after is None else [("Retry-After", str(retry_after))]
    reply.start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *retry])
    return reply.payload([body])


def _no_write(_data: bytes) -> None:
    raise NotImplementedError("the application must return its body")


def _now() -> str:
    global _date
    second = int(time.time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]
