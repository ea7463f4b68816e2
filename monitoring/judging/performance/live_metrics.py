"""Every metric from the sums of labelled rows, with its interval; and what is asked of segments besides (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from monitoring.judging.performance.baseline import BucketLoss
from monitoring.judging.performance.outcome_sums import SCORE_BINS, OutcomeSums, add_up, joined_moments
from monitoring.judging.performance.scores import BLOCKS, FEWEST_BLOCKS, NORMAL_975, SMALLEST_BLOCK_ROWS, Correction, Score
from training.evaluation.losses import CALIBRATION_BINS, COST, METRICS, Metric, confusion_scores, cost_metric
from training.evaluation.own_metric import is_own, own_metric
from training.evaluation.scores import wilson
from training.schema.costs import Costs
from training.schema.rows import object_column

Floats = npt.NDArray[np.float64]
DRAWS = 400
SELECTION_RATE, TRUE_POSITIVE_RATE, CALIBRATION_GAP, MEAN_ERROR = "selection_rate", "true_positive_rate", "calibration_gap", "mean_error"
LOSS_OF = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "precision", "recall", "f1"), "miss"),
    **dict.fromkeys(("log_loss", "roc_auc", "calibration_error"), "log_loss"),
    **dict.fromkeys(("mae", "rmse", "r2"), "absolute_error"),
    "brier": "brier",
    COST: COST,
}
"""By metric the loss of a row that stands for it where losses are added up one by one: some are no mean over rows."""
OWN = "own"  # the losses of a metric of a user's own
_RATE = (0.0, 1.0)
_FAIR = {
    name: Metric(name, True, (), lambda _y, _prediction: math.nan, range=limits)
    for name, limits in (
        (SELECTION_RATE, _RATE), (TRUE_POSITIVE_RATE, _RATE), (CALIBRATION_GAP, (-1.0, 1.0)), (MEAN_ERROR, (-math.inf, math.inf)),
    )
}  # fmt: skip
CONFUSED = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", SELECTION_RATE, TRUE_POSITIVE_RATE)


@dataclass(frozen=True, slots=True)
class Reading:
    """How sums are read.

    Attributes
    ----------
    name
        A metric of `training.evaluation.losses.METRICS`, `cost`, or one that is asked of segments: `selection_rate`,
        `true_positive_rate`, `calibration_gap` (how much more likely the positive class was said to be than it was), `mean_error`.
    classes
        The classes that the model knows, in its order; of two the last is the positive one. Empty for a regression.
    costs
        What mistakes cost, for `cost`.

    Examples
    --------
    >>> sums = OutcomeSums(4, ("no", "yes"), {("no", "no"): 1, ("yes", "yes"): 2, ("yes", "no"): 1})
    >>> Reading("accuracy", ("no", "yes")).value(sums), round(Reading("recall", ("no", "yes")).value(sums), 3)
    (0.75, 0.667)
    """

    name: str
    classes: tuple[str, ...] = ()
    costs: Costs | None = None

    @property
    def metric(self) -> Metric:
        """The metric, or what it may be."""
        if self.name == COST and self.costs is not None:
            return cost_metric(self.costs)
        if is_own(self.name):
            return own_metric(self.name)
        return _FAIR[self.name] if self.name in _FAIR else METRICS[self.name]

    @property
    def loss(self) -> str:
        """The loss of a row that stands for it."""
        return OWN if is_own(self.name) else LOSS_OF[self.name]

    def value(self, sums: OutcomeSums) -> float:
        """Return the metric over the rows of some sums; NaN where they do not define it."""
        return _VALUES.get(self.name, _plain_value)(self, sums) if sums.n else math.nan

    def over(self, blocks: Sequence[OutcomeSums], coverage: float = 1.0) -> Score | None:
        """Return the metric over neighbouring buckets, with its delete-one-block jackknife interval.

        Parameters
        ----------
        blocks
            Sums of buckets, in order; up to 25 blocks of neighbours with about as many rows each are left out one at a time.

        Returns
        -------
        None with fewer than three blocks of eight rows, or where it is not defined on all that are left.

        References
        ----------
        Kuensch, "The jackknife and the bootstrap for general stationary observations" (1989); Busing, Meijer, van der Leeden,
        "Delete-m jackknife for unequal m" (1999).
        """
        left_out = leave_one_out(blocks)
        return None if left_out is None else self.jackknife(left_out, coverage)

    def jackknife(self, blocks: LeftOut, coverage: float = 1.0) -> Score | None:
        """Return the same as `over`, of blocks that were left out once for several metrics."""
        whole, rows = blocks.whole, blocks.rows
        value = self.value(whole)
        left_out = np.array([self.value(rest) for rest in blocks.rests])
        if not (math.isfinite(value) and np.isfinite(left_out).all()):
            return None
        times = whole.n / rows
        pseudo = times * value - (times - 1) * left_out
        centre = len(rows) * value - float(((1 - rows / whole.n) * left_out).sum())
        variance = float(((pseudo - centre) ** 2 / (times - 1)).mean())
        half = float(special.stdtrit(len(rows) - 1, 0.975)) * math.sqrt(variance)
        return Score(self.name, value, *self.metric.interval(value, half), whole.n, coverage)

    def within(self, sums: OutcomeSums) -> tuple[float, float]:
        """Return the 95 % interval of the metric over one bucket, whose rows are taken as independent; NaN where none is known.

        References
        ----------
        Wilson (1927) for shares; DeLong, DeLong, Clarke-Pearson (1988) for ROC AUC; 400 tables drawn for what is no mean.
        """
        value = self.value(sums)
        if math.isnan(value):
            return math.nan, math.nan
        if self.name == "accuracy":
            return wilson(value * sums.n, sums.n)
        if self.name in CONFUSED:
            return _of_draws(self, sums)
        if self.name in ("calibration_error", CALIBRATION_GAP):
            return _of_drawn_hits(self, sums)
        error = _standard_error(self, sums, value)
        return self.metric.interval(value, NORMAL_975 * error) if math.isfinite(error) else (math.nan, math.nan)

    def bucket_loss(self, bucket_us: int, sums: OutcomeSums, segment: str = "") -> BucketLoss:
        """Return mean and variance of the rows' losses in a bucket: of the loss that stands for the metric."""
        total, squares = loss_sums(self, sums)
        mean = total / sums.n
        return BucketLoss(bucket_us, sums.n, mean, max(squares / sums.n - mean**2, 0.0), segment)


@dataclass(frozen=True, slots=True)
class SegmentScore:
    """A metric over mature, covered buckets of one segment (empty: of all rows), with its jackknife interval.

    Attributes
    ----------
    correction
        What was done to it where rows without a label differ in score from the others; None where they may not.
    """

    segment: str
    score: Score
    correction: Correction | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        corrected = {} if self.correction is None else self.correction.to_dict()
        return {"segment": self.segment, **self.score.to_dict(), **corrected}


def fairness_names(task: str, metric: str) -> tuple[str, ...]:
    """Return what is asked of each segment: the metric itself, and what is compared between groups of people.

    Examples
    --------
    >>> fairness_names("binary", "log_loss")
    ('log_loss', 'selection_rate', 'true_positive_rate', 'calibration_gap')
    """
    more = {
        "binary": (SELECTION_RATE, TRUE_POSITIVE_RATE, CALIBRATION_GAP),
        "multiclass": ("accuracy", "calibration_error"),
        "regression": (MEAN_ERROR,),
    }
    return (metric, *(name for name in more[task] if name != metric))


NOTHING = OutcomeSums()


class LeftOut(NamedTuple):
    """Sums of all blocks, of all but one of them, and the rows of each."""

    whole: OutcomeSums
    rests: list[OutcomeSums]
    rows: npt.NDArray[np.float64]


def leave_one_out(buckets: Sequence[OutcomeSums]) -> LeftOut | None:
    """Return the sums of neighbouring buckets without one block each; None with fewer than three blocks of eight rows."""
    parts = joined_blocks(buckets)
    if len(parts) < FEWEST_BLOCKS:
        return None
    whole = add_up(parts)
    before, behind = (
        list(accumulate(parts, _of_target, initial=NOTHING))[:-1],
        list(accumulate(parts[::-1], _of_target, initial=NOTHING))[-2::-1],
    )
    targets = [joined_moments(one.n, one.target, other.n, other.target) for one, other in zip(before, behind, strict=True)]
    rests = [replace(whole.minus(part), target=target) for part, target in zip(parts, targets, strict=True)]
    return LeftOut(whole, rests, np.array([part.n for part in parts], dtype=np.float64))


def _of_target(before: OutcomeSums, part: OutcomeSums) -> OutcomeSums:
    """Return rows and target of both: squared distances are joined and not taken off, which would cost digits."""
    return OutcomeSums(before.n + part.n, target=joined_moments(before.n, before.target, part.n, part.target))


def joined_blocks(buckets: Sequence[OutcomeSums]) -> list[OutcomeSums]:
    """Return up to 25 blocks of neighbouring buckets, of about as many rows each, of eight at least; what is such already stays."""
    some = [one for one in buckets if one.n]
    if len(some) <= BLOCKS and all(one.n >= SMALLEST_BLOCK_ROWS for one in some):
        return some
    rows = sum(one.n for one in some)
    number = min(BLOCKS, rows // SMALLEST_BLOCK_ROWS, len(some))
    if not number:
        return []
    parts: dict[int, list[OutcomeSums]] = {}
    before = 0
    for one in some:
        parts.setdefault(int((before + one.n / 2) * number / rows), []).append(one)
        before += one.n
    joined = [add_up(part) for _, part in sorted(parts.items())]
    while len(joined) > 1 and (small := min(range(len(joined)), key=lambda at: joined[at].n)) is not None:
        if joined[small].n >= SMALLEST_BLOCK_ROWS:
            break
        near = small - 1 if small == len(joined) - 1 or (small and joined[small - 1].n <= joined[small + 1].n) else small + 1
        first = min(small, near)
        joined[first : first + 2] = [joined[first].plus(joined[first + 1])]
    return joined


def _table(reading: Reading, sums: OutcomeSums) -> npt.NDArray[np.int64]:
    """Return the table of the classes, then of others that occur: of two the positive one stays where it is asked for by its place."""
    others = sorted({name for pair in sums.confusion for name in pair} - set(reading.classes))
    return confusion_table(sums, (*reading.classes, *others))


def confusion_table(sums: OutcomeSums, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the rows by true (row) and predicted (column) class, in the order of the names."""
    place = {name: number for number, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    for (true, predicted), n in sums.confusion.items():
        table[place[true], place[predicted]] += n
    return table


def confusion_value(reading: Reading, table: npt.NDArray[Any]) -> Floats:
    """Return a metric of confusion tables, shape (..., k, k)."""
    positive = len(reading.classes) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        if reading.name == SELECTION_RATE:
            return np.asarray(table[..., :, positive].sum(-1) / table.sum((-2, -1)))
        if reading.name == TRUE_POSITIVE_RATE:
            return np.asarray(table[..., positive, positive] / table[..., positive, :].sum(-1))
        return confusion_scores(table, binary=len(reading.classes) == 2)[reading.name]


def auc_questions_of(reading: Reading, sums: OutcomeSums) -> list[tuple[Floats, Floats]]:
    """Return the rows by bin (of others, of the class) for each one-against-rest question with both present."""
    classes = reading.classes
    parts = []
    for name in classes[-1:] if len(classes) == 2 else classes:
        if name not in sums.scores:
            continue
        others, own = (np.zeros(SCORE_BINS) for _ in range(2))
        for into, cells in zip((others, own), sums.scores[name], strict=True):
            into[list(cells)] = list(cells.values())
        unknown = sums.n - others.sum() - own.sum()  # of versions that do not know the class: they gave it no probability
        if unknown:
            hits = sum(n for (true, _), n in sums.confusion.items() if true == name) - own.sum()
            own[0] += hits
            others[0] += unknown - hits
        if others.sum() and own.sum():
            parts.append((others, own))
    return parts


def _auc(reading: Reading, sums: OutcomeSums) -> float:
    parts = auc_questions_of(reading, sums)
    return float(np.mean([_area(others, own) for others, own in parts])) if parts else math.nan


def _area(others: Floats, own: Floats) -> float:
    return float(own @ (others.cumsum() - others / 2) / (own.sum() * others.sum()))


def _auc_error(reading: Reading, sums: OutcomeSums) -> float:
    """Return the standard error of ROC AUC; of several questions the mean of theirs, as if they erred together."""
    errors = []
    for others, own in auc_questions_of(reading, sums):
        n, m, area = others.sum(), own.sum(), _area(others, own)
        if min(n, m) < 2:
            return math.nan
        above = (others.cumsum() - others / 2) / n
        below = 1 - (own.cumsum() - own / 2) / m
        errors.append(math.sqrt(own @ (above - area) ** 2 / (m - 1) / m + others @ (below - area) ** 2 / (n - 1) / n))
    return float(np.mean(errors)) if errors else math.nan


def _calibration_error(_reading: Reading, sums: OutcomeSums) -> float:
    return sum(abs(one.sure - one.hits) for one in sums.confidence.values()) / sums.n


def _calibration_gap(_reading: Reading, sums: OutcomeSums) -> float:
    return sum(one.sure - one.hits for one in sums.confidence.values()) / sums.n


def _r2(_reading: Reading, sums: OutcomeSums) -> float:
    if sums.target is None or sums.target.least == sums.target.most:
        return math.nan
    return 1.0 - sums.losses["squared_error"][0] / sums.target.squares


def loss_sums(reading: Reading, sums: OutcomeSums) -> tuple[float, float]:
    """Return the sum of the rows' losses, and of their squares."""
    if reading.loss == "miss":
        wrong = float(sum(n for (true, predicted), n in sums.confusion.items() if true != predicted))
        return wrong, wrong
    if reading.loss == COST:
        return _cost_sums(reading, sums)
    total, squares = sums.losses[reading.loss]
    return (total / 2, squares / 4) if reading.loss == "brier" and len(reading.classes) == 2 else (total, squares)


def _cost_sums(reading: Reading, sums: OutcomeSums) -> tuple[float, float]:
    if reading.costs is None:
        raise ValueError("what mistakes cost is not known")
    true, decided = (object_column([pair[side] for pair in sums.confusion]) for side in (0, 1))
    each, rows = reading.costs.of_rows(true, decided), np.array(list(sums.confusion.values()), dtype=np.float64)
    return float(rows @ each), float(rows @ each**2)


def _plain_value(reading: Reading, sums: OutcomeSums) -> float:
    """Return a metric that follows from the confusion table, or is a mean over rows."""
    return float(confusion_value(reading, _table(reading, sums))) if reading.name in CONFUSED else loss_sums(reading, sums)[0] / sums.n


def _standard_error(reading: Reading, sums: OutcomeSums, value: float) -> float:
    """Return the standard error of a mean over rows, of ROC AUC, or of the root of a mean square."""
    if reading.name == "roc_auc":
        return _auc_error(reading, sums)
    if reading.name == "r2":
        return math.nan
    name = {"rmse": "squared_error", MEAN_ERROR: "error"}.get(reading.name)
    total, squares = loss_sums(reading, sums) if name is None else sums.losses[name]
    error = math.sqrt(max(squares / sums.n - (total / sums.n) ** 2, 0.0) / sums.n)
    if reading.name == "rmse":
        return error / (2 * value) if value else 0.0
    return error


def _of_draws(reading: Reading, sums: OutcomeSums) -> tuple[float, float]:
    """Draw confusion tables like this one (seeded) and return the middle 95 % of the metric."""
    table = _table(reading, sums)
    draws = np.random.default_rng(0).multinomial(sums.n, table.ravel() / sums.n, DRAWS).reshape(-1, *table.shape)
    return _middle(confusion_value(reading, draws))


def _of_drawn_hits(reading: Reading, sums: OutcomeSums) -> tuple[float, float]:
    """Draw how many of each bin of the confidence are hit (seeded) and return the middle 95 % of the metric."""
    n, sure, hits = (np.zeros(CALIBRATION_BINS) for _ in range(3))
    for place, one in sums.confidence.items():
        n[place], sure[place], hits[place] = one
    drawn = np.random.default_rng(0).binomial(n.astype(np.int64), np.divide(hits, n, where=n > 0, out=np.zeros_like(n)), (DRAWS, len(n)))
    gaps = sure - drawn
    return _middle((np.abs(gaps) if reading.name == "calibration_error" else gaps).sum(axis=1) / sums.n)


def _middle(values: Iterable[float] | Floats) -> tuple[float, float]:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return (math.nan, math.nan) if not len(known) else (float(np.quantile(known, 0.025)), float(np.quantile(known, 0.975)))


_VALUES: dict[str, Callable[[Reading, OutcomeSums], float]] = {
    "roc_auc": _auc,
    "calibration_error": _calibration_error,
    CALIBRATION_GAP: _calibration_gap,
    "r2": _r2,
    "rmse": lambda _reading, sums: math.sqrt(sums.losses["squared_error"][0] / sums.n),
    MEAN_ERROR: lambda _reading, sums: sums.losses["error"][0] / sums.n,
}
