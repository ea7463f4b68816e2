"""Champion against challenger on the same rows, and what follows from it (pure)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from training.evaluation.losses import METRICS, Metric
from training.evaluation.weighted import effective, weighted
from training.policies import GatePolicy, ProbationPolicy
from training.schema.prediction import Prediction

BLOCKS = 25
FEWEST_BLOCKS = 5
SMALLEST_BLOCK_ROWS = 8

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one prediction is better than another, in the metric's unit; positive is better.

    Attributes
    ----------
    estimate
        NaN where the rows do not define the metric.
    low, high
        One-sided bounds: each is passed by the true gain with probability `level`.
    n, blocks
        Rows compared, and into how many blocks of time they were cut.
    """

    estimate: float
    low: float
    high: float
    n: int
    blocks: int
    level: float

    @property
    def is_defined(self) -> bool:
        """Whether the metric and its uncertainty exist on these rows."""
        return math.isfinite(self.estimate) and math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a test between a champion and a challenger, with its reason and its evidence.

    Attributes
    ----------
    accepted
        Whether the challenger was shown to be better.
    difference
        None where it was not computed, the reason says why.
    champion_score, challenger_score
        The metric of each; NaN where it is not defined.
    """

    accepted: bool
    reason: str
    difference: Difference | None
    champion_score: float
    challenger_score: float
    n: int
    evidence: Mapping[str, Any]

    def refused(self, reason: str) -> Self:
        """Return the same test with the challenger refused for another reason than its outcome."""
        return replace(self, accepted=False, reason=reason, evidence={**self.evidence, "accepted": False, "reason": reason})


def jackknife_difference(
    metric: Metric, y: Labels, a: Prediction, b: Prediction, *, blocks: int = BLOCKS, level: float = 0.05, weights: Floats | None = None
) -> Difference:
    """Estimate by how much `b` is better than `a` on the same rows, leaving out one block of time after the other.

    Neighbouring rows are alike, and so are their errors; whole blocks are nearly independent, so their spread is honest
    where that of single rows is not. It works for every metric, also for those that are no mean over rows.

    Parameters
    ----------
    y
        The labels, shape (n,), in the order of time.
    a, b
        n rows each.
    blocks
        Contiguous blocks; fewer are made where they would have less than 8 rows.
    level
        Of each one-sided bound: Student's t with blocks - 1 degrees of freedom.
    weights
        How many rows each stands for, where labels were drawn.

    Raises
    ------
    ValueError
        The lengths differ.

    References
    ----------
    Efron and Tibshirani: An Introduction to the Bootstrap, chapter 11, 1993.
    Künsch: The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17, 1989.

    Examples
    --------
    >>> y = np.arange(100.0)
    >>> worse, better = Prediction(y + 1.0), Prediction(y + 0.5)
    >>> jackknife_difference(METRICS["mae"], y, worse, better).estimate
    0.5
    """
    n = len(y)
    if not len(a) == len(b) == n:
        raise ValueError(f"{n} labels, but {len(a)} and {len(b)} predictions")
    count = min(blocks, n // SMALLEST_BLOCK_ROWS)
    if count < FEWEST_BLOCKS:
        return Difference(math.nan, math.nan, math.nan, n, count, level)
    edges = np.linspace(0, n, count + 1).round().astype(np.intp)
    estimate = _gain(metric, y, a, b, weights)
    left_out = _gains_without_block(metric, y, a, b, edges, weights)
    spread = math.sqrt((count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum()))
    reach = float(stdtrit(count - 1, 1 - level)) * spread
    return Difference(estimate, estimate - reach, estimate + reach, n, count, level)


def decide(  # 8 parameters: two models, the rows they are judged on, and how
    champion: Prediction,
    challenger: Prediction,
    y: Labels,
    metric: Metric | str,
    policy: GatePolicy,
    *,
    champion_sha256: str | None = None,
    challenger_sha256: str | None = None,
    weights: Floats | None = None,
) -> Decision:
    """Decide whether a challenger replaces the champion; a tie keeps the champion, and so do rows that are all of one class.

    Parameters
    ----------
    champion, challenger
        On the same rows, in the order of time, that neither has seen.
    y
        The labels, shape (n,).
    metric
        What is compared; its direction is known.
    policy
        Rows wanted, least gain, level.
    champion_sha256, challenger_sha256
        Digests of the fitted bytes: equal ones are the same model.
    weights
        How many rows each stands for, where labels were drawn.
    """
    judged = METRICS[metric] if isinstance(metric, str) else metric
    digests = {"champion_model": champion_sha256, "challenger_model": challenger_sha256, "wanted_rows": policy.rows}
    if champion_sha256 is not None and champion_sha256 == challenger_sha256:
        return _refused("the challenger is the champion: their fitted bytes are equal", len(y), judged, digests)
    if len(y) < policy.rows:
        return _refused(f"too few rows to judge: {len(y)} of {policy.rows}", len(y), judged, digests)
    decision = _compare((champion, challenger), y, judged, policy.level, policy.minimum_gain, digests, weights)
    only = _only_class(y) if challenger.classes is not None else None
    if not decision.accepted or only is None:
        return decision
    reason = f"all {len(y)} rows to judge by are of class {only}: of one class the surest of it is the best, whatever else it takes for it"
    return decision.refused(reason)


def decide_rollback(
    current: Prediction,
    previous: Prediction,
    y: Labels,
    metric: Metric | str,
    policy: ProbationPolicy,
    look: int,
    weights: Floats | None = None,
) -> Decision:
    """Decide, at one of the planned looks, whether the previous champion is better than the current one.

    Parameters
    ----------
    current, previous
        On all rows since the promotion whose labels are in, in the order of time.
    look
        Which look this is, from 1; it is due at `look * policy.rows` rows and is taken once.
    weights
        How many rows each stands for, where labels were drawn.

    Returns
    -------
    `accepted` means: bring the previous champion back. In it the previous one stands as the challenger.
    """
    judged = METRICS[metric] if isinstance(metric, str) else metric
    level = look_level(look, policy.looks, policy.level)
    plan = {"look": look, "looks": policy.looks, "wanted_rows": look * policy.rows}
    if len(y) < look * policy.rows:
        return _refused(f"too few rows for look {look}: {len(y)} of {look * policy.rows}", len(y), judged, plan)
    return _compare((current, previous), y, judged, level, 0.0, plan, weights)


def look_level(k: int, looks: int, level: float) -> float:
    """Return the level of look k of some planned ones: all together are wrong with probability `level` at most (Bonferroni).

    Raises
    ------
    ValueError
        There is no such look.

    Examples
    --------
    >>> look_level(2, 4, 0.05)
    0.0125
    """
    if not 1 <= k <= looks:
        raise ValueError(f"look {k} is not one of the {looks} planned ones")
    return level / looks


def _compare(
    pair: tuple[Prediction, Prediction],
    y: Labels,
    metric: Metric,
    level: float,
    minimum_gain: float,
    more: Mapping[str, Any],
    weights: Floats | None,
) -> Decision:
    champion, challenger = pair
    if _are_equal(champion, challenger):
        return _refused("the challenger answers every judged row as the champion does", len(y), metric, more)
    difference = jackknife_difference(metric, y, champion, challenger, level=level, weights=weights)
    old, new = _score(metric, y, champion, weights), _score(metric, y, challenger, weights)
    accepted = difference.is_defined and difference.low > minimum_gain
    reason = _reason(metric, difference, minimum_gain)
    evidence = {
        **_evidence(accepted, reason, len(y), metric, more),
        "champion_score": old,
        "challenger_score": new,
        "gain": difference.estimate,
        "gain_low": difference.low,
        "gain_high": difference.high,
        "minimum_gain": minimum_gain,
        "level": level,
        "blocks": difference.blocks,
        **({} if weights is None else {"effective_rows": round(effective(weights))}),
    }
    return Decision(accepted, reason, difference, old, new, len(y), evidence)


def _reason(metric: Metric, difference: Difference, minimum_gain: float) -> str:
    if not difference.is_defined:
        return f"{metric.name} is not defined on these {difference.n} rows"
    bound = f"gain in {metric.name} {difference.estimate:.4g}, at least {difference.low:.4g} at level {difference.level:.3g}"
    if difference.low > minimum_gain:
        return f"better: {bound}, more than {minimum_gain:g} wanted"
    if difference.high < 0:
        return f"worse: {bound}"
    return f"a tie keeps the champion: {bound}, more than {minimum_gain:g} wanted"


def _only_class(y: Labels) -> object | None:
    """Return the class all labels are of; None where there are two."""
    return y[0] if len(y) and bool((y == y[0]).all()) else None


def _refused(reason: str, n: int, metric: Metric, more: Mapping[str, Any]) -> Decision:
    return Decision(False, reason, None, math.nan, math.nan, n, _evidence(False, reason, n, metric, more))


def _evidence(accepted: bool, reason: str, n: int, metric: Metric, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"accepted": accepted, "reason": reason, "n": n, "metric": metric.name, **more}


def _are_equal(a: Prediction, b: Prediction) -> bool:
    if a.probability is None or b.probability is None or a.classes is None:
        return a.probability is b.probability and np.array_equal(a.label, b.label)
    if set(a.classes) != set(b.classes or ()):
        return False
    other = b.aligned(a.classes).probability
    return other is not None and np.array_equal(a.label, b.label) and np.array_equal(a.probability, other)


def _score(metric: Metric, y: Labels, prediction: Prediction, weights: Floats | None) -> float:
    try:
        return float(metric.function(y, prediction)) if weights is None else weighted(metric, y, prediction, weights)
    except ValueError:  # the rows do not define it
        return math.nan


def _gain(metric: Metric, y: Labels, a: Prediction, b: Prediction, weights: Floats | None) -> float:
    return metric.gain(_score(metric, y, b, weights), _score(metric, y, a, weights))


def _gains_without_block(
    metric: Metric, y: Labels, a: Prediction, b: Prediction, edges: npt.NDArray[np.intp], weights: Floats | None
) -> Floats:
    """Return the gain with each block left out; by sums where the metric is a mean over rows."""
    if metric.per_row_loss is not None:
        each = np.ones(len(y)) if weights is None else weights
        gains = (metric.per_row_loss(y, a) - metric.per_row_loss(y, b)) * each
        sums, sizes = np.add.reduceat(gains, edges[:-1]), np.add.reduceat(each, edges[:-1])
        with np.errstate(invalid="ignore", divide="ignore"):  # one block may stand for all rows
            left: Floats = (gains.sum() - sums) / (each.sum() - sizes)
        return left
    keeps = np.ones((len(edges) - 1, len(y)), dtype=bool)
    for keep, start, stop in zip(keeps, edges[:-1], edges[1:], strict=True):
        keep[start:stop] = False
    some = [None] * len(keeps) if weights is None else [weights[keep] for keep in keeps]
    return np.array([_gain(metric, y[keep], a.take(keep), b.take(keep), each) for keep, each in zip(keeps, some, strict=True)])
