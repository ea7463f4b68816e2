"""One training run, from rows to a registered version. It never gates and never promotes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from training.artifact import Artifact, Draft, save_artifact
from training.candidates import baseline
from training.card import write_card
from training.clock import duration_us, from_us
from training.compiling import prepare_serving
from training.dataset import DataReport, check, read_table, rows_from_columns, split_by_time, write_rows
from training.errors import SchemaError, TooFewRowsError, UnknownModelError
from training.evaluation import Estimate, Metrics, evaluate
from training.golden import choose_golden
from training.learning import Learned, learn
from training.model import FittedModel
from training.profile import build_reference
from training.progress import Progress, Silent
from training.registry import Registry
from training.rows import Rows
from training.search import LEAST_ROWS, SearchResult, fit
from training.settings import Backend, Home
from training.signing import load_or_make_key
from training.spec import ModelSpec, parse_spec


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run made.

    Parameters
    ----------
    metrics
        Scores on the held-out newest rows, by name.
    evaluation
        The same with the segments; `baseline` is what the constant guess scored there.
    breaks
        In sentences, the requests of the registered contract that this version would refuse.
    """

    artifact: Artifact
    metrics: Mapping[str, Estimate]
    evaluation: Metrics
    baseline: Metrics
    report: DataReport
    search: SearchResult | None
    calibration: str
    breaks: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The name of the version."""
        return self.artifact.version


@dataclass(frozen=True, slots=True)
class _Errand:
    """Where a version goes, when, and on whose behalf."""

    home: Home | None
    registry: Registry | None
    parent: str | None
    now: datetime | None
    run_id: str | None
    who: str
    why: str


def train(
    rows: Rows | pd.DataFrame | Path | str,
    spec: ModelSpec,
    *,
    home: Home | None = None,
    registry: Registry | None = None,
    parent: str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
    run_id: str | None = None,
    who: str = "train",
    why: str = "trained",
    stop_after: int | None = None,
    backend: Backend = "sequential",
    jobs: int = 1,
) -> TrainingResult:
    """Train one version: check, split, search, evaluate, fit on all rows, calibrate, profile, save, register.

    Parameters
    ----------
    rows
        Rows, a table or the path of one; rows without a label are left out, as are those before ``training.window``.
    home
        Where artifact, rows and key go; ``.evergreen`` by default.
    registry
        Where the version is registered; None leaves it an artifact.
    parent
        The champion it may follow; by default the registry's.
    now
        Machine time, for the name of the version.
    run_id
        The run of the loop this belongs to. A run without one is by hand: it stores the model file in the registry.
    stop_after
        Rungs an earlier search completed, to repeat it exactly.

    Raises
    ------
    DataError, TooFewRowsError
        The rows do not fit the schema or are too few to learn from.
    NothingBeatsBaselineError
        No candidate is better than a constant guess: nothing is saved or registered.
    """
    progress, durations, watch = progress or Silent(), {}, time.perf_counter
    began = watch()
    learned = _rows(rows, spec)
    report = check(learned, spec.schema)
    durations["check"] = watch() - began
    shipped = learn(learned, spec, progress, durations, stop_after, backend, jobs)
    return _ship(shipped, learned, report, spec, _Errand(home, registry, parent, now, run_id, who, why), durations, progress)


def wrap_imported(
    pipeline: Any,
    spec: ModelSpec,
    rows: Rows | pd.DataFrame | Path | str,
    *,
    home: Home | None = None,
    registry: Registry | None = None,
    parent: str | None = None,
    now: datetime | None = None,
    who: str = "import",
    why: str = "imported",
) -> TrainingResult:
    """Make a version of a pipeline that was fitted elsewhere.

    Parameters
    ----------
    pipeline
        Takes a DataFrame of the schema's features; has ``predict``, and ``predict_proba`` and ``classes_`` for classes.
        Its pickle is trusted like the code that runs it. A payload ``{"pipeline": ...}`` is taken too.
    rows
        Labelled rows: the last holdout share scores it, all of them are its reference.

    Raises
    ------
    SchemaError
        The pipeline cannot answer rows of this schema.
    """
    if isinstance(pipeline, Mapping):
        pipeline = pipeline.get("pipeline")
    began = time.perf_counter()
    learned = _rows(rows, spec)
    older, newest = split_by_time(learned, spec.training.holdout)
    try:
        model = FittedModel.of(pipeline, spec.schema)
        said = model.predict(newest.columns)
    except Exception as error:
        raise SchemaError(f"the pipeline cannot answer rows of this schema: {type(error).__name__}: {error}") from error
    constant = fit(baseline(0), older, spec.schema).predict(newest.columns)
    shipped = Learned(
        model,
        said,
        evaluate(newest, said, spec.schema, spec.segments),
        evaluate(newest, constant, spec.schema),
        f"imported {_kind(pipeline)}",
        "as imported",
        {},
        None,
    )
    errand = _Errand(home, registry, parent, now, None, who, why)
    return _ship(shipped, learned, check(learned, spec.schema), spec, errand, {"evaluate": time.perf_counter() - began}, Silent())


def _kind(pipeline: Any) -> str:
    last = pipeline.steps[-1][1] if hasattr(pipeline, "steps") else pipeline
    return type(last).__name__


def _rows(rows: Rows | pd.DataFrame | Path | str, spec: ModelSpec) -> Rows:
    if isinstance(rows, pd.DataFrame):
        rows = rows_from_columns(rows, spec.schema)
    elif not isinstance(rows, Rows):
        rows = read_table(rows, spec.schema)
    if rows.target is None:
        raise TooFewRowsError(f"the rows have no column {spec.schema.target!r} to learn from")
    rows = rows.labelled()
    if spec.training.window is not None and len(rows):
        last = int(rows.time_us[-1])
        rows = rows.between(last - duration_us(spec.training.window) + 1, last + 1)
    if len(rows) < LEAST_ROWS:
        raise TooFewRowsError(f"{len(rows)} labelled rows are too few to learn from; {LEAST_ROWS} are the least")
    return rows


def _ship(
    shipped: Learned, rows: Rows, report: DataReport, spec: ModelSpec, errand: _Errand, durations: dict[str, float], progress: Progress
) -> TrainingResult:
    """Profile, write, register."""
    registry, now, began = errand.registry, errand.now or datetime.now(UTC), time.perf_counter()
    home = (errand.home or Home(Path(".evergreen").absolute())).ensure()
    progress.start("saving", 4)
    serving = prepare_serving(shipped.model, split_by_time(rows, spec.training.holdout)[1], seed=spec.training.seed)
    durations["compile"] = time.perf_counter() - began
    progress.advance(serving.sentence)
    reference = build_reference(rows, spec.schema, bucket=spec.watching.bucket, window=spec.watching.window, prediction=shipped.newest)
    progress.advance("reference profile")
    digest, _ = write_rows(rows, spec.schema, home.rows)
    breaks = _breaks(registry, spec)
    card = _card(shipped, report, spec, serving.sentence, breaks, now)
    found, first, last = shipped.search, int(rows.time_us[0]), int(rows.time_us[-1])
    durations["profile"] = time.perf_counter() - began - durations["compile"]
    draft = Draft(
        name=spec.model,
        model=shipped.model,
        reference=reference,
        golden=choose_golden(shipped.model, rows, spec.schema),
        spec_text=spec.text,
        data_start=from_us(first),
        data_end=from_us(last),
        trained_through_us=last,
        algorithm=shipped.algorithm,
        compiled=serving.compiled,
        card=card,
        report=_report(shipped, report, serving.to_dict(), breaks),
        parent=errand.parent or _champion(registry, spec.model),
        rows_digest=digest,
        data_fingerprint=digest,
        metrics={name: e.to_dict() for name, e in shipped.evaluation.overall.items()},
        params=shipped.params,
        durations=durations,
        seed=spec.training.seed,
        rungs=found.rungs_completed if found else 0,
        fits=found.fits if found else 0,
    )
    artifact = save_artifact(draft, home.artifacts, load_or_make_key(home.signing_key), now)
    progress.advance(artifact.version)
    progress.advance("not registered" if registry is None else _register(artifact, spec, errand, registry, now))
    progress.done()
    return TrainingResult(
        artifact, shipped.evaluation.overall, shipped.evaluation, shipped.baseline, report, found, shipped.calibration, breaks
    )


def _card(shipped: Learned, report: DataReport, spec: ModelSpec, serving: str, breaks: tuple[str, ...], now: datetime) -> str:
    return write_card(
        spec,
        now=now,
        report=report,
        metrics=shipped.evaluation,
        baseline=shipped.baseline,
        search=shipped.search,
        algorithm=shipped.algorithm,
        calibration=shipped.calibration,
        serving=serving,
        breaks=breaks,
    )


def _register(artifact: Artifact, spec: ModelSpec, errand: _Errand, registry: Registry, now: datetime) -> str:
    """Register a version, with its model file when a person trained it; say so in a word."""
    if errand.run_id is None:
        registry.put_model(spec, who=errand.who, now=now)
    registry.register(artifact, who=errand.who, why=errand.why, run_id=errand.run_id, now=now)
    return "registered"


def _report(shipped: Learned, report: DataReport, serving: dict[str, Any], breaks: tuple[str, ...]) -> dict[str, Any]:
    return {
        "data": report.to_dict(),
        "metrics": shipped.evaluation.to_dict(),
        "baseline": shipped.baseline.to_dict(),
        "search": shipped.search.to_dict() if shipped.search else None,
        "calibration": shipped.calibration,
        "serving": serving,
        "breaks": list(breaks),
    }


def _breaks(registry: Registry | None, spec: ModelSpec) -> tuple[str, ...]:
    if registry is None:
        return ()
    try:
        known = parse_spec(registry.get_model(spec.model).spec_text).schema
    except UnknownModelError:
        return ()
    return tuple(known.breaks(spec.schema))


def _champion(registry: Registry | None, model: str) -> str | None:
    record = None if registry is None else registry.alias(model, "champion")
    return None if record is None else record.version
