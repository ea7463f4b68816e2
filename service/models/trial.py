"""Load versions as a worker does, in a process of its own: what that raises, or dies of, is told and harms nobody."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.models.batching import Batcher
from service.models.reasons import reason_of
from service.models.served_model import deploy
from service.parent import follow_parent, with_us_as_parent
from training.artifacts.answer_in_child import end_of
from training.artifacts.artifact import load_cached
from training.artifacts.signing import load_or_make_key
from training.own_code import child_environment, extend_path, folder_in
from training.settings import Home

TIMEOUT_SECONDS = 120.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Tried:
    """A version whose verified copy lies in the cache under its digest."""

    model: str
    version: str
    digest: str


def try_in_child(home: Home, versions: Sequence[Tried], *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[str | None]:
    """Load versions one after the other in a child process, and let them answer their golden rows.

    One that takes the process along costs a new one for those behind it. A child ends with this process.

    Parameters
    ----------
    timeout_seconds
        How long a child may take for all that it loads.

    Returns
    -------
    Why a version could not be loaded, or None, for each of `versions`.
    """
    reasons: list[str | None] = []
    while len(reasons) < len(versions):
        token = secrets.token_hex(8)
        rest = versions[len(reasons) :]
        command = [sys.executable, "-m", "service.models.trial", token, str(home.path)]
        sent = json.dumps([asdict(tried) for tried in rest])
        try:
            done = subprocess.run(
                command,
                cwd=_ROOT,
                env=_environment(),
                input=sent.encode(),
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
            )
            output, end = done.stdout, f"the process that loaded it {end_of(done.returncode)}"
        except subprocess.TimeoutExpired as error:
            output, end = error.stdout or b"", f"it did not answer within {timeout_seconds:g} s"
        lines = [line.removeprefix(token) for line in output.decode(errors="replace").splitlines() if line.startswith(token)]
        reasons += [json.loads(line) for line in lines]
        if len(lines) < len(rest):
            reasons.append(end)
    return reasons


def _environment() -> dict[str, str]:
    """Return the child's environment: it counts nothing, and ends with us."""
    return {name: value for name, value in with_us_as_parent(child_environment()).items() if name != "PROMETHEUS_MULTIPROC_DIR"}


def _main(token: str, home: Home, versions: Sequence[Tried]) -> int:
    key = load_or_make_key(home.signing_key)
    for tried in versions:
        reason = None
        try:
            artifact = load_cached(home.cache / tried.digest, key)
            deploy(artifact, model=tried.model, version=tried.version, move=0, loaded_at=datetime.now(UTC), batcher=Batcher())
        except BaseException as error:  # noqa: BLE001 - its pickle and its golden rows may raise anything
            reason = reason_of(error)
        os.write(1, f"\n{token}{json.dumps(reason)}\n".encode())  # past whatever the model printed, and at once
    return 0


if __name__ == "__main__":
    follow_parent(os.environ)
    extend_path(folder_in(os.environ))
    sys.exit(_main(sys.argv[1], Home(Path(sys.argv[2])), [Tried(**tried) for tried in json.load(sys.stdin)]))
