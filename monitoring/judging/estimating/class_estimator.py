"""Estimates for classes: a calibration, and all that was learned beside it from the same labelled rows (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitoring.judging.estimating.answers import Answers, Cells, add_up_answers
from monitoring.judging.estimating.bands import (
    FEWEST_BLOCKS,
    LEAST_OF_BUCKET,
    LEAST_REFERENCE,
    LONGER,
    MOST_STRETCHES,
    Estimate,
    Restlessness,
    band,
    blocks_of,
    excess,
    jackknife_variance,
)
from monitoring.judging.estimating.calibration import Calibration, learn_calibration
from monitoring.judging.estimating.cbpe import OF_CLASSES, expected_metric, outside
from monitoring.judging.performance.live_metrics import Reading
from monitoring.judging.performance.outcome_sums import SCORE_BINS, OutcomeSums, add_up

LEAST_OF_CLASS = 20  # labelled rows of each of two classes in the reference


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of rows of one version: those with labels in sums, and what was answered for all; `start_us` is when it begins."""

    sums: OutcomeSums
    answers: Answers
    start_us: int = 0

    def plus(self, other: Bucket) -> Bucket:
        """Return the rows of both."""
        return Bucket(self.sums.plus(other.sums), self.answers.plus(other.answers), self.start_us)


@dataclass(frozen=True, slots=True, eq=False)
class ClassEstimator:
    """What a metric comes to without labels, by confidence-based performance estimation (CBPE).

    Attributes
    ----------
    calibration
        Learned from the reference.
    restless
        How restless its buckets were.
    block_of
        The block of each bucket of the reference, by when it begins.
    is_held_out
        Whether it was learned from rows that the training held out.
    """

    reading: Reading
    calibration: Calibration
    restless: Restlessness
    block_of: Mapping[int, int] = field(default_factory=dict)
    is_held_out: bool = False

    def estimate(self, answers: Answers, buckets: int = 1, block: int | None = None) -> Estimate | None:
        """Return what the metric of some rows is expected to be, with its band.

        Parameters
        ----------
        answers
            What the same version answered for them.
        buckets
            Over how many buckets they spread.
        block
            Of rows that are in the reference: their block of it, which is left out then.

        Returns
        -------
        None where they do not define it.
        """
        expected = expected_metric(self.reading, answers, self.calibration)
        if expected is None:
            return None
        if block is not None:
            expected = expected._replace(value=float(expected.left_out[block]))
        low, high = band(expected, self.restless.of(buckets), self.reading.metric)
        beyond = outside(answers, self.calibration)
        return Estimate(
            self.reading.name, "CBPE", expected.value, low, high, answers.n, self.calibration.n, beyond, is_held_out=self.is_held_out
        )


def learn_class_estimator(reading: Reading, buckets: Sequence[Bucket]) -> ClassEstimator | str:
    """Learn from matured buckets of one version, in order; or say why nothing can be estimated.

    Examples
    --------
    >>> learn_class_estimator(Reading("accuracy", ("no", "yes")), [])
    'no estimate: 0 of 500 labelled rows of this version have matured'
    """
    if reading.name not in OF_CLASSES:
        return f"no estimate: {reading.name} does not follow from probabilities"
    some = [one for one in buckets if one.sums.n and one.sums.scores]
    n = sum(one.sums.n for one in some)
    if n < LEAST_REFERENCE:
        return f"no estimate: {n} of {LEAST_REFERENCE} labelled rows of this version have matured"
    block = blocks_of([one.sums.n for one in some])
    parts = [[one for one, place in zip(some, block.tolist(), strict=True) if place == number] for number in range(int(block.max()) + 1)]
    if len(parts) < FEWEST_BLOCKS:
        return f"no estimate: the matured labelled rows lie in {len(parts)} buckets, and {FEWEST_BLOCKS} are the fewest"
    joined = [add_up(one.sums for one in part) for part in parts]
    rare = _rare_class(joined, reading)
    if rare is not None:
        return rare
    calibration = learn_calibration(joined, reading.classes)
    block_of = {one.start_us: number for one, number in zip(some, block.tolist(), strict=True)}
    return ClassEstimator(reading, calibration, _restlessness(reading, calibration, parts), block_of)


def _rare_class(blocks: Sequence[OutcomeSums], reading: Reading) -> str | None:
    if len(reading.classes) != 2:
        return None
    positive = reading.classes[-1]
    sides = [sum(sum(block.scores.get(positive, ({}, {}))[side].values()) for block in blocks) for side in (0, 1)]
    for name, rows in zip(reading.classes, sides, strict=True):
        if rows < LEAST_OF_CLASS:
            return f"no estimate: {rows} matured labelled rows are of class {name}, and {LEAST_OF_CLASS} are the fewest"
    return None


def _restlessness(reading: Reading, calibration: Calibration, parts: Sequence[Sequence[Bucket]]) -> Restlessness:
    singles = [(number, one) for number, part in enumerate(parts) for one in part if one.sums.n >= LEAST_OF_BUCKET]
    of_bucket = _excess(reading, calibration, singles[:: len(singles) // MOST_STRETCHES + 1])
    length = sum(map(len, parts)) / len(parts)
    if length < LONGER:
        return Restlessness(of_bucket, of_bucket)
    blocks = [
        (number, Bucket(add_up(one.sums for one in part), add_up_answers(labelled_answers(one) or Answers() for one in part)))
        for number, part in enumerate(parts)
    ]
    return Restlessness(of_bucket, _excess(reading, calibration, blocks), length)


def _excess(reading: Reading, calibration: Calibration, stretches: Sequence[tuple[int, Bucket]]) -> float:
    """Return how far stretches of the reference were off what the other blocks said of them."""
    realised, guessed, variances = [], [], []
    for number, one in stretches:
        answers = labelled_answers(one)
        expected = None if answers is None else expected_metric(reading, answers, calibration)
        if expected is not None and math.isfinite(expected.variance):
            realised.append(reading.value(one.sums))
            guessed.append(float(expected.left_out[number]))
            variances.append(expected.variance + jackknife_variance(expected.left_out))
    return excess(realised, guessed, variances)


def labelled_answers(bucket: Bucket) -> Answers | None:
    """Return what was answered for the labelled rows of a bucket: of each bin of the score the share that is labelled.

    Returns
    -------
    None where more rows are labelled than were counted: some came before answers were.
    """
    sums, answers = bucket.sums, bucket.answers
    if not sums.n or sums.n > answers.n:
        return None
    if sums.n == answers.n:
        return answers
    k, cells = len(answers.classes), {}
    for name, one in answers.cells.items():
        at = one.at // k
        labelled, counted = np.zeros(SCORE_BINS), np.bincount(at, one.rows, SCORE_BINS)
        for side in sums.scores.get(name, ({}, {})):
            labelled[list(side)] += list(side.values())
        share = np.divide(labelled, counted, out=np.zeros_like(labelled), where=counted > 0)[at]
        has_rows = share > 0
        cells[name] = Cells(one.at[has_rows], (one.rows * share)[has_rows], (one.odds * share)[has_rows])
    return Answers(sums.n, answers.classes, cells)
