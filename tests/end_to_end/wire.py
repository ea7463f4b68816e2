"""HTTP as bytes on a socket: what no client library lets a test send or see."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from tests.patience import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection to a local port, read and written by hand."""

    def __init__(self, port: int, timeout: float = PATIENCE_SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def own_port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def send(self, *parts: bytes) -> Self:
        self.socket.sendall(b"".join(parts))
        return self

    def ask(self, *parts: bytes) -> Reply:
        return self.send(*parts).reply()

    def reply(self, *, has_body: bool = True) -> Reply:
        """Read one whole answer; a connection that ends before is an error."""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        status = int(head[0].split()[1])
        return Reply(status, headers, self._body(headers) if has_body and status >= 200 else b"")

    def is_closed(self) -> bool:
        """Wait until something comes; true when that is the end of the connection."""
        if self._read:
            return False
        try:
            self._read = self.socket.recv(65536)
        except ConnectionResetError:
            return True
        return not self._read

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self._until(b"\r\n"), 16):
                parts.append(self._exactly(size + 2)[:-2])
            self._until(b"\r\n")
            return b"".join(parts)
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        while not self.is_closed():
            whole, self._read = self._read, b""
            return whole + self._body(headers)
        return b""

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            self._more()
        part, _, self._read = self._read.partition(end)
        return part + end

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        part, self._read = self._read[:size], self._read[size:]
        return part

    def _more(self) -> None:
        got = self.socket.recv(65536)
        if not got:
            raise EOFError(f"the connection ended after {self._read[:200]!r}")
        self._read += got


def request(target: str, content: Any = None, *lines: str, verb: str = "", version: str = "1.1") -> bytes:
    """Write a request: GET, or POST when there is content."""
    body = b"" if content is None else json.dumps(content).encode()
    head = [f"{verb or ('GET' if content is None else 'POST')} {target} HTTP/{version}", "Host: localhost", *lines]
    if content is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body
