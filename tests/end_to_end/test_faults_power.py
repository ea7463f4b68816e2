"""A power cut: the disk as it is at one moment, without what the kernel had not written yet, holds all that was acknowledged."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.arena import MODEL, REPOSITORY
from tests.end_to_end.fault_report import note
from tests.patience import until
from training.artifacts.artifact import load_verified
from training.artifacts.signing import load_or_make_key
from training.registry.registry import Registry
from training.settings import Home
from training.storage.database import open_database

pytestmark = pytest.mark.slow

CUTS = 8


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount the image of a disk."""
    folder.mkdir()
    done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"SKIPPED: no image of a disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def kept(home: Home) -> set[str]:
    """Return the labelled predictions and the verified versions of a home."""
    connection = sqlite3.connect(home.database)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    labelled = {
        f"{prefix}-{row}" for prefix, row in connection.execute("select id_prefix, row from predictions where labelled_us is not null")
    }
    connection.close()
    database = open_database(f"sqlite:///{home.database}")
    registry, key = Registry(database), load_or_make_key(home.signing_key)
    versions = {record.version: record for record in registry.versions(MODEL)}
    for record in versions.values():
        load_verified(home.artifacts / record.path, home.cache, key, expected_digest=record.digest).self_test()
    champion = registry.alias(MODEL, "champion")
    database.close()
    assert champion is None or champion.version in versions
    return labelled | versions.keys()


def test_what_was_labelled_and_promoted_before_a_power_cut_is_there_after_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("SKIPPED: mounting the image of a disk needs root")
    image, acknowledged = tmp_path / "disk.img", tmp_path / "acknowledged"
    subprocess.run(["truncate", "-s", "256M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    missing = []
    with mounted(image, tmp_path / "disk") as disk:
        command = [sys.executable, "-m", "tests.end_to_end.durable_writer", str(disk / "home"), str(acknowledged)]
        with subprocess.Popen(command, cwd=REPOSITORY) as writer:
            try:
                for number in range(CUTS):
                    wait_for_lines(writer, acknowledged, 50 * (number + 1))
                    writer.send_signal(signal.SIGSTOP)
                    before, cut = acknowledged.read_text().split(), tmp_path / f"cut{number}.img"
                    shutil.copyfile(image, cut)
                    writer.send_signal(signal.SIGCONT)
                    with mounted(cut, tmp_path / f"cut{number}") as after:
                        there = kept(Home(after / "home"))
                    cut.unlink()
                    note("4", before, there, None)
                    missing += [each for each in before if each not in there]
            finally:
                writer.kill()

    assert missing == []


def wait_for_lines(writer: subprocess.Popen[bytes], path: Path, number: int) -> None:
    """Wait until a file has so many lines."""

    def are_written() -> bool:
        assert writer.poll() is None, "the writer ended"
        return path.exists() and path.read_text().count("\n") >= number

    until(are_written, f"{number} lines")
