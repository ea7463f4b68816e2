"""Choose, score and fit one model: what a run does between the checked rows and the artifact."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.dataset.dataset import split_by_time
from training.errors import CandidateError, TooFewRowsError
from training.evaluation.curves import Curves, curves_of
from training.evaluation.importance import Importances, importances_of
from training.evaluation.scores import Metrics, evaluate
from training.fitting.calibration import learn_map, mapped
from training.fitting.candidates import Candidate, baseline
from training.fitting.fitted_model import FittedModel
from training.fitting.refitting import Refit
from training.fitting.search import SearchResult, ask, fit, search
from training.model_file.model_spec import ModelSpec
from training.progress import Progress
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows
from training.settings import Backend

LEAST_JUDGED = 8  # rows that the forerunner of a member answers
IMPORTANCE_SHARE = 0.02
"""Of the time of search and scoring, what the importance of columns may take."""
IMPORTANCE_SECONDS = 3.0  # or as little as that


@dataclass(frozen=True, slots=True)
class Learned:
    """A fitted model with what is known of it.

    Attributes
    ----------
    newest
        Answers of a model that was not fitted on them, for the newest rows.
    calibration
        In words, what was done to the probabilities or why not.
    search
        How it was chosen; None for an imported model.
    refit
        What becomes of an imported model that is to be fitted again; None where candidates compete.
    curves
        What `evaluation` was measured on, to be drawn.
    importances
        What the answers go by, on the same rows.
    """

    model: FittedModel
    newest: Prediction
    evaluation: Metrics
    baseline: Metrics
    algorithm: str
    calibration: str
    params: Mapping[str, Any]
    search: SearchResult | None
    refit: Refit | None = None
    curves: Curves = field(default_factory=lambda: Curves(0))
    importances: Importances | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """What one more member is learned from.

    Attributes
    ----------
    family
        Which window of the labelled rows.
    split_us
        Rows from this model time on are not learned from by its forerunner, which answers them.
    like
        Family and settings of the candidate; None has one searched for.
    """

    family: str
    split_us: int
    like: tuple[str, Mapping[str, Any]] | None = None


def choose(rows: Rows, spec: ModelSpec, progress: Progress, *, stop_after: int | None, backend: Backend, jobs: int) -> SearchResult:
    """Choose on the older rows."""
    older, _ = split_by_time(rows, spec.training.holdout)
    return search(older, spec, progress=progress, stop_after=stop_after, backend=backend, jobs=jobs)


def learn(rows: Rows, spec: ModelSpec, chosen: SearchResult, progress: Progress, durations: dict[str, float]) -> Learned:
    """Score what was chosen on the older rows on the newest, fit it again on all of them.

    The map that calibrates the scores is learned from what the model of the older rows said about the newest ones: so the
    model that serves was fitted on every row, and its map on rows that the model of the older ones had not seen. The figures of the card
    come from the same two steps, one share of the rows earlier.
    """
    watch, schema = time.perf_counter, spec.schema
    older, newest = split_by_time(rows, spec.training.holdout)
    began = watch()
    progress.start("scoring on the newest rows", 4)
    map_before = _earlier_map(chosen.best, older, spec)
    progress.advance("calibration")
    older_model = fit(chosen.best, older, schema)
    raw = ask(chosen.best, older_model, newest.columns)
    answers = ask(chosen.best, mapped(older_model, map_before), newest.columns)
    scored, curves = evaluate(newest, answers, schema, spec.segments, spec.more_metrics), curves_of(newest.labels, answers)
    progress.advance(chosen.best.name)
    constant = evaluate(
        newest, fit(baseline(spec.training.seed, spec.costs), older, schema).predict(newest.columns), schema, more=spec.more_metrics
    )
    progress.advance("constant guess")
    durations["evaluate"] = watch() - began
    seconds = max(IMPORTANCE_SECONDS, IMPORTANCE_SHARE * (chosen.seconds + durations["evaluate"]))
    before = mapped(older_model, map_before)
    importances = weighed(lambda columns: ask(chosen.best, before, columns), newest, spec, seconds)
    progress.advance("importance of columns")
    progress.done()
    durations["importance"] = watch() - began - durations["evaluate"]
    began = watch()
    progress.start("fitting on all rows", 1)
    point, how = learn_map(newest.labels, raw) if spec.training.calibrate else (None, "none: switched off")
    how += "; class weights undone" if chosen.best.undoes_weights else ""
    model = mapped(fit(chosen.best, rows, schema), point)
    progress.advance(chosen.best.name)
    progress.done()
    durations["fit"] = watch() - began
    unseen = ask(chosen.best, mapped(older_model, point), newest.columns)
    refit = None if spec.training.original is None else Refit(spec.training.original, None)
    return Learned(model, unseen, scored, constant, chosen.best.family, how, dict(chosen.best.params), chosen, refit, curves, importances)


def learn_member(
    rows: Rows, spec: ModelSpec, chosen: SearchResult, split_us: int, durations: dict[str, float], *, window: int
) -> tuple[Rows, Learned]:
    """Fit what was chosen on so many of the newest rows as the `window` says; return these, too.

    Its figures are those of its forerunner, which was fitted on the rows before the split, on those after it. Where the window has
    fewer than two classes before the split, all rows are learned from.
    """
    watch = time.perf_counter
    some = rows.slice(len(rows) - window, len(rows))
    if spec.schema.is_classification and len(set(_parted(some, split_us)[0].labels.tolist())) < 2:
        some = rows
    older, newest = _parted(some, split_us)
    if len(newest) < LEAST_JUDGED or len(older) < spec.retraining.gate.min_train_rows:
        raise TooFewRowsError(
            f"{len(older)} labelled rows to learn from before those of the gate and {len(newest)} of these: "
            f"{spec.retraining.gate.min_train_rows} and {LEAST_JUDGED} are the least"
        )
    began = watch()
    answers = ask(chosen.best, fit(chosen.best, older, spec.schema), newest.columns)
    constant = fit(baseline(spec.training.seed, spec.costs), older, spec.schema).predict(newest.columns)
    scored, guess = (evaluate(newest, each, spec.schema, spec.segments, spec.more_metrics) for each in (answers, constant))
    durations["evaluate"] = watch() - began
    began = watch()
    model = fit(chosen.best, some, spec.schema)
    durations["fit"] = watch() - began
    best, how = chosen.best, "none: what the members of a version say is mapped when they are weighed"
    curves = curves_of(newest.labels, answers)
    return some, Learned(model, answers, scored, guess, best.family, how, dict(best.params), chosen, None, curves)


def _parted(rows: Rows, split_us: int) -> tuple[Rows, Rows]:
    place = int(np.searchsorted(rows.time_us, split_us))
    return rows.slice(0, place), rows.slice(place, len(rows))


def weighed(predict: Callable[[Columns], Prediction], rows: Rows, spec: ModelSpec, seconds: float) -> Importances:
    """Return what answers go by; where a user's own code fails when it is asked again, that."""
    seed, metric = spec.training.seed, spec.judged_by

    def asked(columns: Columns) -> Prediction:
        try:
            return predict(columns)
        except (Exception, SystemExit) as error:  # whatever a pipeline raises on rows there never were
            raise CandidateError(f"{type(error).__name__}: {error}") from error

    try:
        return importances_of(asked, rows, metric, seed=seed, seconds=seconds, clock=time.perf_counter)
    except CandidateError as error:  # the version is as good without
        return Importances(metric.name, of=len(rows.columns), missing=f"asked again it fails: {error}")


def _earlier_map(best: Candidate, older: Rows, spec: ModelSpec) -> tuple[float, float] | None:
    """Learn the map the model of the older rows would have been shipped with, from the newest of its own rows."""
    if not (spec.training.calibrate and spec.schema.is_classification):
        return None
    try:
        before, after = split_by_time(older, spec.training.holdout)
    except TooFewRowsError:
        return None
    if len(set(before.labels.tolist())) < 2:
        return None
    return learn_map(after.labels, ask(best, fit(best, before, spec.schema), after.columns))[0]
