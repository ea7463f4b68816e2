"""What end-to-end tests start, and what a replayed year of the example leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from monitoring.admin.workbench import Workbench
from monitoring.local.processes import Processes
from monitoring.local.replay import Replayed
from training.artifacts.artifact import load_verified
from training.model_file.model_spec import ModelSpec
from training.schema.prediction import Prediction
from training.schema.rows import Rows

QUICK_SEEDS = (0,)


@dataclass(frozen=True, slots=True)
class System:
    """A service and a monitor over a home of their own, with the first version of one model."""

    bench: Workbench
    spec: ModelSpec
    url: str
    first: str
    processes: Processes

    def scored_by(self, version: str, rows: Rows) -> Prediction:
        """Return what one version says about `rows`, offline."""
        record = self.bench.registry.version(self.spec.model, version)
        loaded = load_verified(self.bench.home.artifacts / record.path, self.bench.home.cache, self.bench.key)
        return loaded.predictor.predict(rows.columns)


@dataclass(frozen=True, slots=True)
class Year:
    """A replayed year, what the never retrained first version says about its rows, and the version forced upon it."""

    system: System
    replayed: Replayed
    static: Prediction
    forced: str
    stream: ModuleType


def with_few_fits(model_file: str) -> str:
    """Return the text of a model file whose search tries little: the loop is what a quick year is about."""
    quick = model_file.replace("budget: 12 fits", "budget: 3 fits")
    assert quick != model_file
    return quick


def parts(name: str, values: Iterable[Any], quick: Container[Any]) -> list[ParameterSet]:
    """Return parameters of a module's fixture: the tests of one stay on one worker, and those that are not quick are slow."""
    return [
        pytest.param(
            value,
            id=str(value),
            marks=[pytest.mark.xdist_group(f"{name} {value}"), pytest.mark.timeout(1800), *(() if value in quick else (pytest.mark.slow,))],
        )
        for value in values
    ]


def seeds(name: str) -> list[ParameterSet]:
    """Return five seeds, the first of them quick."""
    return parts(f"{name}, seed", range(5), QUICK_SEEDS)


Launch = Callable[[Path], System]
Example = Callable[[int, bool, bool], Path]
