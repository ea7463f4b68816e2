"""What a metric comes to if classes come true as often as their calibrated probabilities say (pure).

References
----------
NannyML's "Confidence-based performance estimation" (docs, "How it works"): the expected confusion table of calibrated probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from monitoring.judging.estimating.answers import Answers
from monitoring.judging.estimating.bands import Expected
from monitoring.judging.estimating.calibration import Calibration
from monitoring.judging.performance.live_metrics import CALIBRATION_GAP, DRAWS, SELECTION_RATE, TRUE_POSITIVE_RATE, Reading, confusion_value
from training.evaluation.losses import CALIBRATION_BINS, COST

Floats = npt.NDArray[np.float64]
CONFUSED = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", SELECTION_RATE, TRUE_POSITIVE_RATE)
OF_CLASSES = (*CONFUSED, "roc_auc", "log_loss", "brier", "calibration_error", CALIBRATION_GAP, COST)
"""Every metric that follows from probabilities."""


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """The cells of one class against the rest, shape (cells,) each; `own`, shape (blocks + 1, cells), are the rows expected to be of it."""

    bin: npt.NDArray[np.int64]
    decided: npt.NDArray[np.int64]
    rows: Floats
    share: Floats
    own: Floats
    probability: Floats
    loss: Floats  # -log of the probability
    rest_loss: Floats  # -log of what is left of it to 1


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """All that is known of some answers."""

    reading: Reading
    n: float
    questions: list[_Question]
    table: Floats  # expected rows by true and decided class, shape (blocks + 1, k, k)

    @property
    def is_binary(self) -> bool:
        return len(self.reading.classes) == 2


def expected_metric(reading: Reading, answers: Answers, calibration: Calibration) -> Expected | None:
    """Return what a metric of some rows is expected to be.

    Parameters
    ----------
    reading
        The metric, with the classes of the model and what mistakes cost.
    answers
        What was answered for the rows, by the model whose calibration it is.

    Returns
    -------
    None where there are no rows, or where the answers or the calibration say nothing of some class.

    Notes
    -----
    Means over rows (accuracy, log loss, Brier score, cost) are exact; F1 and other quotients are those of the expected table, of several
    classes the mean over drawn ones, since a class may not occur. The calibration error holds what chance alone brings. Several classes
    are calibrated one against the rest, and what is expected is then scaled to all rows of each decision. Scaling each row takes the
    classes off their own calibration: on made rows of four classes it is off by .013 of log loss where this is off by .001.
    """
    if not answers.n or reading.classes != answers.classes or set(answers.cells) != set(calibration.shares):
        return None
    case = _case(reading, answers, calibration)
    value = _of_binary if case.is_binary else _of_several
    expected = value(case)
    return expected if math.isfinite(expected.value) and np.isfinite(expected.left_out).all() else None


def outside(answers: Answers, calibration: Calibration) -> float:
    """Return the share of the rows with a probability beyond all that the calibration was learned from; of several classes the most.

    Examples
    --------
    >>> from monitoring.judging.estimating.answers import Cells
    >>> answers = Answers(4, ("no", "yes"), {"yes": Cells(np.array([3, 61]), np.array([1.0, 3.0]), np.array([-9.0, 0.0]))})
    >>> outside(answers, Calibration(900, ("no", "yes"), {}, {"yes": (10, 90)}))
    0.25
    """
    shares = [0.0]
    for name, (first, last) in calibration.seen.items():
        if name in answers.cells:
            at = answers.cells[name].at // len(answers.classes)
            shares.append(float(answers.cells[name].rows[(at < first) | (at > last)].sum()) / answers.n)
    return max(shares)


def _case(reading: Reading, answers: Answers, calibration: Calibration) -> _Case:
    k = len(answers.classes)
    questions, sums = [], []
    for name in answers.classes[-1:] if k == 2 else answers.classes:
        cells = answers.cells[name]
        at, decided = cells.at // k, cells.at % k
        share, odds = calibration.shares[name][:, at], cells.odds / cells.rows
        loss, rest_loss = np.logaddexp(0.0, -odds), np.logaddexp(0.0, odds)
        questions.append(_Question(at, decided, cells.rows, share[0], share * cells.rows, np.exp(-loss), loss, rest_loss))
        sums.append((_by_decision(decided, share * cells.rows, k), np.bincount(decided, cells.rows, k)))
    if k == 2:
        ((own, rows),) = sums
        return _Case(reading, answers.n, questions, np.stack([rows - own, own], axis=-2))
    table, rows = np.stack([own for own, _ in sums], axis=-2), sums[0][1]
    total = table.sum(axis=-2)
    part = np.divide(rows, total, out=np.zeros_like(total), where=total > 0)  # one against the rest: what is expected is not yet all
    parted = [_scaled(one, part[:, one.decided]) for one in questions]
    return _Case(reading, answers.n, parted, table * part[..., None, :])


def _scaled(question: _Question, part: Floats) -> _Question:
    q = question
    share = np.minimum(q.share * part[0], 1.0)
    return _Question(q.bin, q.decided, q.rows, share, q.own * part, q.probability, q.loss, q.rest_loss)


def _by_decision(decided: npt.NDArray[np.int64], own: Floats, k: int) -> Floats:
    is_decided = (decided[:, None] == np.arange(k)).astype(np.float64)
    return np.asarray(own @ is_decided)


def _linear(values: Floats, variance: float) -> Expected:
    return Expected(float(values[0]), values[1:], max(variance, 0.0))


def _costs(case: _Case) -> Floats:
    costs = case.reading.costs
    if costs is None:
        raise ValueError("what mistakes cost is not known")
    return np.array(costs.ordered(case.reading.classes))


def _of_binary(case: _Case) -> Expected:
    """Return a metric of two classes: where it is a mean over rows with its exact variance."""
    (q,), n, name = case.questions, case.n, case.reading.name
    if name in ("accuracy", "log_loss", "brier", CALIBRATION_GAP, COST):
        of_own, of_rest = _row_values(case, q)
        values = (q.own @ of_own + (q.rows - q.own) @ of_rest) / n
        return _linear(values, float((q.rows * q.share * (1 - q.share)) @ (of_own - of_rest) ** 2) / n**2)
    if name == "calibration_error":
        return _calibration_error(q)
    function = _area if name == "roc_auc" else partial(_binary_confusion, case)
    return _linear(function(q, q.own), _delta_variance(function, q))


def _delta_variance(function: Callable[[_Question, Floats], Floats], q: _Question) -> float:
    """Return the variance of a function of the cells' own rows, each binomial, by the delta method."""
    own = q.own[0]
    step = np.where(q.share > 0.5, -1.0, 1.0) * q.rows / 1024
    moved = (function(q, own + np.diag(step)) - function(q, own)) / step
    return float(moved**2 @ (q.rows * q.share * (1 - q.share)))


def _row_values(case: _Case, q: _Question) -> tuple[Floats, Floats]:
    """Return the metric of a row of each cell if it is of the positive class, and if it is not."""
    name, p, decided = case.reading.name, q.probability, q.decided
    if name == "log_loss":
        return q.loss, q.rest_loss
    if name == "brier":
        return (1 - p) ** 2, p**2
    if name == CALIBRATION_GAP:
        return p - 1, p
    if name == "accuracy":
        return (decided == 1).astype(np.float64), (decided == 0).astype(np.float64)
    costs = _costs(case)
    return costs[1, decided], costs[0, decided]


def _binary_confusion(case: _Case, q: _Question, own: Floats) -> Floats:
    right = _by_decision(q.decided, own, 2)
    return confusion_value(case.reading, np.stack([np.bincount(q.decided, q.rows, 2) - right, right], axis=-2))


def _area(q: _Question, own: Floats) -> Floats:
    """Return ROC AUC of rows by bin, shape (..., cells) to (...)."""
    starts = np.flatnonzero(np.diff(q.bin, prepend=-1))
    mine = np.add.reduceat(own, starts, axis=-1)
    others = np.add.reduceat(q.rows - own, starts, axis=-1)
    below = others.cumsum(axis=-1) - others / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((mine * below).sum(axis=-1) / (mine.sum(axis=-1) * others.sum(axis=-1)))


def _calibration_error(q: _Question) -> Expected:
    """Return the calibration error that is expected, chance included: in each bin of the confidence the gap is about normal."""
    place = np.minimum((q.probability * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    into = (place[:, None] == np.arange(CALIBRATION_BINS)).astype(np.float64)
    n, gap = q.rows.sum(), (q.rows * q.probability - q.own) @ into
    spread = np.sqrt((q.rows * q.share * (1 - q.share)) @ into)
    ratio = np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0)
    of_chance = spread * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + gap * special.erf(ratio / math.sqrt(2))
    size = np.where(spread > 0, of_chance, np.abs(gap))
    return _linear(size.sum(axis=-1) / n, float((gap[0] ** 2 + spread**2 - size[0] ** 2).sum()) / n**2)


def _of_several(case: _Case) -> Expected:
    """Return a metric of several classes; variances of means over rows are those of all rows, which bound those given the answers."""
    n, name, questions = case.n, case.reading.name, case.questions
    if name == "accuracy":
        hits = _of_decided(case)
        return _linear(np.trace(case.table, axis1=-2, axis2=-1) / n, float((hits.rows * hits.share * (1 - hits.share)).sum()) / n**2)
    if name == COST:
        costs = _costs(case)
        mean = (case.table * costs).sum(axis=(-2, -1)) / n
        return _linear(mean, float((case.table[0] * costs**2).sum() / n - mean[0] ** 2) / n)
    if name in ("log_loss", "brier"):
        each = [q.loss if name == "log_loss" else -2 * q.probability for q in questions]
        mean = sum((q.own @ one for q, one in zip(questions, each, strict=True)), np.zeros(len(case.table))) / n
        squares = sum(float(q.own[0] @ one**2) for q, one in zip(questions, each, strict=True)) / n
        fixed = 1 + sum(float(q.rows @ q.probability**2) for q in questions) / n if name == "brier" else 0.0
        return _linear(mean + fixed, (squares - float(mean[0]) ** 2) / n)
    if name == "roc_auc":
        return _mean_area(case)
    if name == "calibration_error":
        return _calibration_error(_of_decided(case))
    return _several_confusion(case)


def _of_decided(case: _Case) -> _Question:
    """Return the cells of the classes that were decided, each as one question: was it right?"""
    parts: list[list[Any]] = [[] for _ in range(8)]
    for column, q in enumerate(case.questions):
        is_decided = q.decided == column
        fields = (q.bin, q.decided, q.rows, q.share, q.own, q.probability, q.loss, q.rest_loss)
        for part, one in zip(parts, fields, strict=True):
            part.append(one[..., is_decided])
    return _Question(*(np.concatenate(part, axis=-1) for part in parts))


def _mean_area(case: _Case) -> Expected:
    """Return the mean area over the classes of which a row at least is expected; their errors are taken to go together."""
    some = [q for q in case.questions if 1 <= q.own[0].sum() <= case.n - 1]
    if not some:
        return _linear(np.full(len(case.table), math.nan), math.nan)
    values = np.mean([_area(q, q.own) for q in some], axis=0)
    return _linear(values, float(np.mean([math.sqrt(_delta_variance(_area, q)) for q in some])) ** 2)


def _several_confusion(case: _Case) -> Expected:
    decided = case.table[0].sum(axis=0)
    generator = np.random.default_rng(0)
    columns = [
        generator.multinomial(round(rows), np.full(len(decided), 1 / len(decided)) if rows == 0 else column / column.sum(), DRAWS)
        for rows, column in zip(decided.tolist(), case.table[0].T, strict=True)
    ]
    drawn = _defined(confusion_value(case.reading, np.stack(columns, axis=-1).astype(np.float64)))
    values = confusion_value(case.reading, case.table)
    if not len(drawn):
        return _linear(values, math.nan)
    return _linear(values + drawn.mean() - values[0], float(drawn.var()))


def _defined(values: Floats) -> Floats:
    return values[np.isfinite(values)]
