"""Accept balancing: of several workers, the one with fewest connections takes the next."""

from __future__ import annotations

import mmap
import select
import socket
from collections.abc import Sequence

from service.worker.connection import Connection
from service.worker.http_framing import RequestParser

DECLINE_SECONDS = 0.002
PATIENCE_SECONDS = 0.02
MAX_WORKERS = 256
STALE_SECONDS = 2.0
UNSENT_BYTES = 1 << 19
"""Of an answer that is not read the kernel keeps so much of each client; the rest stays here, where it is counted."""


class ConnectionCounts:
    """Two numbers a worker in memory shared by all: when it last wrote, and how many connections it has.

    Made before the fork. A worker that is gone or hangs stops writing, and is not counted after two seconds.

    Examples
    --------
    >>> counts = ConnectionCounts()
    >>> counts.write(1, 3, now=10.0); counts.write(2, 5, now=10.0)
    >>> counts.fewest_of_others(2, now=10.5), counts.fewest_of_others(1, now=10.5), counts.fewest_of_others(1, now=13.0)
    (3, 5, None)
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, MAX_WORKERS * 2 * 8)
        self._numbers = memoryview(self._memory).cast("d")

    def write(self, worker: int, n_connections: int, now: float) -> None:
        """Publish how many connections a worker has; `worker` is a number no other living one has, modulo `MAX_WORKERS`."""
        place = worker % MAX_WORKERS * 2
        self._numbers[place + 1] = n_connections
        self._numbers[place] = now

    def fewest_of_others(self, worker: int, now: float) -> int | None:
        """Return the smallest number that another worker has written lately; None when there is no other."""
        own, numbers = worker % MAX_WORKERS, self._numbers.tolist()
        written = zip(numbers[::2], numbers[1::2], strict=True)
        counts = [count for n, (at, count) in enumerate(written) if n != own and at > 0 and now - at < STALE_SECONDS]
        return int(min(counts)) if counts else None


class Acceptor:
    """Accepts connections from some listeners, or leaves them to another worker.

    Parameters
    ----------
    poll
        Where the listeners are watched; after a decline they are not, until `go_on`.
    listeners
        By file descriptor, each with the parser of its requests.
    worker
        Our number in `counts`.

    Attributes
    ----------
    has_declined
        Whether a connection was left to another worker, and none of them is known to have taken it: call `go_on` within `DECLINE_SECONDS`.
    """

    def __init__(
        self, poll: select.epoll, listeners: dict[int, tuple[socket.socket, RequestParser]], counts: ConnectionCounts, worker: int
    ) -> None:
        self._poll = poll
        self._listeners = listeners
        self._counts = counts
        self._worker = worker
        self.has_declined = False
        self._declined_since = 0.0
        self._is_watching = True
        for fd, (listener, _) in listeners.items():
            listener.setblocking(False)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)  # whom it accepts inherits it
            poll.register(fd, select.EPOLLIN)

    def __contains__(self, fd: int) -> bool:
        return fd in self._listeners

    def go_on(self, events: Sequence[tuple[int, int]]) -> None:
        """Watch the listeners again; once they were watched and none is among the `events`, another worker has come for the connection."""
        if not self._is_watching:
            self._watch(select.EPOLLIN)
        elif not any(fd in self._listeners for fd, _ in events):
            self.has_declined = False

    def publish(self, n_connections: int, now: float) -> None:
        """Let the other workers know how many connections we have."""
        self._counts.write(self._worker, n_connections, now)

    def is_our_turn(self, n_connections: int, now: float) -> bool:
        """Return whether to take a new connection: nobody has fewer than we, or who has is too busy to come for it."""
        fewest = self._counts.fewest_of_others(self._worker, now)
        if fewest is None or n_connections <= fewest or (self.has_declined and now - self._declined_since > PATIENCE_SECONDS):
            self.has_declined = False
            return True
        self.decline(now)
        return False

    def decline(self, now: float) -> None:
        """Leave a new connection to the others, or let it wait."""
        if not self.has_declined:
            self.has_declined, self._declined_since = True, now
        self._watch(0)

    def _watch(self, events: int) -> None:
        self._is_watching = bool(events)
        for fd in self._listeners:
            self._poll.modify(fd, events)

    def accept(self, fd: int, max_body_bytes: int, now: float) -> Connection | None:
        """Accept a connection; None when another worker was faster, the client is gone, or no file descriptor is left."""
        listener, parser = self._listeners[fd]
        try:
            sock, peer = listener.accept()
        except OSError:
            return None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(sock, peer, parser, max_body_bytes, now)

    def close(self) -> None:
        """Take no more."""
        for fd, (listener, _) in self._listeners.items():
            self._poll.unregister(fd)
            listener.close()
        self._listeners.clear()
        self.has_declined = False
