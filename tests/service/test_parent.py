"""A child imports what its parent imports, whatever lies in the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.__main__ import CONFIGURATION
from service.parent import with_us_as_parent
from training.settings import Home

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with modules of the names of ours, which end whatever imports them."""
    for name in ("training.py", "service.py", "monitoring/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('not ours')")
    return tmp_path


@pytest.mark.parametrize("package", ["training.errors", "service.errors", "monitoring.errors"])
def test_modules_of_our_names_in_the_working_directory_are_not_imported(folder: Path, package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {package} as ours; print(ours.__file__)"],
        cwd=folder,
        env=with_us_as_parent(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_relative_to(ROOT)


def test_gunicorn_which_puts_the_working_directory_first_does_not_import_them_either(folder: Path) -> None:
    as_gunicorn = "import os, runpy, sys; sys.path.insert(0, os.getcwd()); print(runpy.run_path(sys.argv[1])['wsgi_app'])"

    done = subprocess.run(
        [sys.executable, "-c", as_gunicorn, str(CONFIGURATION)],
        cwd=folder,
        env={**with_us_as_parent(os.environ), "EVERGREEN_HOME": str(Home(folder / "home").ensure().path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("service.app:from_gunicorn()\n", 0), done.stderr


def test_nothing_else_in_the_working_directory_is_imported_after_gunicorn_put_it_first_again(folder: Path) -> None:
    again = "if cwd not in sys.path: sys.path.insert(0, cwd)"
    starts = "configured['leave_working_directory']()\nimport numpy\nprint(cwd in sys.path)"
    configures = "import os, runpy, sys\ncwd = os.getcwd()\nsys.path.insert(0, cwd)\nconfigured = runpy.run_path(sys.argv[1])"
    (folder / "numpy.py").write_text("raise SystemExit('not numpy')")

    done = subprocess.run(
        [sys.executable, "-c", f"{configures}\n{again}\n{starts}", str(CONFIGURATION)],
        cwd=folder,
        env={**with_us_as_parent(os.environ), "EVERGREEN_HOME": str(Home(folder / "home").ensure().path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_where_the_path_has_the_working_directory_already_and_begins_with_what_is_not_there_gunicorn_starts(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").ensure()
    as_gunicorn = "import os, runpy, sys; sys.path[:0] = ['/nowhere.zip']; print(runpy.run_path(sys.argv[1])['wsgi_app'])"

    done = subprocess.run(
        [sys.executable, "-c", as_gunicorn, str(CONFIGURATION)],
        env={**with_us_as_parent(os.environ), "EVERGREEN_HOME": str(home.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("service.app:from_gunicorn()\n", 0), done.stderr


def test_where_only_the_working_directory_held_our_packages_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT), *(entry for entry in sys.path if entry != str(ROOT))])

    assert with_us_as_parent({})["PYTHONPATH"] == str(ROOT)
    assert with_us_as_parent({"PYTHONPATH": "/theirs"})["PYTHONPATH"] == f"{ROOT}{os.pathsep}/theirs"


def test_where_they_are_installed_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", *sys.path, str(ROOT)])

    assert "PYTHONPATH" not in with_us_as_parent({})
