"""What a server has to bear beside its probes: clients that read or write slowly, and requests for a model that raises or hangs."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator

from benchmarks.serving.encodings import Body
from benchmarks.serving.fronts import slow_clients
from benchmarks.serving.load import post

READERS, BAD_CLIENTS = 60, 8
GIVES_UP_SECONDS = 2.0
FIRST_BYTE_SECONDS = 20.0
READ_BYTES, READ_SECONDS = 100, 1.0


def head(path: str, length: int, body: Body) -> bytes:
    """Return the head of a request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: bench",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in body.headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@contextlib.contextmanager
def slow_writers(port: int, path: str, body: Body) -> Iterator[None]:
    """Keep 60 clients connected that have sent half a head, and 60 with a tenth of a body; each adds a byte a second."""
    whole = head(path, 100_000, body)
    with slow_clients(port, whole[:-4] + b"\r\nX-Slow: "), slow_clients(port, whole + body.content[:1]):
        yield


@contextlib.contextmanager
def slow_readers(port: int, path: str, body: Body) -> Iterator[None]:
    """Keep 60 clients connected that were answered more than the kernel holds, and read 100 bytes a second of it.

    They come one after the other, each when the one before has its first bytes or has waited for 20 s; once one has waited in vain the
    others do not wait.
    """
    sockets, ended, is_answering = list[socket.socket](), threading.Event(), True
    try:
        for _ in range(READERS):
            client = socket.socket()
            sockets.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(FIRST_BYTE_SECONDS if is_answering else 0.1)
            with contextlib.suppress(OSError):
                client.connect(("127.0.0.1", port))
                client.sendall(head(path, len(body.content), body) + body.content)
            is_answering = is_answering and _has_bytes(client)
        reading = threading.Thread(target=_read_slowly, args=(sockets, ended), daemon=True)
        reading.start()
        yield
    finally:
        ended.set()
        for client in sockets:
            client.close()


def _has_bytes(client: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return bool(client.recv(1))
    return False


def _read_slowly(sockets: list[socket.socket], ended: threading.Event) -> None:
    while not ended.wait(READ_SECONDS):
        for client in sockets:
            with contextlib.suppress(OSError):
                client.setblocking(False)
                client.recv(READ_BYTES)


@contextlib.contextmanager
def bad_requests(port: int, path: str, body: Body) -> Iterator[None]:
    """Let 8 clients ask for the same without pause; one that has no answer after 2 s hangs up and asks again."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                post(port, path, body, timeout=GIVES_UP_SECONDS)

    clients = [threading.Thread(target=ask, daemon=True) for _ in range(BAD_CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        ended.set()
        for client in clients:
            client.join()
