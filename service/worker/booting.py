"""How the workers of one master come up: a new one tries in place of one that could not, and the master ends if none ever could."""

from __future__ import annotations

import mmap
import struct

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 30.0
MOST_FIRST_TRIES = 3
_FORM = struct.Struct("<II")


class Boots:
    """What all workers know of each other's starts, in memory that they share; made before the first fork.

    Parameters
    ----------
    n_workers
        How many of them there are.

    Notes
    -----
    Two that fail at the very same moment may count as one: then there is one try more.

    Examples
    --------
    >>> boots = Boots(1)
    >>> [boots.note_failure() for _ in range(3)], boots.should_give_up()
    ([0.25, 0.5, 1.0], True)
    >>> boots.note_success()
    >>> boots.note_failure(), boots.should_give_up()
    (0.25, False)
    """

    def __init__(self, n_workers: int) -> None:
        self._n_workers = n_workers
        self._shared = mmap.mmap(-1, _FORM.size)

    def note_success(self) -> None:
        """Note that a worker has made its application; how long its models take to load says nothing of the others."""
        _FORM.pack_into(self._shared, 0, 1, 0)

    def note_failure(self) -> float:
        """Note that a worker could not come up; return how many seconds to wait before the next one tries."""
        came_up, failures = _FORM.unpack_from(self._shared)
        _FORM.pack_into(self._shared, 0, came_up, failures + 1)
        return float(min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(failures // self._n_workers, 20)))

    def should_give_up(self) -> bool:
        """Return whether none has ever come up, though each was tried several times."""
        came_up, failures = _FORM.unpack_from(self._shared)
        return not came_up and failures >= MOST_FIRST_TRIES * self._n_workers
