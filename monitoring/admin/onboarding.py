"""A model file becomes a served model: registered, trained, and the first version promoted (there is nothing to judge it against)."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitoring.admin.status import aliased
from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from training.artifacts.pickles import read_pickle
from training.cards.markdown import held_out
from training.errors import ContractChangedError, SpecError, SpecProblem
from training.fitting.imported import kind_of
from training.model_file.model_spec import ModelSpec, load_spec, parse_spec
from training.progress import Progress
from training.proposing.proposing import Proposed, propose
from training.registry.aliases import CHALLENGER, CHAMPION
from training.registry.tables import Cause
from training.result import TrainingResult
from training.run import train, wrap_imported
from training.schema.sources import Query

_NOTHING = object()
_UNPACKED = (pickle.UnpicklingError, EOFError, LookupError, UnicodeError, struct.error, zlib.error)
"""What reading a file raises that is no pickle; what is in one raises other errors, but these too."""


@dataclass(frozen=True, slots=True)
class Onboarded:
    """What came of a model file.

    Attributes
    ----------
    alias
        `champion` for the first version, else `challenger`: a person or the loop promotes.
    breaks
        Requests that are answered today and would be refused by this version.
    warnings
        What may be wrong with the rows it learned from, such as a feature that tells the target alone, or with how it was chosen.
    serving
        How it answers, and what a row costs.
    retraining
        What a retraining fits, or why the loop only notifies.
    held_out
        In words, the rows that the metrics are of.
    moving
        In sentences, which features move by themselves, and what is watched of them.
    """

    model: str
    version: str
    alias: str
    algorithm: str
    breaks: tuple[str, ...]
    artifact: Path
    metrics: Mapping[str, Any]
    warnings: tuple[str, ...]
    serving: str
    retraining: str
    held_out: str
    moving: tuple[str, ...]


def train_file(bench: Workbench, path: Path, progress: Progress | None, why: str = "trained by hand") -> Onboarded:
    """Train a version from a model file and register it; the first one of a model becomes its champion."""
    spec = load_spec(path)
    bench.begin()
    made = train(
        _data(bench, spec, path),
        spec,
        registry=bench.registry,
        home=bench.home,
        parent=aliased(bench, spec.model, CHAMPION),
        now=bench.now(),
        progress=progress,
        who=bench.who,
        why=why,
        backend=bench.settings.backend,
        jobs=bench.settings.jobs,
    )
    return _take_in(bench, spec, made, why)


def import_file(bench: Workbench, pipeline_file: Path, path: Path) -> Onboarded:
    """Register a pipeline that somebody else fitted: a joblib file with the pipeline or ``{"pipeline", "classes"}``.

    Loading it runs whatever code is in it; asking whether that is wanted is up to the caller.

    Raises
    ------
    InputError
        The file cannot be loaded.
    SchemaError, GoldenRowsError
        As `training.run.wrap_imported`.
    """
    spec = load_spec(path)
    data = _data(bench, spec, path)
    bench.begin()
    pipeline = _loaded(pipeline_file)
    why = f"imported from {pipeline_file.name}"
    made = wrap_imported(
        pipeline,
        spec,
        data,
        registry=bench.registry,
        home=bench.home,
        parent=aliased(bench, spec.model, CHAMPION),
        now=bench.now(),
        who=bench.who,
        why=why,
    )
    return _take_in(bench, spec, made, why)


def propose_file(
    table: Path, columns: tuple[str, str | None], out: Path, progress: Progress | None = None, only: Sequence[str] | None = None
) -> Proposed:
    """Write the model file that is proposed for a table.

    Parameters
    ----------
    columns
        The target, and the column that orders the rows or None.

    Raises
    ------
    DataError
        As `training.proposing.proposing.propose`.
    """
    proposed = propose(table, *columns, only=only, folder=out.parent, progress=progress)
    out.write_text(proposed.text, encoding="utf-8")
    return proposed


def write_model_file(bench: Workbench, pipeline_file: Path, table: Path, columns: tuple[str, str | None], out: Path) -> Proposed:
    """Write the model file that `evergreen init` would, for the columns that a pipeline was fitted on.

    Parameters
    ----------
    columns
        The target, and the column that orders the rows or None.

    Raises
    ------
    InputError
        The file cannot be loaded, or does not say what it was fitted on.
    DataError
        A column is not in the table.
    """
    bench.begin()
    pipeline = _loaded(pipeline_file)
    pipeline = pipeline.get("pipeline") if isinstance(pipeline, Mapping) else pipeline
    names = getattr(pipeline, "feature_names_in_", None)
    if names is None:
        raise InputError(
            f"{pipeline_file} holds {kind_of(pipeline)} without feature_names_in_: it was not fitted on a table with names. Write a model "
            "file for its columns and name it with --schema"
        )
    return propose_file(table, columns, out, only=[str(name) for name in names])


def _loaded(pipeline_file: Path) -> Any:
    try:
        return read_pickle(pipeline_file)
    except (Exception, SystemExit) as error:
        if isinstance(error, _UNPACKED):
            raise InputError(
                f"{pipeline_file} cannot be loaded: it is no pickle or joblib file, or a damaged one ({type(error).__name__}: {error})"
            ) from error
        hint = "; what it needs was defined in a script or notebook: put it into a module" if "__main__" in str(error) else ""
        raise InputError(f"{pipeline_file} cannot be loaded: {type(error).__name__}: {error}{hint}") from error


def ensure_champion(
    bench: Workbench, path: Path, progress: Progress | None, note: Callable[[str], object] = lambda text: None
) -> tuple[ModelSpec, Onboarded | None]:
    """Return the model of a file, trained if it has no champion yet; with one, only the file is stored anew.

    Parameters
    ----------
    note
        Told which keys of the file are other ones than were registered.

    Raises
    ------
    ContractChangedError
        There is a champion, and the file asks for another contract than is registered.
    """
    spec = load_spec(path)
    bench.begin()
    if aliased(bench, spec.model, CHAMPION) is None:
        return spec, train_file(bench, path, progress, why="evergreen up")
    stored = bench.registry.get_model(spec.model)
    changed = changed_keys(stored.spec_text, spec.text)
    if stored.contract_hash != spec.schema.contract_hash:
        breaks = parse_spec(stored.spec_text).schema.breaks(spec.schema)
        raise ContractChangedError(
            f"{path} changes the contract of {spec.model} ({'; '.join(breaks or changed)}): train a version that answers it "
            f"(evergreen train {path}), or serve what is registered (evergreen up)"
        )
    if stored.spec_text != spec.text:
        bench.registry.put_model(spec, who=bench.who, now=bench.now())
    if changed:
        note(f"{spec.model}: changed since it was registered: {', '.join(changed)}")
    return spec, None


def changed_keys(before: str, after: str) -> list[str]:
    """Return the keys of two model files whose values differ, as they are called in errors; comments and order do not count.

    Examples
    --------
    >>> changed_keys("model: m\\nlabels: {delay: 1d}", "labels: {delay: 2d} # longer\\nmodel: m\\nsegments: [x]")
    ['labels.delay', 'segments']
    """
    old, new = (dict(_leaves(yaml.safe_load(text), ())) for text in (before, after))
    return sorted(".".join(path) for path in {*old, *new} if old.get(path, _NOTHING) != new.get(path, _NOTHING))


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, (*path, str(key)))


def registered_specs(bench: Workbench) -> list[ModelSpec]:
    """Return all registered models."""
    return [parse_spec(record.spec_text, Path.cwd(), stored=True) for record in bench.registry.models()]


def _data(bench: Workbench, spec: ModelSpec, path: Path) -> Path | str | Query:
    if spec.data is None:
        raise SpecError([SpecProblem(1, "data", "is missing; name the table with the history")], str(path))
    return spec.data.with_password(bench.settings.data_password) if isinstance(spec.data, Query) else spec.data


def _take_in(bench: Workbench, spec: ModelSpec, made: TrainingResult, why: str) -> Onboarded:
    """Return a registered version its alias: champion when there is none, else challenger."""
    model, version = spec.model, made.version
    alias = CHALLENGER if aliased(bench, model, CHAMPION) else CHAMPION
    if alias == CHAMPION:
        bench.registry.promote(model, version, expected=None, cause=Cause(bench.who, f"{why}; the first version"), now=bench.now())
    else:
        bench.registry.set_alias(model, CHALLENGER, version, cause=Cause(bench.who, why), now=bench.now())
    metrics = {name: estimate.to_dict() for name, estimate in made.metrics.items()}
    algorithm, path = made.artifact.manifest.algorithm, made.artifact.path
    in_words = (made.warnings, made.serving, made.retraining, held_out(spec), made.moving)
    return Onboarded(model, version, alias, algorithm, made.breaks, path, metrics, *in_words)
