"""What the worker asks of the application it serves, beside WSGI: all that it knows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Environ = dict[str, Any]
"""The environment of a request (PEP 3333)."""

Draining = Callable[[], AbstractContextManager[None]]
"""While the context is open, what all workers have recorded is drained."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much a worker takes on.

    Attributes
    ----------
    max_body_bytes
        A larger body is not read.
    max_in_flight
        Requests that wait for a thread or are in one.
    max_held_bytes
        Bytes of requests that are not whole yet, over all connections; beyond it large ones are refused.
    deadline_seconds
        A request that is answered for longer is given up, and the worker replaced.
    """

    max_body_bytes: int
    max_in_flight: int
    max_held_bytes: int
    deadline_seconds: float


class Application(Protocol):
    """A WSGI application that this worker can serve."""

    @property
    def worker_limits(self) -> WorkerLimits:
        """Return how much a worker takes on."""

    def __call__(self, environ: Environ, start_response: Callable[..., Any], /) -> Iterable[bytes]:
        """Answer a request."""

    def add_route(self, environ: Environ) -> None:
        """Add what follows from the head alone; the worker keeps it for later requests with the same head."""

    def add_body(self, environ: Environ, body: bytes | None) -> None:
        """Add the whole body, or None when it was left unread because it is larger than the limit."""

    def add_overload(self, environ: Environ) -> None:
        """Add that too many requests wait already."""

    def is_light(self, environ: Environ, n_bytes: int) -> bool:
        """Return whether a request with a body of so many bytes is answered sooner than handed to a thread."""

    def note_deadline(self, environ: Environ) -> None:
        """Count a request that was given up at its deadline."""

    def error_body(self, status: int, code: str, text: str) -> bytes:
        """Return the JSON body of an error that the worker itself answers."""
