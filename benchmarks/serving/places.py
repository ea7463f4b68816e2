"""Where things lie: the repository, the peers' virtual environments, what was prepared, what is running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
APPS = HERE / "apps"
REQUIREMENTS = HERE / "requirements"
DRAW = HERE.parent / "growth" / "draw.py"
PAGE = ROOT / "docs" / "serving-benchmark.md"
CPUS = (0, 1)
"""The cores everybody shares, the generator of load included."""


def venvs() -> Path:
    """Return the folder of the peers' virtual environments: ``$EVERGREEN_BENCH_VENVS``."""
    return Path(os.environ.get("EVERGREEN_BENCH_VENVS") or "~/.cache/evergreen-bench").expanduser()


def work() -> Path:
    """Return the folder of models, bodies and throwaway homes: ``$EVERGREEN_BENCH_WORK``."""
    return Path(os.environ.get("EVERGREEN_BENCH_WORK") or "~/.cache/evergreen-bench-work").expanduser()


def python_of(venv: str | None) -> Path:
    """Return the interpreter of a virtual environment; None is the one this runs in, which is Evergreen's."""
    return Path(sys.executable) if venv is None else venvs() / venv / "bin" / "python"


def is_installed(venv: str | None) -> bool:
    """Whether an environment was made and filled."""
    return venv is None or (venvs() / venv / ".ready").exists()


def commit(checkout: Path = ROOT) -> str:
    """Return the short name of the commit; with a + when files were changed since."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, cwd=checkout, check=False).stdout.strip()


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
