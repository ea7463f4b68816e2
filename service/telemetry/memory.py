"""How much memory this process has, and memory that large requests have taken, given back."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT_BYTES, _LARGEST_KEPT_BYTES = 1 << 28, 1 << 25


def give_back() -> bool:
    """Return free memory back to the system, where the C library can; say whether it did.

    glibc keeps what was freed below something that is still in use, so after a few requests of 10,000 rows a worker would stay
    twice as large as it need be.

    Examples
    --------
    >>> give_back() in (True, False)
    True
    """
    trim = _trim()
    return trim is not None and bool(trim(0))


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM, shared pages included.

    Examples
    --------
    >>> resident_bytes() > 1_000_000
    True
    """
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def keep_freed() -> bool:
    """Keep freed memory for the next request until `give_back`, where the C library can; say whether it does.

    By itself glibc returns what is freed at the top: each request of 10,000 rows would fault 800 pages in again, a sixth of its
    time.

    Examples
    --------
    >>> keep_freed() in (True, False)
    True
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    return option is not None and all([option(_TRIM_THRESHOLD, _KEPT_BYTES), option(_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)])


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
