"""How fast a key may ask: one count for all workers of the machine, in a few bytes that they share.

The generic cell rate algorithm keeps one number a key: the theoretical arrival time, when the next request would come if
the key kept exactly to its rate. A request may be early by as much as the burst allows; each one that passes moves the
number on. There is nothing to refill and nothing to forget.

The numbers lie in a small file that every worker maps, read and written under a byte-range lock (which the kernel frees
when a worker dies). A worker that cannot have the lock at once lets others run and tries again, a few times, and then goes
on without: nobody waits for a stopped process. Whoever writes looks first whether the number is still the one that it
read, and counts anew if not: a worker that slept between reading and writing takes back nothing that others counted
meanwhile. The limit is one of the machine: two machines behind a balancer let through twice as much.

References
----------
ATM Forum, Traffic Management Specification 4.0 (1996), section 4.4.2: virtual scheduling.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Self

_WORD = 8
_TAG_WORDS = 2
_SLOT_WORDS = _TAG_WORDS + 1
_HEADER_WORDS = 2
_TRIES = 20
_SECOND = 1_000_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second, and how many may come at once after a pause.

    Examples
    --------
    >>> Rate(0.5), Rate(10)
    (Rate(per_second=0.5, burst=1), Rate(per_second=10, burst=20))
    """

    per_second: float
    burst: int = 0

    def __post_init__(self) -> None:
        if not self.burst:
            object.__setattr__(self, "burst", max(1, int(2 * self.per_second)))


class RateCounts:
    """The theoretical arrival times of the keys that have a rate.

    Examples
    --------
    >>> counts = RateCounts.in_memory(["a1" * 32])
    >>> [counts.wait_ns("a1" * 32, Rate(2, burst=2), now_ns=0) for _ in range(3)]
    [0, 0, 500000000]
    >>> counts.wait_ns("a1" * 32, Rate(2, burst=2), now_ns=500_000_000)
    0
    """

    def __init__(self, words: memoryview, places: dict[str, int], handle: int | None) -> None:
        self._words = words
        self._places = places
        self._handle = handle
        self._lock = Lock()

    @classmethod
    def in_memory(cls, digests: Iterable[str]) -> Self:
        """Count for this process alone."""
        places = {digest: place for place, digest in enumerate(digests)}
        return cls(memoryview(bytearray(_WORD * max(1, len(places)))).cast("q"), places, None)

    @classmethod
    def shared(cls, path: Path, digests: Iterable[str]) -> Self:
        """Count together with all processes that name the same file; it is made, with mode 0600, when it is not there.

        Parameters
        ----------
        digests
            The SHA-256 of each key that has a rate, in hexadecimal. Workers may know different keys, as they do while the
            key file changes: each key has its own place, found by its digest.
        """
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            places = _find_places(handle, list(digests))
            words = memoryview(mmap.mmap(handle, os.fstat(handle).st_size)).cast("q")
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
        counts = cls(words, places, handle)
        weakref.finalize(counts, os.close, handle)
        return counts

    def wait_ns(self, digest: str, rate: Rate, now_ns: int) -> int:
        """Count a request that comes now.

        Parameters
        ----------
        now_ns
            Monotonic time, nanoseconds: one clock for all processes since the machine started.

        Returns
        -------
        0; or the nanoseconds until one may come, and this one is not counted.
        """
        place = self._places[digest]
        step = int(_SECOND / rate.per_second)
        room = step * rate.burst
        with self._lock:
            is_locked = self._handle is not None and _try_lock(self._handle, place)
            try:
                while True:
                    due = read = self._words[place]
                    if not now_ns < due <= now_ns + room:  # idle since; or never so far ahead, unless rate or machine changed
                        due = now_ns
                    early = due + step - now_ns - room
                    if early > 0:
                        return early
                    if self._words[place] == read:
                        self._words[place] = due + step
                        return 0
            finally:
                if is_locked and self._handle is not None:
                    fcntl.lockf(self._handle, fcntl.LOCK_UN, _WORD, place * _WORD)


def _try_lock(handle: int, place: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, _WORD, place * _WORD)
        except OSError:
            os.sched_yield()
            continue
        return True
    return False


def _find_places(handle: int, digests: list[str]) -> dict[str, int]:
    """Return the place of each key's number, in words; new keys are added at the end. The caller holds the file's lock."""
    header = _boot()
    if os.pread(handle, len(header), 0) != header:
        os.ftruncate(handle, 0)  # of an earlier boot, whose clock is over, or nothing yet: no process of this boot has it mapped
        os.pwrite(handle, header, 0)
    slots = os.pread(handle, os.fstat(handle).st_size, 0)[len(header) :]
    size = _SLOT_WORDS * _WORD
    known = {slots[at : at + _TAG_WORDS * _WORD]: at // _WORD for at in range(0, len(slots) - size + 1, size)}
    places: dict[str, int] = {}
    for digest in digests:
        tag = bytes.fromhex(digest)[: _TAG_WORDS * _WORD]
        if tag not in known:
            known[tag] = len(known) * _SLOT_WORDS
            os.pwrite(handle, tag + bytes(_WORD), (_HEADER_WORDS + known[tag]) * _WORD)
        places[digest] = _HEADER_WORDS + known[tag] + _TAG_WORDS
    return places


def _boot() -> bytes:
    try:
        text = _BOOT_ID.read_text().strip().replace("-", "")
        return bytes.fromhex(text)[: _HEADER_WORDS * _WORD].ljust(_HEADER_WORDS * _WORD, b"\1")
    except (OSError, ValueError):
        return b"evergreen rates\n"  # a number of an earlier boot is at worst taken for one of a key that has used its burst
