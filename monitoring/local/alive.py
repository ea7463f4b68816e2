"""`python -m monitoring.local.alive`: does what this container was started for answer? Exit code 0 yes, 1 no; the image's HEALTHCHECK.

Alive, not ready: a service that waits for its first champion must not be killed for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from monitoring.local.processes import answers
from monitoring.settings import from_environment as monitoring_settings
from service.settings import from_environment as service_settings

FIRST_PROCESS = Path("/proc/1/cmdline")
ANY = ("service", "monitoring")


def parts_of(command: Sequence[str]) -> tuple[str, ...] | None:
    """Return which of service and monitor a command runs; None when it is no command of ours.

    Examples
    --------
    >>> parts_of(["docker-init", "--", "python", "-m", "service"]), parts_of(["python", "-m", "monitoring"])
    (('service',), ('monitoring',))
    >>> parts_of(["python", "-m", "monitoring.cli", "up", "model.yaml"]), parts_of(["python", "-m", "training", "model.yaml"])
    (('service', 'monitoring'), ())
    """
    words = " ".join(command).split()  # a shell's `-c` has the whole command in one
    match words[words.index("-m") + 1 :] if "-m" in words else []:
        case ["service" | "gunicorn", *_]:
            return ("service",)
        case ["monitoring", *_]:
            return ("monitoring",)
        case ["monitoring.cli", *rest]:
            return ANY if "up" in rest else ()
        case ["training", *_]:
            return ()
    return None


def is_alive(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Ask what the command runs, at the addresses of the environment; of a command that is none of ours, whichever part answers."""
    parts = parts_of(command)
    if parts is None:
        return any(answers(_bind(part, environment), "/livez") for part in ANY)
    return all(answers(_bind(part, environment), "/livez") for part in parts)


def _bind(part: str, environment: Mapping[str, str]) -> str:
    return service_settings(environment).bind if part == "service" else monitoring_settings(environment).bind


if __name__ == "__main__":
    sys.exit(not is_alive(FIRST_PROCESS.read_text().split("\0"), os.environ))
