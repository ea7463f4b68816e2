"""Live performance on matured labelled rows, with intervals, against a baseline (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from training.evaluation.gate import Difference
from training.evaluation.losses import COST, METRICS, Floats, Metric, gain, range_of
from training.evaluation.weighted import effective, weighted
from training.schema.prediction import Prediction

BLOCKS = 25
FEWEST_BLOCKS = 3
SMALLEST_BLOCK_ROWS = 8
NORMAL_975 = 1.959964  # the 97.5 % point of the normal distribution
RELATIVE = frozenset({"mae", "rmse", "log_loss", COST})  # metrics without a natural scale: their tolerance is a share of the baseline

CHALLENGER_LIVE = "challenger_live"  # in the evidence of a promotion: the score on the gate's rows, which are live ones

CORRECTED = ("weighted", "unweighted", "worst_low", "worst_high")
"""What stands beside a metric that was corrected: how labelled rows differ, the metric as they are, and its worst case."""

Function = Callable[[npt.NDArray[Any], Prediction], float]


@dataclass(frozen=True, slots=True)
class Score:
    """A metric on some rows: value with a 95 % interval that allows for neighbours being alike.

    Attributes
    ----------
    n, coverage
        Rows it stands on, and the share of all predictions of that span that are labelled.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    coverage: float = 1.0

    @property
    def standard_error(self) -> float:
        """Half the interval's width in units of the normal distribution's 97.5 % point; where a side was cut, the other side is half.

        Examples
        --------
        >>> Score("mae", 1.0, 0.0, 3.0, 24).standard_error == Score("mae", 3.0, 1.0, 5.0, 24).standard_error
        True
        """
        least, most = range_of(self.metric)
        is_cut = self.metric == COST or self.low <= least < self.value or self.value < most <= self.high  # costs: what they are tells it
        half = max(self.value - self.low, self.high - self.value) if is_cut else (self.high - self.low) / 2
        return half / NORMAL_975

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Correction:
    """What was done to a metric because labels are missing.

    Attributes
    ----------
    sentence
        How labelled rows differ from the others, and what follows.
    unweighted
        The metric of the labelled rows as they are.
    worst
        Between what it lies, whatever is true of the rows without a label; None where there is no bound.
    """

    sentence: str
    unweighted: float
    worst: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        low, high = self.worst or (None, None)
        values = {"unweighted": None if math.isnan(self.unweighted) else self.unweighted, "worst_low": low, "worst_high": high}
        return {"weighted": self.sentence, **{name: None if value is None else round(value, 6) for name, value in values.items()}}


@dataclass(frozen=True, slots=True)
class PerformanceTest:
    """One look at newly matured rows: is the live score worse than the baseline by more than the tolerance?

    Attributes
    ----------
    loss, loss_low
        How much worse than the baseline (positive is worse), and the lower one-sided bound of that.
    tolerance
        What `loss_low` must exceed, in the metric's unit.
    through_us
        Rows up to here are spent; the next test starts after it.
    """

    live: Score
    baseline: Score
    source: str
    loss: float
    loss_low: float
    tolerance: float
    is_degraded: bool
    through_us: int

    def sentence(self) -> str:
        """Say the result in words."""
        what = f"{self.live.metric} {self.live.value:.4g} [{self.live.low:.4g}, {self.live.high:.4g}] on {self.live.n} labelled rows"
        against = f"baseline {self.baseline.value:.4g} ({self.source}, {self.baseline.n} rows)"
        verb = "is worse than" if self.is_degraded else "is within"
        return f"{what} {verb} {against}, tolerance {self.tolerance:.3g}; {self.live.coverage:.0%} of these predictions are labelled"

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values."""
        return {
            "live": self.live.to_dict(),
            "baseline": self.baseline.to_dict(),
            "source": self.source,
            "loss": round(self.loss, 6),
            "loss_low": round(self.loss_low, 6),
            "tolerance": self.tolerance,
            "is_degraded": self.is_degraded,
            "through_us": self.through_us,
        }


def score(
    y: npt.NDArray[Any], prediction: Prediction, metric: Metric | str, *, coverage: float = 1.0, weights: Floats | None = None
) -> Score | None:
    """Return a metric with its delete-one-block jackknife interval over up to 25 contiguous blocks.

    Parameters
    ----------
    weights
        How many rows each stands for, where labels were drawn; then `n` is of how many rows of equal weight they tell as much.

    Returns
    -------
    None when there are too few rows, or the metric is undefined on them (one class only).

    References
    ----------
    Kuensch, "The jackknife and the bootstrap for general stationary observations" (1989).
    """
    n = len(y)
    blocks = min(BLOCKS, n // SMALLEST_BLOCK_ROWS)
    if blocks < FEWEST_BLOCKS:
        return None
    judged = METRICS[metric] if isinstance(metric, str) else metric
    value = _defined(judged, y, prediction, weights)
    edges = np.linspace(0, n, blocks + 1).astype(int)
    left_out = [_defined(judged, *_without(y, prediction, weights, a, b)) for a, b in pairwise(edges.tolist())]
    if not all(math.isfinite(v) for v in (value, *left_out)):
        return None
    pseudo = blocks * value - (blocks - 1) * np.array(left_out)
    half = float(special.stdtrit(blocks - 1, 0.975)) * float(pseudo.std(ddof=1)) / math.sqrt(blocks)
    n = n if weights is None else round(effective(weights))
    return Score(judged.name, value, *judged.interval(value, half), n, coverage)


def _defined(metric: Metric, y: npt.NDArray[Any], prediction: Prediction, weights: Floats | None) -> float:
    try:
        return float(metric.function(y, prediction)) if weights is None else weighted(metric, y, prediction, weights)
    except ValueError:
        return math.nan


def _without(
    y: npt.NDArray[Any], prediction: Prediction, weights: Floats | None, start: int, stop: int
) -> tuple[npt.NDArray[Any], Prediction, Floats | None]:
    keep = np.ones(len(y), dtype=bool)
    keep[start:stop] = False
    return y[keep], prediction.take(keep), None if weights is None else weights[keep]


def compare(live: Score, baseline: Score, *, source: str, level: float, tolerance: float, through_us: int) -> PerformanceTest:
    """Test once whether `live` is worse than `baseline` by more than the tolerance, both being uncertain.

    Parameters
    ----------
    level
        One-sided level of the test.
    tolerance
        In the metric's unit; a share of the baseline for mae, rmse, log_loss and cost.

    Examples
    --------
    >>> before, now = Score("accuracy", 0.90, 0.89, 0.91, 3000), Score("accuracy", 0.80, 0.78, 0.82, 1000)
    >>> compare(now, before, source="holdout", level=0.01, tolerance=0.02, through_us=0).is_degraded
    True
    """
    loss = gain(live.metric, baseline.value, live.value)
    low = loss - float(special.ndtri(1 - level)) * math.hypot(live.standard_error, baseline.standard_error)
    limit = tolerance * baseline.value if baseline.metric in RELATIVE else tolerance
    return PerformanceTest(live, baseline, source, loss, low, limit, low > limit, through_us)


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What another one would do on the same rows.

    Attributes
    ----------
    name
        Who it is, in words.
    gain
        By how much it is better than the champion, with one-sided bounds; positive is better.
    """

    name: str
    gain: Difference

    @property
    def is_better(self) -> bool:
        """Whether it does better than the champion, and not by chance."""
        return self.gain.is_defined and self.gain.low > 0

    def sentence(self, metric: str) -> str:
        """Say it in words."""
        better = f"gain in {metric} {self.gain.estimate:.4g}, at least {self.gain.low:.4g}"
        return f"{self.name} does better than the champion on {self.gain.n} rows: {better}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        numbers = {"gain": self.gain.estimate, "gain_low": self.gain.low, "gain_high": self.gain.high}
        return {"name": self.name, "n": self.gain.n, **{key: round(value, 6) for key, value in numbers.items()}}
