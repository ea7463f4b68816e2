"""``python -m training model.yaml``: one training run, from the table the model file names to a registered version."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from training.errors import EvergreenError
from training.model_file.model_spec import load_spec
from training.own_code import extend_path
from training.registry.registry import Registry
from training.result import TrainingResult
from training.run import train
from training.schema.sources import Query
from training.settings import Home, from_environment
from training.storage.database import open_database


def main(arguments: list[str] | None = None) -> int:
    """Run once; return the exit code: 0, or 1 after a refusal, which is printed on stderr."""
    parser = argparse.ArgumentParser("python -m training", description="Train one version and register it; promotes nothing.")
    parser.add_argument("model_file", type=Path, help="the model file (YAML)")
    parser.add_argument("--data", type=Path, help="the table to learn from, instead of the one the model file names")
    parser.add_argument("--stop-after", type=int, metavar="N", help="repeat a run: stop after N rungs of the search")
    options = parser.parse_args(arguments)
    try:
        result = _run(options.model_file, options.data, options.stop_after)
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return 1
    scores = "\n".join(f"  {name:20} {value}" for name, value in result.metrics.items())
    broken = "".join(f"\nwould break: {text}" for text in result.breaks)
    print(f"{result.version} registered ({result.artifact.manifest.algorithm})\n{scores}{broken}")
    return 0


def _run(model_file: Path, data: Path | None, stop_after: int | None) -> TrainingResult:
    settings, spec = from_environment(os.environ), load_spec(model_file)
    table = data or spec.data
    if isinstance(table, Query):
        table = table.with_password(settings.data_password)
    if table is None:
        raise EvergreenError(f"{model_file} names no data; give it with --data")
    home: Home = settings.home.ensure()
    extend_path(settings.code)
    database = open_database(settings.database_url)
    try:
        return train(
            table,
            spec,
            home=home,
            registry=Registry(database),
            now=datetime.now(UTC),
            stop_after=stop_after,
            backend=settings.backend,
            jobs=settings.jobs,
        )
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
