"""One service a home: the second one waits, and is refused in a sentence while the first lives on in any of its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.home_lock import LOCK, claim
from training.settings import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_second_service_is_refused_in_a_sentence_that_names_the_first(home: Home) -> None:
    lock = claim(home)

    with pytest.raises(SettingsError, match=rf"another service \(process {os.getpid()}\) serves from {home.path} and did not end in 0 s"):
        claim(home, wait_seconds=0.0)

    os.close(lock)


def test_a_home_whose_service_has_ended_is_free(home: Home) -> None:
    os.close(claim(home))

    again = claim(home, wait_seconds=0.0)

    assert (home.path / LOCK).read_text() == f"{os.getpid()}\n"
    os.close(again)


def test_a_second_service_waits_for_one_that_ends(home: Home) -> None:
    first = claim(home)
    threading.Timer(0.1, os.close, [first]).start()

    second = claim(home, wait_seconds=30.0)

    os.close(second)


def test_a_home_is_taken_while_any_child_of_its_service_lives(home: Home) -> None:
    lock = claim(home)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    os.close(lock)

    with pytest.raises(SettingsError, match="serves from"):
        claim(home, wait_seconds=0.0)
    child.communicate()

    os.close(claim(home, wait_seconds=30.0))


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match="cannot use the home"):
        claim(Home(tmp_path / "file" / "home"))
