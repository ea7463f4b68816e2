"""Builders of small data for the tests of training: seeded, quick, with every kind of column."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.training.runs import NOW, Run
from training.model_file.model_spec import ModelSpec, parse_spec
from training.run import train
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.settings import Home

HEAD = """model: small
schema:
  target: y
  task: {task}
  time: {{column: t, kind: ordinal, origin: 2024-01-01, step: 1h}}
  features:
    a: {{kind: numeric, nullable: true}}
    b: {{kind: boolean}}
    c: {{kind: categorical, nullable: true}}
    d: {{kind: datetime, nullable: true}}
labels: {{delay: 24 rows}}
segments: [c]
training: {{budget: 6 fits}}
{more}
"""
HOUR = 3_600_000_000
START = 1_704_067_200_000_000


@pytest.fixture(scope="session")
def spec_of() -> Callable[..., ModelSpec]:
    """A model file for a task."""

    def make(task: str, more: str = "") -> ModelSpec:
        return parse_spec(HEAD.format(task=task, more=more))

    return make


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., Rows]:
    """Rows with a learnable target."""

    def make(schema: Schema, n: int = 600, noise: float = 0.3) -> Rows:
        rng = np.random.default_rng(1)
        a, b = rng.normal(size=n), (rng.random(n) < 0.5).astype(float)
        c = rng.choice(np.array(["u", "v", "w", None], object), n)
        score = a + b + np.where(c == "u", 1.0, 0.0) + noise * rng.normal(size=n)
        names = np.array(["no", "yes", "never"], object)
        kinds = {
            "regression": score,
            "binary": names[(score > 0.7).astype(int)],
            "multiclass": names[(score > 0.2).astype(int) + (score > 1.2).astype(int)],
        }
        columns = {"a": np.where(rng.random(n) < 0.1, np.nan, a), "b": b, "c": c, "d": START / 1e6 + 3600.0 * np.arange(n)}
        return Rows(columns, kinds[schema.task], START + np.arange(n, dtype=np.int64) * HOUR)

    return make


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh home directory."""
    return Home(tmp_path / "home").ensure()


@pytest.fixture(scope="session")
def run_of(
    spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Run]:
    """Return a function that returns the one run of a task."""

    @cache
    def run(task: str) -> Run:
        spec, home = spec_of(task), Home(tmp_path_factory.mktemp(task) / "home").ensure()
        rows = rows_of(spec.schema)
        return Run(spec, rows, home, train(rows, spec, home=home, now=NOW))

    return run
