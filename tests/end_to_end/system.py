"""What end-to-end tests start, and what a replayed year of the example leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from monitoring.processes import Processes
from monitoring.replay import Replayed
from monitoring.workbench import Workbench
from training.artifact import load_verified
from training.prediction import Prediction
from training.rows import Rows
from training.spec import ModelSpec


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


Launch = Callable[[Path], System]
Example = Callable[[int, bool], Path]
