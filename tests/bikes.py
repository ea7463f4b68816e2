"""The example as tests use it: its folder, its stream (a script in no package), and small tables of it."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

BIKES = Path(__file__).resolve().parents[1] / "examples" / "bikes"


@cache
def stream_module() -> ModuleType:
    """Import the simulated stream."""
    spec = importlib.util.spec_from_file_location("bikes_stream", BIKES / "stream.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_small_example(folder: Path, history_days: int) -> Path:
    """Write the model file with a small budget beside some days of history; return the model file."""
    stream_module().history(seed=0, days=history_days).to_csv(folder / "history.csv.gz", index=False)
    text = (BIKES / "model.yaml").read_text().replace("budget: 12 fits", "budget: 2 fits")
    (folder / "model.yaml").write_text(text)
    return folder / "model.yaml"
