"""Damaged spool files: everything is killed, bytes change, and what was acknowledged comes into the log but for what was hit."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from service.recording.frames import format_of, read_frames
from tests.end_to_end.arena import Arena
from tests.end_to_end.fault_report import Probes, note
from tests.end_to_end.puppet import Puppet

pytestmark = pytest.mark.slow

Damage = Callable[[bytearray, int, int], None]


def flip(place: int) -> Damage:
    """Return what flips a bit so many bytes from the beginning of the frame in the middle."""

    def damage(content: bytearray, start: int, _end: int) -> None:
        content[start + place] ^= 4

    return damage


def overwrite(content: bytearray, start: int, _end: int) -> None:
    content[start : start + 4096] = bytes(4096)


def zeros_behind(content: bytearray, _start: int, _end: int) -> None:
    content.extend(bytes(1 << 24))


def noise_behind(content: bytearray, _start: int, _end: int) -> None:
    content.extend(random.Random(1).randbytes(100_000))


def cut_off(content: bytearray, _start: int, end: int) -> None:
    del content[end - 3 :]


DAMAGES: dict[str, tuple[str, Damage, int]] = {
    "a bit of a payload": ("M2a", flip(60), 1),
    "a bit of a length": ("M2b", flip(10), 1),
    "a high bit of a length": ("M2b", flip(8), 1),
    "4 KiB of zeros in the middle": ("M2c", overwrite, 4096),
    "16 MiB of zeros behind the end": ("M2d", zeros_behind, 0),
    "noise behind the end": ("M2d", noise_behind, 0),
    "the last bytes cut off": ("M2e", cut_off, 1),
}


@pytest.mark.parametrize(("fault", "damage", "most"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_to_a_spool_file_costs_the_records_it_hit_and_no_other(
    arena: Callable[..., Arena], fault: str, damage: Damage, most: int
) -> None:
    served = arena(Puppet()).start(DRAIN_INTERVAL_SECONDS="3600")
    with Probes(served.port, pause=0) as probes:
        probes.wait_for(300)
    family = [served.process, *psutil.Process(served.process.pid).children(recursive=True)]
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    served.process.wait()

    path = max(served.home.spool.glob("*.spool2"), key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    ends = ends_of_frames(path)
    damage(content, ends[len(ends) // 2], ends[-1])
    path.write_bytes(content)
    served.start()
    served.until(lambda: not path.exists())
    code = served.stop()
    logged = served.logged_ids()
    note(fault, probes.ids, logged, None)

    assert code == 0
    assert len(probes.ids) >= 300
    assert len(set(probes.ids) - logged) <= -(-most // min(after - before for before, after in pairwise(ends)))


def ends_of_frames(path: Path) -> list[int]:
    """Return where each frame of a whole file ends."""
    ends, form = [0], format_of(path)
    with open(path, "rb") as file:
        while frames := read_frames(file.fileno(), form, ends[-1], len(ends) - 1):
            ends += [frame.end for frame in frames]
    return ends
