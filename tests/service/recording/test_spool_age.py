"""How long predictions have waited is known to whoever serves, without the database and without the drain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.recording.spool_age import MARK, DrainMark, SpoolAge

NOW = 1_800_000_000.0


@pytest.fixture
def age(tmp_path: Path) -> SpoolAge:
    return SpoolAge(tmp_path, 60.0, clock=lambda: NOW)


def write(path: Path, text: str, *, ago: float) -> None:
    path.write_text(text)
    os.utime(path, (NOW - ago, NOW - ago))


def test_nothing_waits_in_an_empty_folder(age: SpoolAge) -> None:
    assert (age.seconds(), age.why_behind()) == (0.0, None)


@pytest.mark.parametrize(
    ("text", "changed_ago", "drained_ago", "seconds"),
    [
        ("record", 5, 40, 40),  # it may have come right after the mark
        ("record", 50, 40, 0),
        ("", 5, 40, 0),
        ("record", 70, None, 70),
    ],
    ids=["since the mark", "before it", "no record", "nobody ever drained"],
)
def test_what_came_after_the_mark_waits(
    text: str, changed_ago: float, drained_ago: float | None, seconds: float, tmp_path: Path, age: SpoolAge
) -> None:
    write(tmp_path / "a.spool", text, ago=changed_ago)
    write(tmp_path / (MARK if drained_ago is not None else "other"), "", ago=drained_ago or 0)

    assert age.seconds() == seconds


def test_a_bound_that_is_passed_is_a_sentence(tmp_path: Path, age: SpoolAge) -> None:
    write(tmp_path / "a.spool", "record", ago=61)

    assert age.why_behind() == "predictions have waited in the spool for 61 s: the prediction log does not take them"


def test_a_pass_that_took_all_moves_the_mark_to_its_start(tmp_path: Path) -> None:
    mark, age = DrainMark(tmp_path), SpoolAge(tmp_path, 60.0, clock=lambda: 4e9)
    (tmp_path / "a.spool").write_text("record")
    os.utime(tmp_path / "a.spool", (1.0, 1.0))
    waiting = age.seconds()
    mark.begin()

    mark.succeed()
    drained = age.seconds()
    os.utime(tmp_path / "a.spool", (3e9, 3e9))  # more came after the pass began

    assert (waiting > 0, drained, age.seconds() > 0) == (True, 0.0, True)


@pytest.mark.parametrize(("more", "moves"), [("", True), ("more", False)], ids=["nothing came", "something came"])
def test_a_pass_that_took_nothing_moves_the_mark_only_when_nothing_has_come(more: str, moves: bool, tmp_path: Path) -> None:
    mark, spool = DrainMark(tmp_path), tmp_path / "a.spool"
    spool.write_text("record")
    mark.begin()
    mark.succeed()
    os.utime(tmp_path / MARK, (1.0, 1.0))

    spool.write_text("record" + more)
    mark.begin()
    mark.fail()

    assert ((tmp_path / MARK).stat().st_mtime > 1.0) == moves


def test_a_file_that_was_drained_and_removed_leaves_nothing_waiting(tmp_path: Path) -> None:
    mark, spool = DrainMark(tmp_path), tmp_path / "a.spool"
    spool.write_text("record")
    mark.begin()
    spool.unlink()

    mark.succeed()

    assert SpoolAge(tmp_path, 60.0).seconds() == 0.0
