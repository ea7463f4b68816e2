"""What a fault cost: clients that ask without pause while something goes wrong, and their figures for the table of docs/promises.md."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any, Self

from tests.end_to_end.arena import PREDICT, Row
from tests.end_to_end.wire import Wire, request
from tests.patience import PATIENCE_SECONDS, until

REPORT = "EVERGREEN_FAULT_REPORT"
ROW: Row = {"distance": 3.0, "hour": 8.0}
LIVE = request("/livez")
Seconds = float


class Probes:
    """One client that asks over a new connection each time, until it is left.

    Parameters
    ----------
    content
        A whole request; by default a prediction of one row of `fares`.
    pause
        Seconds between an answer and the next request.
    patience
        Seconds that the client waits for an answer.
    """

    def __init__(self, port: int, content: bytes = b"", *, pause: Seconds = 0.02, patience: Seconds = PATIENCE_SECONDS) -> None:
        self._port = port
        self._content = content or request(PREDICT, {"rows": [ROW]})
        self._pause = pause
        self._patience = patience
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)
        self.times: list[Seconds] = []
        self.ids: list[str] = []
        self.failures: list[int] = []
        self.version = ""  # that answered last

    def __enter__(self) -> Self:
        self.times.append(time.perf_counter())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(self._patience + 10)
        assert not self._thread.is_alive(), "a probe has no answer"
        self.times.append(time.perf_counter())

    def wait_for(self, more: int) -> None:
        """Wait until so many more were answered well."""
        wanted = len(self.times) + more
        until(lambda: len(self.times) >= wanted, lambda: f"probes are answered; the last statuses but 200 are {self.failures[-5:]}")

    def longest_silence(self) -> Seconds:
        """Return the longest time without a good answer."""
        return longest_gap(self.times)

    def _run(self) -> None:
        while not self._stopping.is_set():
            status, content = self._ask()
            if status == 200:
                self.times.append(time.perf_counter())
                self.version = content.get("version", "")
                self.ids += [each["id"] for each in content.get("predictions", [])]
            else:
                self.failures.append(status)
            self._stopping.wait(self._pause)

    def _ask(self) -> tuple[int, Any]:
        with suppress(OSError, EOFError, ValueError):
            with Wire(self._port, self._patience) as wire:
                reply = wire.ask(self._content)
            return reply.status, reply.json
        return 0, None


def longest_gap(times: Iterable[Seconds]) -> Seconds:
    """Return the longest time between two neighbours."""
    return max((after - before for before, after in pairwise(sorted(times))), default=0.0)


def note(fault: str, acknowledged: Collection[str], logged: Collection[str], silence: Seconds | None) -> None:
    """Add to the report what a fault cost, if there is one; the figures of the same fault are brought together by `tests.fault_table`.

    Parameters
    ----------
    fault
        The first cell of its row in docs/promises.md.
    acknowledged
        The ids that clients were given.
    logged
        The ids in the log afterwards; those that no client was given do not count.
    silence
        The longest time without a good answer; None where nobody asked.
    """
    if path := os.environ.get(REPORT):
        line = {"fault": fault, "acknowledged": len(acknowledged), "found": len(set(acknowledged) & set(logged)), "silence": silence}
        with open(path, "a") as file:
            file.write(json.dumps(line) + "\n")
