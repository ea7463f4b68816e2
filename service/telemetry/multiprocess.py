"""The metrics files of several workers: each counts in the files of its slot, and its successor goes on in the same ones.

A slot is a small number that a master gives before the fork, the lowest that none of its living workers has. So however often workers
are replaced, there are never more files than workers at one time, and what a dead worker has counted is counted on.

This imports prometheus_client, which decides at its import whether processes share: set ``PROMETHEUS_MULTIPROC_DIR`` before.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.telemetry.counts_file import CountsFile

logger = logging.getLogger(__name__)

_TRIES = 5


class WorkerMetrics(Collector):
    """The metrics of all workers that share a folder, added up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Read all files; once more when one was set aside meanwhile."""
        for _ in range(_TRIES):
            try:
                paths = [str(path) for path in sorted(self._folder.glob("*.db")) if path.stat().st_size]
                return list(MultiProcessCollector.merge(paths))  # type: ignore[no-untyped-call]
            except FileNotFoundError:
                continue
        return []


def lowest_free(taken: Collection[int]) -> int:
    """Return the slot of the next worker, given those of the living ones.

    Examples
    --------
    >>> lowest_free([]), lowest_free([0, 1, 3])
    (0, 2)
    """
    return next(slot for slot in count() if slot not in taken)


def slot_name(master: int, slot: int) -> str:
    """Return what names the files of a slot: its master, too, whose orphans may live on for a while beside a new master's workers.

    Examples
    --------
    >>> slot_name(4711, 0)
    '4711-0'
    """
    return f"{master}-{slot}"


def use_slot(folder: Path, name: str) -> None:
    """Let this process count in the files of its slot; before its first metric is made."""
    values.ValueClass = _value_class(folder, name)


def _value_class(folder: Path, slot: str) -> type:
    """Make the class of the values that metrics of this process consist of, as prometheus_client wants it."""
    files: dict[str, CountsFile] = {}
    lock = Lock()

    class SlotValue:
        """A number in memory and in the file of its kind."""

        _multiprocess = True

        def __init__(
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: Sequence[str],
            labelvalues: Sequence[str],
            help_text: str,
            multiprocess_mode: str = "",
            **_: Any,
        ) -> None:
            kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
            self._key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
            with lock:
                if kind not in files:
                    files[kind] = CountsFile(folder / f"{kind}_{slot}.db")
                self._file = files[kind]
                self._value, self._timestamp = self._file.read_value(self._key)

        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                self._file.write_value(self._key, self._value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                self._value = value
                self._file.write_value(self._key, value, timestamp or 0.0)

        def get(self) -> float:
            with lock:
                return self._value

        def set_exemplar(self, exemplar: object) -> None:
            """Keep none: the files have no place for it."""

        def get_exemplar(self) -> None:
            return None

    return SlotValue


def prepare_slot(folder: Path, name: str) -> None:
    """Make the files of a slot fit for the next worker, before it is forked; never fails, and maps no file.

    What a worker tells of itself (``live`` gauges) must not be its successor's first value. A file that cannot be read is set
    aside with its counts: the successor could not open it, and no scrape could read it either.
    """
    forget_live_gauges(folder, name)
    for path in sorted(folder.glob(f"*_{name}.db")):
        try:
            if path.stat().st_size:
                MultiProcessCollector.merge([str(path)])  # type: ignore[no-untyped-call]
        except Exception:
            logger.exception("the metrics file %s is damaged and set aside", path.name)
            with suppress(OSError):
                path.rename(path.with_suffix(".damaged"))


def forget_live_gauges(folder: Path, name: str) -> None:
    """Remove what a worker showed of itself while it lived."""
    for path in folder.glob(f"gauge_live*_{name}.db"):
        with suppress(OSError):
            path.unlink()


def start_anew(folder: Path) -> None:
    """Remove the metrics of an earlier run, before there is any worker."""
    for pattern in ("*.db", "*.damaged"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
