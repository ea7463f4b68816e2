"""Start a server and wait for its first good answer."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.serving.encodings import Body, read
from benchmarks.serving.load import post
from benchmarks.serving.places import work
from benchmarks.serving.processes import Tree

PATIENCE, LOOK_SECONDS = 60.0, 0.01


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would change how a server works."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("EVERGREEN_", "OMP_"))}


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    name: str,
    question: tuple[int, str, Body],
    patience: float = PATIENCE,
) -> tuple[Tree, float]:
    """Start a server; give its processes, and the seconds until it answered with predictions.

    Parameters
    ----------
    name
        Of its log.
    question
        Port, path and body of the request it shall answer.

    Raises
    ------
    RuntimeError
        It went away or did not answer in time; it is stopped.
    """
    (work() / "logs").mkdir(parents=True, exist_ok=True)
    tree = Tree(command, environment, folder, work() / "logs" / f"{name}.log")
    try:
        return tree, _first_answer(tree, name, question, patience)
    except BaseException:
        tree.stop()
        raise


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, name: str, question: tuple[int, str, Body]
) -> Iterator[tuple[Tree, float]]:
    """Have a server running; parameters and errors as `start`."""
    tree, seconds = start(command, environment, folder, name, question)
    try:
        yield tree, seconds
    finally:
        tree.stop()


def _first_answer(tree: Tree, name: str, question: tuple[int, str, Body], patience: float) -> float:
    port, path, body = question
    last = "nothing"
    while time.perf_counter() < tree.began + patience:
        if not tree.is_running:
            raise RuntimeError(f"{name} went away")
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, content, headers = post(port, path, body, timeout=20.0)
            if status == 200:
                taken = time.perf_counter() - tree.began
                read(content, headers)
                return taken
            last = f"{status} {content[:100]!r}"
        time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"{name} is not ready after {patience:.0f} s: {last}")
