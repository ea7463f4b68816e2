"""What a slot knows of performance without labels, or why it knows nothing (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.judging.estimating.answers import Answers, Cells, add_up_answers
from monitoring.judging.estimating.bands import Estimate
from monitoring.judging.estimating.cbpe import expected_metric
from monitoring.judging.estimating.class_estimator import Bucket, ClassEstimator, labelled_answers
from monitoring.judging.estimating.prediction_powered import LEAST_LABELS, powered_mean
from monitoring.judging.estimating.value_estimator import ValueEstimator
from training.evaluation.losses import COST
from training.profiles.bins import Profile

MEANS = ("accuracy", "log_loss", "brier", COST)
"""The metrics of classes that are means over rows: of others labels and estimates cannot be joined."""
MUCH_OUTSIDE = 0.01  # of the rows: what lies beyond the reference is worth a word
DIFFERENT = 3.0  # standard errors by which labelled rows differ in what is expected of them: no fair draw


@dataclass(frozen=True, slots=True)
class Estimated:
    """The estimates of a window; they trigger nothing.

    Attributes
    ----------
    lines
        One for each method, that without labels first.
    missing
        Why there is none, or none with labels.
    """

    lines: tuple[Estimate, ...] = ()
    missing: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """Say each estimate with what it assumes, and what cannot be known.

        Examples
        --------
        >>> Estimated((Estimate("mae", "DLE", 0.8, 0.7, 0.9, 90, 2000, 0.25),)).sentences()[0].partition(":")[0]
        'mae 0.8 [0.7, 0.9] by DLE from 2,000 labelled rows'
        """
        return (*map(sentence, self.lines), *self.missing)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"lines": [line.to_dict() for line in self.lines], "missing": list(self.missing)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Estimated:
        """Read what `to_dict` wrote."""
        return cls(tuple(Estimate(**line) for line in stored["lines"]), tuple(stored["missing"]))


def sentence(line: Estimate) -> str:
    """Say an estimate with what it assumes."""
    rests_on = f" and {line.labels:,} labels among the {line.n:,} rows" if line.labels else ""
    what = f"{line.metric} {line.value:.4g} [{line.low:.4g}, {line.high:.4g}] by {line.method}"
    beyond = f"; {line.outside:.0%} of the {line.n:,} rows lie beyond them" if line.outside >= MUCH_OUTSIDE else ""
    reference = f"{line.learned_from:,} rows that the training held out" if line.is_held_out else f"{line.learned_from:,} labelled rows"
    return f"{what} from {reference}{rests_on}: {line.assumption}{beyond}"


def estimate_values(estimator: ValueEstimator | str, counted: Sequence[Profile]) -> Estimated:
    """Return the estimate of a window of buckets that one version answered, from their counts."""
    if isinstance(estimator, str):
        return Estimated(missing=(estimator,))
    whole = reduce(Profile.merge, counted) if counted else None
    line = None if whole is None else estimator.estimate(whole.counts, whole.rows, len(counted))
    if line is None:
        return Estimated(missing=("no estimate: in this window there are no rows, or they were counted under other bins",))
    return Estimated((line,))


@dataclass(frozen=True, slots=True, eq=False)
class LabelledValues:
    """The labelled rows of a bucket of numbers.

    Attributes
    ----------
    loss
        The mean of what the estimator's model is of: absolute errors, or for `rmse` squared ones.
    counts
        Rows by bin, by column.
    """

    n: int
    loss: float
    counts: Mapping[str, npt.NDArray[np.int64]]


def join_values(estimated: Estimated, estimator: ValueEstimator, buckets: Sequence[tuple[Profile, LabelledValues | None]]) -> Estimated:
    """Return the estimate of a window, and that with the labels of its buckets, which are none or some of the rows counted in each.

    Of `rmse` the mean squared error is what is joined; value and bounds are its roots.
    """
    labels, n = sum(0 if own is None else own.n for _, own in buckets), sum(counted.rows for counted, _ in buckets)
    if not estimated.lines or labels < LEAST_LABELS or labels >= n:
        return estimated
    labelled, loss, guess, others, guess_of_others = np.zeros((5, len(buckets)))
    for place, (counted, own) in enumerate(buckets):
        rest, left = counted.rows, dict(counted.counts)
        if own is not None:
            labelled[place], loss[place], guess[place] = own.n, own.loss, estimator.mean_loss(own.counts)
            rest -= own.n
            left = {name: np.maximum(left[name] - counts, 0) for name, counts in own.counts.items()}
        if rest > 0:
            others[place], guess_of_others[place] = rest, estimator.mean_loss(left)
    known = np.isfinite(guess) & np.isfinite(guess_of_others)
    powered = powered_mean(*(one[known] for one in (labelled, loss, guess, others, guess_of_others)))
    if powered is None:
        return Estimated(estimated.lines, ("labels are not joined with the estimate: they lie in fewer than five buckets",))
    if powered.apart > DIFFERENT:
        return Estimated(estimated.lines, (_apart(powered.apart),))
    ends = (powered.value, powered.value - powered.half, powered.value + powered.half)
    value, low, high = (math.sqrt(max(end, 0.0)) if estimator.metric == "rmse" else max(end, 0.0) for end in ends)
    line = estimated.lines[0]
    joined = Estimate(line.metric, "PPI++", value, low, high, n, line.learned_from, line.outside, labels, is_held_out=line.is_held_out)
    return Estimated((line, joined))


def _apart(errors: float) -> str:
    return f"labels are not joined with the estimate: the rows that have one differ in score from the others ({errors:.1f} errors)"


def estimate_classes(estimator: ClassEstimator | str, buckets: Sequence[Bucket]) -> Estimated:
    """Return the estimates of a window of buckets of one version."""
    if isinstance(estimator, str):
        return Estimated(missing=(estimator,))
    some = [one for one in buckets if one.answers.n]
    line = estimator.estimate(add_up_answers(one.answers for one in some), len(some))
    if line is None:
        return Estimated(missing=("no estimate: in this window there are no answers of which scores were counted",))
    joined = _joined(estimator, some)
    if isinstance(joined, Estimate):
        return Estimated((line, joined))
    return Estimated((line,), () if joined is None else (joined,))


def _joined(estimator: ClassEstimator, buckets: Sequence[Bucket]) -> Estimate | str | None:
    """Return the estimate with the labels of the window; why there is none, or None where nothing is to be said."""
    reading = estimator.reading
    labels, n = sum(one.sums.n for one in buckets), sum(one.answers.n for one in buckets)
    if labels < LEAST_LABELS or labels >= n:
        return None
    if reading.name not in MEANS:
        return f"labels are not joined with the estimate: {reading.name} is no mean over rows"
    zeros = np.zeros((5, len(buckets)))
    labelled, loss, guess, others, guess_of_others = zeros
    for place, one in enumerate(buckets):
        own = labelled_answers(one)
        rest = one.answers if own is None else _others(one.answers, own)
        of_own, of_rest = (None if part is None else expected_metric(reading, part, estimator.calibration) for part in (own, rest))
        if of_own is not None:
            labelled[place], loss[place], guess[place] = one.sums.n, reading.value(one.sums), of_own.value
        if of_rest is not None and rest is not None:
            others[place], guess_of_others[place] = rest.n, of_rest.value
    powered = powered_mean(labelled, loss, guess, others, guess_of_others)
    if powered is None:
        return "labels are not joined with the estimate: they lie in fewer than five buckets"
    if powered.apart > DIFFERENT:
        return _apart(powered.apart)
    low, high = reading.metric.interval(powered.value, powered.half)
    return Estimate(reading.name, "PPI++", powered.value, low, high, n, estimator.calibration.n, labels=labels)


def _others(answers: Answers, own: Answers) -> Answers | None:
    """Return what was answered for the rows that are not among some of them; None where there are none."""
    if own.n >= answers.n:
        return None
    cells = {}
    for name, one in answers.cells.items():
        less = dict(
            zip(own.cells[name].at.tolist(), zip(own.cells[name].rows.tolist(), own.cells[name].odds.tolist(), strict=True), strict=True)
        )
        rows, odds = np.array([less.get(at, (0.0, 0.0)) for at in one.at.tolist()]).reshape(-1, 2).T
        left = one.rows - rows
        keep = left > 1e-9
        cells[name] = Cells(one.at[keep], left[keep], (one.odds - odds)[keep])
    return Answers(answers.n - own.n, answers.classes, cells)
