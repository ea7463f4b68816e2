"""Estimators of a version that has no matured labels yet: from the rows that its training held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from monitoring.judging.estimating.answers import count_answers
from monitoring.judging.estimating.bands import FEWEST_BLOCKS
from monitoring.judging.estimating.class_estimator import Bucket, ClassEstimator, learn_class_estimator
from monitoring.judging.estimating.loss_model import binned
from monitoring.judging.estimating.value_estimator import ValueEstimator, learn_value_estimator
from monitoring.judging.performance.live_metrics import Reading
from monitoring.judging.performance.outcome_sums import count_outcomes
from monitoring.judging.performance.scores import BLOCKS
from monitoring.stores import Stores
from training.artifacts.draft import HELD_OUT
from training.artifacts.held_out import read_held_out
from training.clock import duration_us
from training.dataset.dataset import read_rows
from training.errors import DataError
from training.json_text import from_text
from training.model_file.model_spec import ModelSpec
from training.profiles.measures import Measures
from training.schema.prediction import Prediction
from training.schema.rows import Rows

GONE = "no estimate: this version kept no answers for rows that its training held out, or these rows are gone"
Places = npt.NDArray[np.intp]


def class_estimator_of(stores: Stores, spec: ModelSpec, version: str, metric: str) -> ClassEstimator | str:
    """Learn a calibration from the rows that were held out; or say why it cannot be."""
    kept, edges = _read(stores, spec, version), stores.journal.outcomes.edges(spec.model)
    if kept is None or edges is None:
        return GONE if kept is None else "no estimate: no answers were counted yet"
    rows, prediction, group = kept
    is_binary = spec.schema.task == "binary"
    sums = count_outcomes(group, rows.labels, prediction, edges, is_binary=is_binary)
    answers = count_answers(group, prediction, edges, is_binary=is_binary)
    learned = learn_class_estimator(Reading(metric, prediction.classes or (), spec.costs), list(map(Bucket, sums, answers)))
    return learned if isinstance(learned, str) else replace(learned, block_of={}, is_held_out=True)


def value_estimator_of(stores: Stores, spec: ModelSpec, version: str, metric: str, measures: Measures) -> ValueEstimator | str:
    """Learn a model of the errors from the rows that were held out, under the bins that the log is counted in; or say why it cannot be."""
    kept = _read(stores, spec, version)
    if kept is None:
        return GONE
    rows, prediction, group = kept
    computed = measures.computed(rows.columns, rows.time_us, prediction)
    error = np.abs(rows.labels.astype(np.float64) - prediction.score)
    learned = learn_value_estimator(metric, binned(measures.bins, computed, error, group))
    return learned if isinstance(learned, str) else replace(learned, is_held_out=True)


def _read(stores: Stores, spec: ModelSpec, version: str) -> tuple[Rows, Prediction, Places] | None:
    """Return the rows, what was answered for them, and the number of each row's bucket; None where they were not kept, or are gone."""
    loaded = stores.load(spec.model, version)
    path, digest = loaded.path / HELD_OUT, loaded.manifest.rows_digest
    if digest is None or not path.exists():
        return None
    places, prediction = read_held_out(from_text(path.read_bytes()))
    try:
        rows = read_rows(stores.home.rows, digest, loaded.schema).take(places)
    except DataError:
        return None
    group = np.unique(rows.time_us // duration_us(spec.watching.bucket), return_inverse=True)[1]
    if len(rows) and int(group.max()) + 1 < FEWEST_BLOCKS:  # of an order without times: parts of it
        group = np.arange(len(rows)) * BLOCKS // len(rows)
    return rows, prediction, group
