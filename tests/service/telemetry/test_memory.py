"""Whether freed memory stays with a process: counted in page faults by the system, in processes of their own."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORK = """
import sys, resource
from service.telemetry.memory import give_back, keep_freed
assert sys.argv[1] != "keep" or keep_freed()
for turn in range(5):
    blocks = [bytearray(1 << 20) for _ in range(16)]
    del blocks
    if turn == 3 and sys.argv[2] == "give back":
        assert give_back()
    before = before if turn == 4 else resource.getrusage(resource.RUSAGE_SELF).ru_minflt
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""
PAGES = (16 << 20) // 4096


def page_faults(*how: str) -> int:
    """Return how many pages the last of five turns of taking and freeing 16 MiB had to be given."""
    done = subprocess.run([sys.executable, "-c", WORK, *how], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc: freed memory is kept or returned as it likes")
@pytest.mark.parametrize(
    ("how", "is_kept"),
    [(("keep", ""), True), (("as it is", ""), False), (("keep", "give back"), False)],
    ids=["kept", "default", "given back"],
)
def test_freed_memory_is_kept_until_it_is_given_back(how: tuple[str, str], is_kept: bool) -> None:
    faults = page_faults(*how)

    assert faults < PAGES / 10 if is_kept else faults > PAGES / 2
