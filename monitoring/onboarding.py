"""A model file becomes a served model: registered, trained, and the first version promoted (there is nothing to judge it against)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from monitoring.errors import OfflineError
from monitoring.workbench import Workbench
from training.errors import SpecError, SpecProblem
from training.moves import CHALLENGER, CHAMPION
from training.progress import Progress
from training.run import TrainingResult, train, wrap_imported
from training.spec import ModelSpec, load_spec, parse_spec


@dataclass(frozen=True, slots=True)
class Onboarded:
    """What came of a model file.

    Attributes
    ----------
    alias : str
        `champion` for the first version, else `challenger`: a person or the loop promotes.
    breaks : tuple of str
        Requests that are answered today and would be refused by this version.
    warnings : tuple of str
        What may be wrong with the rows it learned from, such as a feature that tells the target alone.
    """

    model: str
    version: str
    alias: str
    algorithm: str
    breaks: tuple[str, ...]
    artifact: Path
    metrics: Mapping[str, Any]
    warnings: tuple[str, ...]


def train_file(bench: Workbench, path: Path, progress: Progress | None, why: str = "trained by hand") -> Onboarded:
    """Train a version from a model file and register it; the first one of a model becomes its champion."""
    spec = load_spec(path)
    bench.begin()
    made = train(
        _data(spec, path),
        spec,
        registry=bench.registry,
        home=bench.home,
        parent=champion_of(bench, spec.model),
        now=bench.now(),
        progress=progress,
        who=bench.who,
        why=why,
        backend=bench.settings.backend,
        jobs=bench.settings.jobs,
    )
    return _take_in(bench, spec, made, why)


def import_file(bench: Workbench, payload: Path, path: Path) -> Onboarded:
    """Register a pipeline that somebody else fitted: a joblib file with the pipeline or ``{"pipeline", "classes"}``.

    Loading it runs whatever code is in it; asking whether that is wanted is up to the caller.

    Raises
    ------
    OfflineError
        The file cannot be loaded.
    """
    spec = load_spec(path)
    data = _data(spec, path)
    try:
        pipeline = joblib.load(payload)
    except Exception as error:
        raise OfflineError(f"{payload} cannot be loaded: {type(error).__name__}: {error}") from error
    why = f"imported from {payload.name}"
    bench.begin()
    made = wrap_imported(
        pipeline,
        spec,
        data,
        registry=bench.registry,
        home=bench.home,
        parent=champion_of(bench, spec.model),
        now=bench.now(),
        who=bench.who,
        why=why,
    )
    return _take_in(bench, spec, made, why)


def ensure_champion(bench: Workbench, path: Path, progress: Progress | None) -> tuple[ModelSpec, Onboarded | None]:
    """Return the model of a file, trained if it has no champion yet; with one, only the file is stored anew."""
    spec = load_spec(path)
    bench.begin()
    if champion_of(bench, spec.model) is None:
        return spec, train_file(bench, path, progress, why="evergreen up")
    if bench.registry.get_model(spec.model).spec_text != spec.text:
        bench.registry.put_model(spec, who=bench.who, now=bench.now())
    return spec, None


def registered_specs(bench: Workbench) -> list[ModelSpec]:
    """Return all registered models."""
    return [parse_spec(record.spec_text, Path.cwd()) for record in bench.registry.models()]


def champion_of(bench: Workbench, model: str) -> str | None:
    """Return the version that answers, None while there is none."""
    found = bench.registry.alias(model, CHAMPION)
    return found.version if found else None


def _data(spec: ModelSpec, path: Path) -> Path:
    if spec.data is None:
        raise SpecError([SpecProblem(1, "data", "is missing; name the table with the history")], str(path))
    return spec.data


def _take_in(bench: Workbench, spec: ModelSpec, made: TrainingResult, why: str) -> Onboarded:
    """Give a registered version its alias: champion when there is none, else challenger."""
    model, version = spec.model, made.version
    alias = CHALLENGER if champion_of(bench, model) else CHAMPION
    if alias == CHAMPION:
        bench.registry.promote(model, version, expected=None, who=bench.who, why=f"{why}; the first version", now=bench.now())
    else:
        bench.registry.set_alias(model, CHALLENGER, version, who=bench.who, why=why, now=bench.now())
    metrics = {name: estimate.to_dict() for name, estimate in made.metrics.items()}
    algorithm, path = made.artifact.manifest.algorithm, made.artifact.path
    return Onboarded(model, version, alias, algorithm, made.breaks, path, metrics, made.report.problems)
