"""A home of Evergreen with pipelines in it, imported by `evergreen import`'s own code and promoted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.admin.onboarding import import_file
from monitoring.admin.workbench import Workbench

MODEL = "bench"


def model_file(name: str, table: pd.DataFrame, data: Path) -> str:
    """Return the model file of a table; everything but the schema is left at its default."""
    kinds = {column: "numeric" if column.startswith("number") else "categorical" for column in table}
    features = "\n".join(f"    {column}: {kind}" for column, kind in kinds.items())
    return f"model: {name}\ndata: {data}\nschema:\n  target: label\n  task: binary\n  positive: 'yes'\n  features:\n{features}\n"


def make_home(home: Path, pipeline_files: Mapping[str, Path], table: pd.DataFrame, labels: Any) -> dict[str, str]:
    """Make each pipeline_file a champion of its own name; give what `training.compiled.compiled_model` says of each.

    Parameters
    ----------
    pipeline_files
        Name to the joblib file of a fitted pipeline.
    table, labels
        The rows the versions are scored with and whose profile they carry.
    """
    home.mkdir(parents=True)
    data = home.with_suffix(".parquet")
    table.assign(label=labels).to_parquet(data)
    bench = Workbench({**os.environ, "EVERGREEN_HOME": str(home)})
    lines = {}
    for name, pipeline_file in pipeline_files.items():
        spec = home.with_suffix(".yaml")
        spec.write_text(model_file(name, table, data))
        made = import_file(bench, pipeline_file, spec)
        card = (made.artifact / "card.md").read_text()
        lines[name] = next((line for line in card.splitlines() if "compiled" in line or "plain scikit-learn" in line), "")
    bench.close()
    data.unlink()
    return lines
