"""Where connections come in: of several workers, the one with fewest takes the next."""

from __future__ import annotations

import select
import socket

from service.board import Board
from service.connections import Connection
from service.heads import Heads

DECLINE_SECONDS = 0.002
PATIENCE_SECONDS = 0.02


class Door:
    """Accepts connections from some listeners, or leaves them to another worker.

    Parameters
    ----------
    poll
        Where the listeners are watched; a declined one is not, until `reopen`.
    worker
        Our place on the board.
    """

    def __init__(self, poll: select.epoll, listeners: dict[int, tuple[socket.socket, Heads]], board: Board, worker: int) -> None:
        self._poll = poll
        self._listeners = listeners
        self._board = board
        self._worker = worker
        self._declined_since = 0.0
        for fd, (listener, _) in listeners.items():
            listener.setblocking(False)
            poll.register(fd, select.EPOLLIN)

    def __contains__(self, fd: int) -> bool:
        return fd in self._listeners

    @property
    def is_ajar(self) -> bool:
        """Whether a connection was left to another worker a moment ago; call `reopen` soon."""
        return self._declined_since > 0.0

    def reopen(self) -> None:
        """Look at the listeners again."""
        for fd in self._listeners:
            self._poll.modify(fd, select.EPOLLIN)

    def tell(self, n_connections: int, now: float) -> None:
        """Let the other workers know how many connections we have."""
        self._board.write(self._worker, n_connections, now)

    def is_ours(self, n_connections: int, now: float) -> bool:
        """Whether to take a new connection: nobody has fewer than we, or who has is too busy to come for it."""
        fewest = self._board.fewest_of_others(self._worker, now)
        if fewest is None or n_connections <= fewest or (self.is_ajar and now - self._declined_since > PATIENCE_SECONDS):
            self._declined_since = 0.0
            return True
        self.decline(now)
        return False

    def decline(self, now: float) -> None:
        """Leave a new connection to the others, or let it wait."""
        self._declined_since = self._declined_since or now
        for fd in self._listeners:
            self._poll.modify(fd, 0)

    def accept(self, fd: int, max_body_bytes: int, now: float) -> Connection | None:
        """Accept a connection; None when another worker was faster, the client is gone, or no file descriptor is left."""
        listener, heads = self._listeners[fd]
        try:
            sock, peer = listener.accept()
        except OSError:
            return None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Connection(sock, peer, heads, max_body_bytes, now)

    def close(self) -> None:
        """Take no more."""
        for fd, (listener, _) in self._listeners.items():
            self._poll.unregister(fd)
            listener.close()
        self._listeners.clear()
        self._declined_since = 0.0
