"""A small HTTP server with a thread a connection, of which idle, slow and many clients get a bounded number."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 64
CLIENT_SECONDS = 10.0
"""So long a client may keep its thread waiting for the next bytes; what handles requests takes it as its `timeout`."""


class BoundedServer(ThreadingHTTPServer):
    """Closes the oldest connection where there would be too many: a probe or a scrape is over long before it is one of these.

    Without a bound a stranger's connections would take the threads and open files that the process needs for its work.
    """

    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread of its own, in the place of the oldest one if need be."""
        with self._lock:
            self._open.append(request)
            oldest = self._open.pop(0) if len(self._open) > MOST_CONNECTIONS else None
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that is over."""
        with self._lock, suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note that a client went away, or whatever else ended its request; nobody can make us fill a log with it."""
        logger.debug("a request of %s ended early", client_address, exc_info=True)
