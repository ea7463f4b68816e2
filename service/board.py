"""How many connections each worker has, where all workers can see it: so that new ones go to who has fewest."""

from __future__ import annotations

import mmap

SLOTS = 256
STALE_SECONDS = 2.0


class Board:
    """Two numbers a worker in memory shared by all: when it last wrote, and how many connections it has.

    Made before the fork. A worker that is gone or hangs stops writing, and is not counted after two seconds.

    Examples
    --------
    >>> board = Board()
    >>> board.write(1, 3, now=10.0); board.write(2, 5, now=10.0)
    >>> board.fewest_of_others(2, now=10.5), board.fewest_of_others(1, now=10.5), board.fewest_of_others(1, now=13.0)
    (3, 5, None)
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * 2 * 8)
        self._numbers = memoryview(self._memory).cast("d")

    def write(self, worker: int, connections: int, now: float) -> None:
        """Say how many connections a worker has; `worker` is any number that no other living one has, modulo `SLOTS`."""
        at = worker % SLOTS * 2
        self._numbers[at + 1] = connections
        self._numbers[at] = now

    def fewest_of_others(self, worker: int, now: float) -> int | None:
        """Give the smallest number that another worker has written lately; None when there is no other."""
        own, seen = worker % SLOTS, self._numbers.tolist()
        others = [seen[2 * n + 1] for n in range(SLOTS) if n != own and now - seen[2 * n] < STALE_SECONDS and seen[2 * n] > 0]
        return int(min(others)) if others else None
