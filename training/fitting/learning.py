"""Choose, score and fit one model: what a run does between the checked rows and the artifact."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from training.dataset.dataset import split_by_time
from training.errors import CandidateError, TooFewRowsError
from training.evaluation.curves import Curves, curves_of
from training.evaluation.decision_threshold import best_decided, choose_threshold
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
    deciding
        In words, from which probability on the positive of two classes is decided, and why; empty where the most probable class is.
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
    deciding: str = ""


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

    The map that calibrates the scores is learned from what the model of the older rows said about the newest ones, and the threshold
    chosen from that: so the model that serves was fitted on every row, and map and threshold on rows that the model of the older ones
    had not seen. The figures of the card come from the same two steps, one share of the rows earlier.
    """
    watch, schema = time.perf_counter, spec.schema
    older, newest = split_by_time(rows, spec.training.holdout)
    began = watch()
    progress.start("scoring on the newest rows", 4)
    map_before, threshold_before = _earlier(chosen.best, older, spec)
    progress.advance("calibration")
    older_model = fit(chosen.best, older, schema)
    raw = ask(chosen.best, older_model, newest.columns)
    before = replace(mapped(older_model, map_before), threshold=threshold_before)
    answers = ask(chosen.best, before, newest.columns)
    scored, curves = evaluate(newest, answers, schema, spec.segments, spec.more_metrics), curves_of(newest.labels, answers)
    progress.advance(chosen.best.name)
    constant = evaluate(newest, guess(older, newest, spec), schema, more=spec.more_metrics)
    progress.advance("constant guess")
    durations["evaluate"] = watch() - began
    seconds = max(IMPORTANCE_SECONDS, IMPORTANCE_SHARE * (chosen.seconds + durations["evaluate"]))
    importances = weighed(lambda columns: ask(chosen.best, before, columns), newest, spec, seconds)
    progress.advance("importance of columns")
    progress.done()
    durations["importance"] = watch() - began - durations["evaluate"]
    began = watch()
    progress.start("fitting on all rows", 1)
    point, how = learn_map(newest.labels, raw) if spec.training.calibrate else (None, "none: switched off")
    how += "; class weights undone" if chosen.best.undoes_weights else ""
    unseen = ask(chosen.best, mapped(older_model, point), newest.columns)
    threshold, deciding = _threshold(newest.labels, unseen, spec)
    model = replace(mapped(fit(chosen.best, rows, schema), point), threshold=threshold)
    progress.advance(chosen.best.name)
    progress.done()
    durations["fit"] = watch() - began
    unseen = unseen if threshold is None else unseen.decided(threshold)
    refit = None if spec.training.original is None else Refit(spec.training.original, None)
    best = chosen.best
    return Learned(model, unseen, scored, constant, best.family, how, dict(best.params), chosen, refit, curves, importances, deciding)


def guess(older: Rows, newest: Rows, spec: ModelSpec) -> Prediction:
    """Return the constant guess of older rows for newer ones, decided as well as one can be."""
    constant = fit(baseline(spec.training.seed, spec.costs), older, spec.schema).predict(newest.columns)
    if spec.training.threshold is not None:
        return constant.decided(spec.training.threshold)
    return best_decided(newest.labels, constant, spec.metric) if spec.chooses_threshold else constant


def _threshold(y: Any, unseen: Prediction, spec: ModelSpec) -> tuple[float | None, str]:
    """Return the threshold to decide by, and in words how it came about."""
    fixed = spec.training.threshold
    if fixed is not None:
        return fixed, f"positive from a probability of {fixed:g} on, as the model file says"
    if not spec.chooses_threshold:
        return None, ""
    choice = choose_threshold(y, unseen, spec.judged_by, None)
    what = "most probable class" if choice.threshold is None else f"positive from a probability of {choice.threshold:.4g} on"
    return choice.threshold, f"{what}: {choice.why}"


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
    threshold, deciding = _threshold(newest.labels, answers, spec)
    answers = answers if threshold is None else answers.decided(threshold)
    pair = answers, guess(older, newest, spec)
    scored, constant = (evaluate(newest, each, spec.schema, spec.segments, spec.more_metrics) for each in pair)
    durations["evaluate"] = watch() - began
    began = watch()
    model = replace(fit(chosen.best, some, spec.schema), threshold=threshold)
    durations["fit"] = watch() - began
    best, how = chosen.best, "none: what the members of a version say is mapped when they are weighed"
    curves = curves_of(newest.labels, answers)
    return some, Learned(model, answers, scored, constant, best.family, how, dict(best.params), chosen, None, curves, deciding=deciding)


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


def _earlier(best: Candidate, older: Rows, spec: ModelSpec) -> tuple[tuple[float, float] | None, float | None]:
    """Return the map and the threshold the model of the older rows would have been shipped with, from the newest of its own rows."""
    fixed = spec.training.threshold
    if not spec.schema.is_classification or not (spec.training.calibrate or spec.chooses_threshold):
        return None, fixed
    try:
        before, after = split_by_time(older, spec.training.holdout)
    except TooFewRowsError:
        return None, fixed
    if len(set(before.labels.tolist())) < 2:
        return None, fixed
    model = fit(best, before, spec.schema)
    point = learn_map(after.labels, ask(best, model, after.columns))[0] if spec.training.calibrate else None
    if not spec.chooses_threshold:
        return point, fixed
    return point, _threshold(after.labels, ask(best, mapped(model, point), after.columns), spec)[0]
