"""One training run, from rows to a registered version. It never gates and never promotes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.artifacts.artifact import Artifact, save_artifact
from training.artifacts.draft import Draft
from training.artifacts.golden_rows import choose_golden
from training.artifacts.held_out import held_out_content
from training.artifacts.manifest import digest_of
from training.artifacts.signing import load_or_make_key
from training.cards.markdown import write_card
from training.cards.page import write_card_page
from training.clock import from_us
from training.compiling.compiling import prepare_serving
from training.dataset.dataset import split_by_time, write_rows
from training.dataset.report import DataReport, refuse_many_levels
from training.errors import NothingBeatsBaselineError, SchemaError, UnknownModelError
from training.evaluation.curves import curves_of
from training.evaluation.scores import evaluate
from training.fitting.candidates import baseline
from training.fitting.imported import IMPORTED, kind_of, take_imported
from training.fitting.learning import IMPORTANCE_SECONDS, Learned, choose, learn, weighed
from training.fitting.proposals import load_optuna
from training.fitting.refitting import Refit, try_refit
from training.fitting.search import fit, refuse_useless
from training.learnable_rows import LearnableRows, learnable_rows
from training.model_file.model_spec import ModelSpec, parse_spec
from training.own_code import Code, imported_code
from training.policies import OwnCandidate
from training.profiles.reference import Answered, Reference, build_reference
from training.progress import Progress, Silent
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry
from training.registry.tables import Cause, Right
from training.result import Made, TrainingResult
from training.schema.rows import Rows
from training.schema.sources import Query
from training.settings import Backend, Home


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where a version goes, when, and on whose behalf."""

    home: Home | None
    registry: Registry | None
    parent: str | None
    now: datetime | None
    right: Right | None
    who: str
    why: str

    @property
    def folders(self) -> Home:
        """The home, made."""
        return (self.home or Home(Path(".evergreen").absolute())).ensure()

    def check(self) -> None:
        """Raise what the right's guard raises when a run of the loop may not write any more: before files are written."""
        if self.registry is not None and self.right is not None:
            self.registry.check(self.right.guard)


def train(  # 13 parameters: the public call, all but two of them options by name
    rows: Rows | pd.DataFrame | Path | str | Query,
    spec: ModelSpec,
    *,
    home: Home | None = None,
    registry: Registry | None = None,
    parent: str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
    right: Right | None = None,
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
        Rows, a table, or where one lies: a path, an address, a query. Rows without a label are not learned from, as are those before
        ``training.window``; between others they are part of the reference. A table whose model file says ``split: random`` is
        shuffled; rows are taken in their order.
    home
        Where artifact, rows and key go; ``.evergreen`` by default.
    registry
        Where the version is registered; None leaves it an artifact.
    parent
        The champion it may follow; by default the registry's.
    now
        Machine time, for the name of the version.
    right
        The run of the loop this belongs to, whose every write asks whether it still may. Without one this is by hand: the
        model file is stored in the registry too.
    stop_after
        Rungs an earlier search completed, to repeat it exactly.

    Raises
    ------
    DataError, TooFewRowsError
        The rows do not fit the schema or are too few to learn from, or a category of a table has more levels than ours can use.
    NothingBeatsBaselineError
        No candidate is better than a constant guess: nothing is registered, and the report on the rows is kept in the home. Not in a
        run of the loop, whose gate holds what was chosen against the champion.
    CandidateError
        What is not ours fails or is not there: an estimator, a metric, optuna.
    """
    if not isinstance(spec, ModelSpec):
        raise TypeError(f"spec is {spec!r}, wanted a ModelSpec, such as load_spec('model.yaml') gives")
    progress, durations, watch = progress or Silent(), {}, time.perf_counter
    began = watch()
    if spec.training.search == "optuna":
        load_optuna()  # that it is missing is said before the rows are read
    checked = learnable_rows(rows, spec, is_by_hand=right is None)
    if not isinstance(rows, Rows) and not all(isinstance(candidate, OwnCandidate) for candidate in spec.training.candidates):
        refuse_many_levels(checked.report)
    durations["check"] = watch() - began
    destination = _Destination(home, registry, parent, now, right, who, why)
    chosen = choose(checked.rows, spec, progress, stop_after=stop_after, backend=backend, jobs=jobs)
    durations["search"] = chosen.seconds
    if right is None:  # in a run of the loop the gate decides, on newer rows and against the champion
        try:
            refuse_useless(chosen, spec.judged_by)
        except NothingBeatsBaselineError as error:
            kept = _keep_report(checked.report, spec, destination, str(error))
            raise NothingBeatsBaselineError(f"{error} It is kept: {kept}") from error
    return _publish(learn(checked.rows, spec, chosen, progress, durations), checked, spec, destination, durations, progress)


def _keep_report(report: DataReport, spec: ModelSpec, destination: _Destination, outcome: str) -> Path:
    """Write down what the rows of a run without a version look like; return where."""
    now = destination.now or datetime.now(UTC)
    folder = destination.folders.reports
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{spec.model}-{now:%Y%m%dT%H%M%S}.md"
    path.write_text(f"# {spec.model}: no version\n\n{outcome}\n\n## Data\n\n{report.to_markdown()}", encoding="utf-8")
    return path


def wrap_imported(  # 9 parameters: the public call, all but three of them options by name
    pipeline: Any,
    spec: ModelSpec,
    rows: Rows | pd.DataFrame | Path | str | Query,
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
        Its pickle is trusted like the code that runs it. A mapping ``{"pipeline": ...}`` is taken too.
    rows
        Labelled rows: the last holdout share scores it, all of them are its reference.

    Raises
    ------
    SchemaError
        The pipeline cannot answer rows of this schema, or not with the contract's classes.
    GoldenRowsError
        A process started like a worker cannot load it, as one whose classes are those of a notebook.
    """
    if isinstance(pipeline, Mapping):
        if "pipeline" not in pipeline:
            raise SchemaError(f"a mapping with the keys {', '.join(map(str, pipeline))} is no pipeline; wanted one with the key 'pipeline'")
        pipeline = pipeline["pipeline"]
    began = time.perf_counter()
    checked = learnable_rows(rows, spec)
    older, newest = split_by_time(checked.rows, spec.training.holdout)
    model, answers = take_imported(pipeline, newest, spec.schema, spec.costs)
    constant = fit(baseline(0, spec.costs), older, spec.schema).predict(newest.columns)
    fitted = Learned(
        model,
        answers,
        evaluate(newest, answers, spec.schema, spec.segments, spec.more_metrics),
        evaluate(newest, constant, spec.schema, more=spec.more_metrics),
        f"{IMPORTED}{kind_of(pipeline)}",
        "as imported",
        {},
        None,
        None if spec.training.names_candidates else try_refit(model, older, newest, answers, spec.training.seed, spec.training.weighing),
        curves_of(newest.labels, answers),
        weighed(model.predict, newest, spec, IMPORTANCE_SECONDS),
    )
    destination = _Destination(home, registry, parent, now, None, who, why)
    return _publish(fitted, checked, spec, destination, {"evaluate": time.perf_counter() - began}, Silent())


def _publish(
    fitted: Learned,
    checked: LearnableRows,
    spec: ModelSpec,
    destination: _Destination,
    durations: dict[str, float],
    progress: Progress,
) -> TrainingResult:
    """Profile, write, register."""
    rows, report = checked.rows, checked.report
    registry, now, began = destination.registry, destination.now or datetime.now(UTC), time.perf_counter()
    home = destination.folders
    progress.start("saving", 4)
    serving = prepare_serving(fitted.model, split_by_time(rows, spec.training.holdout)[1], seed=spec.training.seed)
    durations["compile"] = time.perf_counter() - began
    progress.advance(serving.sentence)
    reference = _reference(fitted, checked, spec)
    progress.advance("reference profile")
    destination.check()
    digest, _ = write_rows(rows, spec.schema, home.rows)
    breaks = _breaks(registry, spec)
    own = _own_code(fitted, spec)
    card, page = _cards(spec, fitted, report, serving=serving.sentence, breaks=breaks, more=_making(own, fitted.refit, reference), now=now)
    search, first, last = fitted.search, int(rows.time_us[0]), int(rows.time_us[-1])
    durations["profile"] = time.perf_counter() - began - durations["compile"]
    draft = Draft(
        name=spec.model,
        model=fitted.model,
        reference=reference,
        golden=choose_golden(fitted.model, rows, spec.schema),
        spec_text=spec.text,
        data_start=from_us(first),
        data_end=from_us(last),
        trained_through_us=last,
        algorithm=fitted.algorithm,
        compiled=serving.compiled,
        report=_report(fitted, report, serving.to_dict(), breaks),
        parent=destination.parent or _champion(registry, spec.model),
        rows_digest=digest,
        data_fingerprint=digest,
        metrics={name: e.to_dict() for name, e in fitted.evaluation.overall.items()},
        params=fitted.params,
        durations=durations,
        seed=spec.training.seed,
        rungs=search.rungs_completed if search else 0,
        fits=search.fits if search else 0,
        code={name: code.to_dict() for name, code in own.items()} or None,
        asked=spec.asked_of(is_imported=search is None) or None,
        card=card,
        page=page,
        **_kept(fitted, len(rows)),
    )
    artifact = save_artifact(draft, home.artifacts, load_or_make_key(home.signing_key), now)
    progress.advance(artifact.version)
    progress.advance("not registered" if registry is None else _register(artifact, spec, destination, registry, now))
    progress.done()
    return TrainingResult(
        artifact,
        Made(spec, draft, rows),
        fitted.evaluation.overall,
        fitted.evaluation,
        fitted.baseline,
        report,
        search,
        fitted.calibration,
        breaks,
        serving.sentence,
        *([] if fitted.refit is None else [fitted.refit.sentence]),
    )


def _own_code(fitted: Learned, spec: ModelSpec) -> dict[str, Code]:
    """Return the code of a user's that a version is made with, by candidate and metric."""
    own = {c.name: imported_code(c.factory) for c in spec.training.own} if fitted.search else {}
    return own if spec.own_metric is None else own | {spec.metric: imported_code(spec.metric)}


def _reference(fitted: Learned, checked: LearnableRows, spec: ModelSpec) -> Reference:
    """Count the rows of the range that was learned from, labelled or not, or the table that the model file names."""
    calm = checked.calm
    if calm is not None:
        answered = Answered(fitted.model.predict(calm.columns), np.arange(len(calm)))
        return build_reference(calm, spec.schema, spec.watching, answered)
    answered = Answered(fitted.newest, checked.places[-len(fitted.newest) :])
    return build_reference(checked.seen, spec.schema, spec.watching, answered)


def _making(own: Mapping[str, Code], refit: Refit | None, reference: Reference) -> list[str]:
    lines = [f"own code: {name}: {code.sentence}" for name, code in own.items()]
    lines += [] if refit is None else [f"retraining: {refit.sentence}"]
    return [*lines, *reference.measures.moving]


def _cards(spec: ModelSpec, fitted: Learned, report: DataReport, **how: Any) -> tuple[str, str]:
    """Return the model card, and the page of it."""
    return write_card(spec, fitted, report, **how), write_card_page(spec, fitted, report, **how)


def _kept(fitted: Learned, n_rows: int) -> dict[str, Any]:
    """Return what an artifact keeps of the answers for rows that were held out, and of an imported estimator."""
    held_out = (
        {} if fitted.search is None else {"held_out": held_out_content(fitted.newest, n_rows)}
    )  # what else was fitted on nobody knows
    refit = fitted.refit
    if refit is None:
        return held_out
    content = None if refit.original is None else refit.original.content
    facts = {"sha256": None if content is None else digest_of(content), "why_not": refit.why_not}
    return {**held_out, "original": facts, "original_content": content}


def _register(artifact: Artifact, spec: ModelSpec, destination: _Destination, registry: Registry, now: datetime) -> str:
    """Register a version, with its model file when a person trained it; say so in a word."""
    right, cause = destination.right, Cause(destination.who, destination.why)
    if right is None:
        registry.put_model(spec, who=destination.who, now=now)
        registry.register(artifact, cause=cause, now=now)
    else:
        cause = cause.with_evidence(fencing=dict(right.fencing))
        registry.register(artifact, cause=cause, run_id=right.run_id, now=now, guard=right.guard)
    return "registered"


def _report(fitted: Learned, report: DataReport, serving: dict[str, Any], breaks: tuple[str, ...]) -> dict[str, Any]:
    return {
        "data": report.to_dict(),
        "metrics": fitted.evaluation.to_dict(),
        "baseline": fitted.baseline.to_dict(),
        "curves": fitted.curves.to_dict(),
        "importance": None if fitted.importances is None else fitted.importances.to_dict(),
        "search": fitted.search.to_dict() if fitted.search else None,
        "calibration": fitted.calibration,
        "serving": serving,
        "breaks": list(breaks),
    }


def _breaks(registry: Registry | None, spec: ModelSpec) -> tuple[str, ...]:
    if registry is None:
        return ()
    try:
        known = parse_spec(registry.get_model(spec.model).spec_text, stored=True).schema
    except UnknownModelError:
        return ()
    return tuple(known.breaks(spec.schema))


def _champion(registry: Registry | None, model: str) -> str | None:
    record = None if registry is None else registry.alias(model, CHAMPION)
    return None if record is None else record.version
