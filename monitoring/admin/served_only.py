"""Which models an `evergreen up` that was given files serves: noted in the home while it runs, for those who train another one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from training.settings import Home

NOTE = "serves-only.json"


@contextmanager
def noted(home: Home, models: Sequence[str] | None) -> Iterator[None]:
    """Note, while the context is open, that only these models are served; None notes nothing."""
    path = home.path / NOTE
    if models is None:
        path.unlink(missing_ok=True)
        yield
        return
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps({"process": os.getpid(), "models": list(models)}))
    aside.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def why_not_served(home: Home, model: str) -> str | None:
    """Return why the running `evergreen up` does not serve a model; None where it does, or none runs."""
    try:
        note = json.loads((home.path / NOTE).read_text())
        process, models = int(note["process"]), list(note["models"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if model in models or not _runs(process):
        return None
    return (
        f"the running evergreen up (process {process}) serves only {', '.join(models)}, the files it was given: "
        f"{model} is served after a restart with its file too, or without files"
    )


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
