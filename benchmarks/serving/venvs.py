"""One virtual environment a peer, filled from ``requirements/<peer>.txt``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.serving.places import REQUIREMENTS, say, venvs

ORDER = ("fronts", "plots", "flask", "fastapi", "litserve", "vetiver", "mlserver", "bentoml", "mlflow", "ray")


def set_up(names: list[str]) -> int:
    """Make the environments that are missing or whose requirements changed; give 1 when one cannot be made, and name it.

    uv is used where it is found (on the path, or named by ``$UV``), else pip.
    """
    venvs().mkdir(parents=True, exist_ok=True)
    refused = [name for name in names or ORDER if not _make(name)]
    if refused:
        say(f"\nNOT INSTALLED, so not measured: {', '.join(refused)}")
    return bool(refused)


def _make(name: str) -> bool:
    wanted, folder = _wanted(REQUIREMENTS / f"{name}.txt"), venvs() / name
    stamp = folder / ".ready"
    if stamp.exists() and stamp.read_text() == wanted:
        say(f"there  {name}")
        return True
    stamp.unlink(missing_ok=True)
    log = venvs() / f"{name}.log"
    with log.open("wb") as out:
        is_made = all(_is_done(command, out) for command in _commands(folder, REQUIREMENTS / f"{name}.txt"))
    if is_made:
        stamp.write_text(wanted)
    say(f"ok     {name}" if is_made else f"FAILED {name}: {log}")
    return is_made


def _wanted(path: Path) -> str:
    """Return the requirements, those of included files with them."""
    lines = path.read_text().splitlines()
    return "\n".join(_wanted(path.parent / line.removeprefix("-r ")) if line.startswith("-r ") else line for line in lines)


def _commands(folder: Path, requirements: Path) -> list[list[str]]:
    uv, python = os.environ.get("UV") or shutil.which("uv"), str(folder / "bin" / "python")
    if uv:
        made = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)]
        return [made, [uv, "pip", "install", "--quiet", "--python", python, "-r", str(requirements)]]
    return [[sys.executable, "-m", "venv", str(folder)], [python, "-m", "pip", "install", "--quiet", "-r", str(requirements)]]


def _is_done(command: list[str], out: object) -> bool:
    return subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode == 0  # type: ignore[call-overload]
