"""A proxy that writes down what clients send, byte for byte, so that it can be sent again without them."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

CAPTURED = Path(__file__).with_name("captured")
_HOST = re.compile(rb"(?im)^(host: *)[^\r\n]*")
_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")


class Recorder:
    """Passes connections on to a port, and writes each request to ``captured/<client>/<n>.http`` with `localhost` as its host.

    What the client sent before is replaced. Requests are parted by their Content-Length; a chunked one is an error.
    """

    def __init__(self, port: int, client: str) -> None:
        self._target = port
        self._folder = CAPTURED / client
        self._lock = threading.Lock()
        self._taken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("*.http"):
            old.unlink()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        assert self.errors == []

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._record, args=(client, server), daemon=True).start()
                threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()

    def _record(self, client: socket.socket, server: socket.socket) -> None:
        read = b""
        with client, server, suppress(OSError):
            while got := client.recv(1 << 16):
                server.sendall(got)
                read = self._write_whole(read + got)

    def _write_whole(self, read: bytes) -> bytes:
        """Write the whole requests among the bytes read, and return the rest."""
        while (end := read.find(b"\r\n\r\n") + 4) > 3:
            head = read[:end]
            if b"transfer-encoding" in head.lower():
                self.errors.append(f"chunked: {head!r}")
            length = _LENGTH.search(head)
            size = end + (int(length[1]) if length else 0)
            if len(read) < size:
                break
            with self._lock:
                self._taken += 1
                (self._folder / f"{self._taken:02}.http").write_bytes(_HOST.sub(rb"\g<1>localhost", head) + read[end:size])
            read = read[size:]
        return read


def _pass_on(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while got := server.recv(1 << 16):
            client.sendall(got)
        client.shutdown(socket.SHUT_WR)
