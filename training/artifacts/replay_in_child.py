"""Replay golden rows in a process of its own: a model from other libraries may crash there, not here."""

import os
import subprocess
import sys
from pathlib import Path

from training.artifacts.pickles import load_model, read_golden
from training.errors import GoldenRowsError
from training.json_text import from_text
from training.own_code import child_environment, extend_path, folder_in
from training.schema.schema import Schema

_TIMEOUT_SECONDS = 120
_DIFFERENT = 3


def replay_in_child(folder: Path, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
    """Load the model of a verified folder in a child process and compare its answers to the golden rows.

    Raises
    ------
    GoldenRowsError
        An answer differs, or the child could not load the model, crashed, or took too long; with its last words.
    """
    command = [sys.executable, "-m", "training.artifacts.replay_in_child", str(folder.resolve())]
    root = Path(__file__).parents[2]
    try:
        done = subprocess.run(command, cwd=root, env=child_environment(), capture_output=True, timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired:
        raise GoldenRowsError(f"no answer within {timeout_seconds:g} s") from None
    if done.returncode != 0:
        words = (done.stdout if done.returncode == _DIFFERENT else done.stderr).decode(errors="replace").strip().splitlines()
        raise GoldenRowsError(words[-1] if words else f"the child process ended with {done.returncode}")


def _main(folder: Path) -> int:
    schema = Schema.from_dict(from_text((folder / "manifest.json").read_bytes())["schema"])
    try:
        read_golden(folder).compare(load_model(folder, schema), schema)
    except GoldenRowsError as error:
        print(error)  # noqa: T201 - the parent reads it
        return _DIFFERENT
    return 0


if __name__ == "__main__":
    extend_path(folder_in(os.environ))
    sys.exit(_main(Path(sys.argv[1])))
