"""How much room a disk has beyond the reserve in which the drain goes on when predictions are refused."""

from __future__ import annotations

import os
from pathlib import Path

LARGEST_RESERVE = 64 << 20
RESERVE_PART = 50  # of the whole disk


def reserve_of(folder: Path, wanted: int | None) -> int:
    """Return the bytes to keep free on the disk of a folder: those wanted, or the lesser of 64 MiB and 2 % of the disk."""
    status = os.statvfs(folder)
    return wanted if wanted is not None else min(LARGEST_RESERVE, status.f_blocks * status.f_frsize // RESERVE_PART)


def free_bytes(folder: Path) -> int | None:
    """Return the bytes that may still be written on the disk of a folder, as `df` tells; None where the file system does not."""
    status = os.statvfs(folder)
    if not status.f_blocks:
        return None
    return status.f_bavail * status.f_frsize


def size_bytes(folder: Path) -> int:
    """Return the size of the disk of a folder in bytes, 0 where the file system does not tell."""
    status = os.statvfs(folder)
    return status.f_blocks * status.f_frsize


def shortage(folder: Path, wanted: int | None) -> str | None:
    """Return a sentence when less is free than the reserve, None when there is room.

    Examples
    --------
    >>> shortage(Path("/"), 0) is None
    True
    >>> shortage(Path("/"), 1 << 60)
    'the disk of / has ... MiB left, of which EVERGREEN_DISK_RESERVE keeps 1099511627776 MiB: predictions are refused until there is room'
    """
    free, reserve = free_bytes(folder), reserve_of(folder, wanted)
    return None if free is None or free >= reserve else shortage_sentence(folder, free, reserve)


def shortage_sentence(folder: Path, free: int, reserve: int) -> str:
    """Say how much is left and why nothing is written into it."""
    kept = f"{_mebibytes(free)} MiB left, of which EVERGREEN_DISK_RESERVE keeps {_mebibytes(reserve)} MiB"
    return f"the disk of {folder} has {kept}: predictions are refused until there is room"


def _mebibytes(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 20):.1f}".removesuffix(".0")
