"""Choose, score and fit one model: what a run does between the checked rows and the artifact."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.calibration import CalibratedPipeline, learn_map
from training.candidates import Candidate, baseline
from training.dataset import split_by_time
from training.errors import TooFewRowsError
from training.evaluation import Metrics, evaluate
from training.model import FittedModel
from training.prediction import Prediction
from training.progress import Progress
from training.rows import Rows
from training.schema import normalise_label
from training.search import SearchResult, fit, search
from training.settings import Backend
from training.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Learned:
    """A fitted model with what is known of it.

    Parameters
    ----------
    newest
        What a model that had not seen them says about the newest rows.
    calibration
        In words, what was done to the probabilities or why not.
    search
        How it was chosen; None for an imported model.
    """

    model: FittedModel
    newest: Prediction
    evaluation: Metrics
    baseline: Metrics
    algorithm: str
    calibration: str
    params: Mapping[str, Any]
    search: SearchResult | None


def learn(
    rows: Rows, spec: ModelSpec, progress: Progress, durations: dict[str, float], stop_after: int | None, backend: Backend, jobs: int
) -> Learned:
    """Choose on the older rows, score on the newest, fit the choice again on all of them.

    The map that calibrates the scores is learned from what the model of the older rows said about the newest ones: so the
    model that serves was fitted on every row, and its map on rows its forerunner had not seen. The figures of the card
    come from the same two steps, one share of the rows earlier.
    """
    watch, schema = time.perf_counter, spec.schema
    older, newest = split_by_time(rows, spec.training.holdout)
    found = search(older, schema, spec.training, spec.metric, progress=progress, stop_after=stop_after, backend=backend, jobs=jobs)
    durations["search"] = found.seconds
    began = watch()
    progress.start("scoring on the newest rows", 3)
    map_before = _earlier_map(found.best, older, spec)
    progress.advance("calibration")
    forerunner = fit(found.best, older, schema)
    raw = forerunner.predict(newest.columns)
    scored = evaluate(newest, _mapped(forerunner, map_before).predict(newest.columns), schema, spec.segments)
    progress.advance(found.best.name)
    constant = evaluate(newest, fit(baseline(spec.training.seed), older, schema).predict(newest.columns), schema)
    progress.advance("constant guess")
    progress.done()
    durations["evaluate"] = watch() - began
    began = watch()
    progress.start("fitting on all rows", 1)
    point, told = learn_map(newest.labels, raw) if spec.training.calibrate else (None, "none: switched off")
    model = _mapped(fit(found.best, rows, schema), point)
    progress.advance(found.best.name)
    progress.done()
    durations["fit"] = watch() - began
    honest = _mapped(forerunner, point).predict(newest.columns)
    return Learned(model, honest, scored, constant, found.best.family, told, dict(found.best.params), found)


def _earlier_map(best: Candidate, older: Rows, spec: ModelSpec) -> tuple[float, float] | None:
    """Learn the map the forerunner would have been shipped with, from the newest of its own rows."""
    if not (spec.training.calibrate and spec.schema.is_classification):
        return None
    try:
        before, after = split_by_time(older, spec.training.holdout)
    except TooFewRowsError:
        return None
    if len(set(before.labels.tolist())) < 2:
        return None
    return learn_map(after.labels, fit(best, before, spec.schema).predict(after.columns))[0]


def _mapped(model: FittedModel, point: tuple[float, float] | None) -> FittedModel:
    if point is None:
        return model
    slope, intercept = point
    positive_is_last = model.classes == tuple(normalise_label(c) for c in model.pipeline.classes_)
    pipeline = CalibratedPipeline(model.pipeline, slope, intercept if positive_is_last else -intercept)
    return FittedModel(pipeline, model.schema, model.classes)
