"""The metrics files of workers that are gone, folded into one file a kind, so that restarts leave nothing to grow.

Each worker counts in files of its own, named by its process id. What a worker has counted must go on being told after its
end, for a counter never goes down. So the master, when a worker is gone, adds its numbers to those of the others that are
gone. A scrape must see each number once, at any moment and after any crash:

- Folding holds a lock on the folder that scrapes share.
- The new file replaces the old one in one step, but the worker's file is removed in a second one. Before both, a note is
  written of what is about to be folded into which file. Who finds the note and the new file in place leaves the files it
  names out, and the next to fold removes them.

A master that cannot have the lock soon, because a scrape hangs, leaves the files for the end of the next worker.

This imports prometheus_client, which decides at its import whether processes share: set ``PROMETHEUS_MULTIPROC_DIR`` before.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.25
SCRAPE_PATIENCE_SECONDS = 1.0
GONE = "gone"
_LOCK, _NOTE = "fold.lock", "fold.json"
_TRIES = 5

Value = tuple[float, float]
"""A number, and for gauges when it was set (seconds since 1970)."""


def _added(first: Value, second: Value) -> Value:
    return first[0] + second[0], 0.0


def _newer(first: Value, second: Value) -> Value:
    return max(first, second, key=lambda value: value[1])


_MERGES: Mapping[str, Callable[[Value, Value], Value]] = {
    "counter": _added,
    "histogram": _added,
    "gauge_max": max,
    "gauge_min": min,
    "gauge_mostrecent": _newer,
}
"""How the numbers of two workers become one, by what stands before the process id in the name of a file."""


class WorkerMetrics(Collector):
    """The metrics of all workers that share a folder, gone or not, added up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Read all files, each number once."""
        with _holding(self._folder, fcntl.LOCK_SH, SCRAPE_PATIENCE_SECONDS):
            for _ in range(_TRIES):
                try:
                    folded = _folded(self._folder)
                    files = [str(path) for path in sorted(self._folder.glob("*.db")) if path.name not in folded]
                    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
                except FileNotFoundError:  # only where the lock was out of reach: folded meanwhile, so look again
                    continue
        return []


def forget_worker(pid: int, folder: Path) -> None:
    """Fold what a worker has counted, now that it is gone, into one file with what others had; for the master, never fails."""
    try:
        for path in folder.glob(f"gauge_live*_{pid}.db"):
            path.unlink(missing_ok=True)
        with _holding(folder, fcntl.LOCK_EX, PATIENCE_SECONDS) as is_held:
            if is_held:
                _finish(folder)
                _fold(folder, pid)
            else:
                logger.warning("the metrics of worker %d are folded later: a scrape takes long", pid)
    except Exception:
        logger.exception("the metrics of worker %d could not be folded", pid)


def start_anew(folder: Path) -> None:
    """Remove the metrics of an earlier run, before there is any worker."""
    for pattern in ("*.db", "*.partial", "*.damaged", _NOTE):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _fold(folder: Path, pid: int) -> None:
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.db")):
        kind, _, owner = path.stem.rpartition("_")
        if owner.isdecimal() and (int(owner) == pid or _is_gone(int(owner))):
            groups.setdefault(kind, []).append(path)
    for kind, paths in groups.items():
        if kind in _MERGES:
            _fold_kind(folder, kind, paths)
        elif kind.startswith("gauge_live"):
            _remove(paths)


def _fold_kind(folder: Path, kind: str, paths: Sequence[Path]) -> None:
    target = folder / f"{kind}_{GONE}.db"
    partial = target.with_suffix(".partial")
    merge = _MERGES[kind]
    merged: dict[str, Value] = {}
    for path in [target, *paths]:
        for key, value in _read(path).items():
            merged[key] = merge(merged[key], value) if key in merged else value
    partial.unlink(missing_ok=True)
    written = MmapedDict(str(partial))  # type: ignore[no-untyped-call]
    for key, (number, at) in merged.items():
        written.write_value(key, number, at)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]
    _write_note(folder, target.name, partial.stat().st_ino, [path.name for path in paths])
    os.rename(partial, target)
    _remove(paths)
    (folder / _NOTE).unlink()


def _read(path: Path) -> dict[str, Value]:
    """Read a file; one that cannot be read is put aside, for a scrape could not read it either."""
    try:
        found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        values = {key: (value, at) for key, value, at, _ in found}
        for key in values:
            json.loads(key)
    except FileNotFoundError:
        return {}
    except Exception:
        logger.exception("the metrics file %s is damaged and put aside", path.name)
        path.rename(path.with_suffix(".damaged"))
        return {}
    return values


def _finish(folder: Path) -> None:
    """Do what a master that was killed within `_fold_kind` left undone."""
    _remove([folder / name for name in _folded(folder)])
    (folder / _NOTE).unlink(missing_ok=True)


def _write_note(folder: Path, target: str, inode: int, folded: Sequence[str]) -> None:
    partial = folder / f"{_NOTE}.partial"
    partial.write_text(json.dumps({"target": target, "inode": inode, "folded": folded}))
    os.rename(partial, folder / _NOTE)


def _folded(folder: Path) -> frozenset[str]:
    """Name the files whose numbers are in the file of the gone already; it is the one of the note when it has its inode."""
    try:
        note = json.loads((folder / _NOTE).read_bytes())
        is_in_place = (folder / note["target"]).stat().st_ino == note["inode"]
    except FileNotFoundError:
        return frozenset()
    return frozenset(note["folded"]) if is_in_place else frozenset()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@contextmanager
def _holding(folder: Path, kind: int, patience_seconds: float) -> Iterator[bool]:
    """Hold the folder's lock, shared or alone, if it can be had soon; the kernel frees it when its holder dies."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _try_lock(handle, kind, time.monotonic() + patience_seconds)
    finally:
        os.close(handle)


def _try_lock(handle: int, kind: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)  # there is no event to wait for that would also end
        else:
            return True
