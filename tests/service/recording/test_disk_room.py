"""The room that is kept on a disk: 64 MiB, of a small one 2 %, unless the operator says how much."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.recording.disk_room import free_bytes, reserve_of, shortage

BLOCK = 4096


def disk(monkeypatch: pytest.MonkeyPatch, size: int, free: int) -> None:
    """Let every disk have this size and this room, in bytes; some more is kept for root."""
    blocks, left = size // BLOCK, free // BLOCK
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((BLOCK, BLOCK, blocks, left + 1000, left, 0, 0, 0, 0, 255)))


@pytest.mark.parametrize(
    ("size", "wanted", "kept"),
    [
        (1 << 40, None, 64 << 20),
        (1 << 30, None, (1 << 30) // 50),
        (6 << 20, None, (6 << 20) // 50),
        (1 << 40, 0, 0),
        (6 << 20, 1 << 30, 1 << 30),
    ],
    ids=["a large disk", "a small one", "a tiny one", "none wanted", "more wanted than there is"],
)
def test_the_lesser_of_64_mebibytes_and_two_per_cent_is_kept_unless_another_is_wanted(
    monkeypatch: pytest.MonkeyPatch, size: int, wanted: int | None, kept: int
) -> None:
    disk(monkeypatch, size, 0)

    assert reserve_of(Path("/"), wanted) == kept


@pytest.mark.parametrize(("free", "is_short"), [(64 << 20, False), ((64 << 20) - BLOCK, True), (0, True)])
def test_a_disk_is_short_of_room_below_its_reserve(monkeypatch: pytest.MonkeyPatch, free: int, is_short: bool) -> None:
    disk(monkeypatch, 1 << 40, free)

    sentence = shortage(Path("/home"), None)

    assert (sentence is not None) == is_short
    assert sentence is None or sentence.startswith("the disk of /home has ")
    assert free_bytes(Path("/")) == free


def test_a_file_system_that_does_not_tell_is_never_short(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 0, 0)

    assert (free_bytes(Path("/")), shortage(Path("/"), None)) == (None, None)
