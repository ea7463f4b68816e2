"""One training run, from rows to a registered version. It never gates and never promotes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from training.dataset.dataset import split_by_time
from training.dataset.report import DataReport, refuse_many_levels
from training.errors import NothingBeatsBaselineError, SchemaError
from training.evaluation.curves import curves_of
from training.evaluation.scores import evaluate
from training.fitting.candidates import baseline
from training.fitting.imported import IMPORTED, kind_of, take_imported
from training.fitting.learning import IMPORTANCE_SECONDS, Growth, Learned, choose, guess, learn, learn_member, weighed
from training.fitting.proposals import load_optuna
from training.fitting.refitting import try_refit
from training.fitting.search import chosen_before, refuse_useless
from training.learnable_rows import LearnableRows, learnable_rows
from training.mixing.families import window_rows
from training.model_file.model_spec import ModelSpec
from training.policies import OwnCandidate
from training.progress import Progress, Silent
from training.publishing import Destination, publish
from training.registry.registry import Registry
from training.registry.tables import Right
from training.result import TrainingResult
from training.schema.rows import Rows
from training.schema.sources import Query
from training.settings import Backend, Home


def train(  # 14 parameters: the public call, all but two of them options by name
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
    or_guess: bool = False,
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
    or_guess
        Where nothing beats the constant guess, make a version of that: a beginning for the loop, whose retrainings may beat it.

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
    destination = Destination(home, registry, parent, now, right, who, why)
    chosen = choose(checked.rows, spec, progress, stop_after=stop_after, backend=backend, jobs=jobs)
    durations["search"] = chosen.seconds
    if right is None:  # in a run of the loop the gate decides, on newer rows and against the champion
        try:
            refuse_useless(chosen, spec.judged_by)
        except NothingBeatsBaselineError as error:
            if not or_guess:
                kept = _keep_report(checked.report, spec, destination, str(error))
                raise NothingBeatsBaselineError(f"{error} It is kept: {kept}") from error
            chosen = replace(chosen, best=baseline(spec.training.seed, spec.costs), score=chosen.baseline_score)
    return publish(learn(checked.rows, spec, chosen, progress, durations), checked, spec, destination, durations, progress)


def grow(  # 9 parameters: rows, how, where to and by which right
    rows: Rows,
    spec: ModelSpec,
    growth: Growth,
    *,
    home: Home,
    registry: Registry,
    parent: str,
    now: datetime,
    right: Right,
    why: str,
) -> TrainingResult:
    """Train one more member of a version: what was chosen before is fitted again, on a window of the rows.

    Its forerunner, fitted on those before `growth.split_us`, answers the ones after: its answers are kept in the artifact, for the gate.
    Nothing is calibrated: the weighing of members maps what they say. The rows are not stored again, for the log and the history have
    them.

    Parameters
    ----------
    rows
        Mature ones in the order of time, those of the gate included.

    Raises
    ------
    TooFewRowsError
        Before or after the split there are too few rows to learn from, or to judge by.
    CandidateError
        What is not ours fails.
    """
    durations: dict[str, float] = {}
    checked = learnable_rows(rows, spec, is_by_hand=False)
    chosen = None if growth.like is None else chosen_before(spec, *growth.like)
    if chosen is None:
        chosen = choose(
            checked.rows.between(int(checked.rows.time_us[0]), growth.split_us),
            spec,
            Silent(),
            stop_after=None,
            backend="sequential",
            jobs=1,
        )
        durations["search"] = chosen.seconds
    window = window_rows(growth.family, len(checked.rows))
    chosen_rows, learned = learn_member(checked.rows, spec, chosen, growth.split_us, durations, window=window)
    kept = LearnableRows(chosen_rows, checked.report, checked.seen, checked.places[-len(chosen_rows) :], None)
    destination = Destination(home, registry, parent, now, right, "monitor", why)
    return publish(learned, kept, spec, destination, durations, Silent(), stores_rows=False)


def _keep_report(report: DataReport, spec: ModelSpec, destination: Destination, outcome: str) -> Path:
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
    if (threshold := spec.training.threshold) is not None:
        model, answers = replace(model, threshold=threshold), answers.decided(threshold)
    fitted = Learned(
        model,
        answers,
        evaluate(newest, answers, spec.schema, spec.segments, spec.more_metrics),
        evaluate(newest, guess(older, newest, spec), spec.schema, more=spec.more_metrics),
        f"{IMPORTED}{kind_of(pipeline)}",
        "as imported",
        {},
        None,
        None if spec.training.names_candidates else try_refit(model, older, newest, answers, spec.training.seed, spec.training.weighing),
        curves_of(newest.labels, answers),
        weighed(model.predict, newest, spec, IMPORTANCE_SECONDS),
    )
    destination = Destination(home, registry, parent, now, None, who, why)
    return publish(fitted, checked, spec, destination, {"evaluate": time.perf_counter() - began}, Silent())
