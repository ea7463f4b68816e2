"""What policies are worth on the rows they answered, by their true labels: losses, regret, time degraded, differences (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.backtest.living import Lived
from monitoring.backtest.policies import HINDSIGHT, YOURS, Policy
from training.clock import from_us
from training.evaluation.gate import Difference, jackknife_difference
from training.evaluation.losses import DEFAULT_METRIC, METRICS, Metric
from training.model_file.model_spec import ModelSpec
from training.schema.prediction import Prediction
from training.schema.rows import Rows

LEVEL = 0.025
"""Of the bounds of all differences together: each has its part of it (Bonferroni), so that all intervals hold with 95 %."""
DEGRADED, SMOOTHED = 0.10, 3
"""A slot is degraded where the mean loss of three is more than a tenth above that of the reference."""
PAYS, HARMS = 0.005, -0.02
"""A version pays where its loss in the next slots is at least half a percent below that of the one it was to replace; it harms where it is
two percent above."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """What one policy was worth.

    Attributes
    ----------
    loss
        The mean over all labelled rows.
    priced
        The same with the price of each fit.
    regret
        By how many percent the loss is above that of hindsight; None without that policy.
    degraded
        The share of slots that were; None without hindsight.
    fits
        Trainings; of hindsight one a slot.
    seconds
        What these took.
    harmful
        Promotions that did harm.
    alarms, false_alarms
        Trainings that something seen asked for, and those whose version did not pay, or that left none.
    gain
        By how much its loss, with the price, is below that of the user's policy, with bounds; None of the user's and of hindsight.
    losses
        The mean of each slot; NaN where it has no label.
    block
        What is to be pasted into the model file; only where the gain is surely above 0.
    """

    policy: str
    sentence: str
    loss: float
    priced: float
    regret: float | None
    degraded: float | None
    fits: int
    seconds: float
    promotions: int
    refused: int
    failed: int
    rolled_back: int
    harmful: int
    alarms: int
    false_alarms: int
    gain: Difference | None
    losses: tuple[float, ...]
    block: str = ""

    @property
    def is_better(self) -> bool:
        """Whether it is surely better than the user's."""
        return self.gain is not None and self.gain.is_defined and self.gain.low > 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def loss_of(spec: ModelSpec) -> Metric:
    """Return the metric whose loss of each row is compared: the model file's, or that of the task where it is no mean of rows."""
    metric = spec.watched_by
    return metric if metric.per_row_loss is not None else METRICS[DEFAULT_METRIC[spec.schema.task]]


def best_window(rows: Rows, metric: Metric, answers: Sequence[Prediction]) -> int:
    """Return which answers have the least loss on labelled rows."""
    assert metric.per_row_loss is not None
    return int(np.argmin([metric.per_row_loss(rows.labels, one).mean() for one in answers]))


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Scores policies of one stream against each other.

    Attributes
    ----------
    rows
        All that were lived through.
    bounds
        Where slots part them.
    price
        Of one fit, in the loss of rows: a fit costs as much as this sum of it.
    """

    rows: Rows
    bounds: Sequence[int]
    metric: Metric
    price: float = 0.0

    def scores(self, policies: Sequence[Policy], lived: Mapping[str, Lived]) -> list[Score]:
        """Return the scores of policies, in order; the user's is among them."""
        reference = self._losses(lived[HINDSIGHT]) if HINDSIGHT in lived else None
        level = LEVEL / max(1, len(lived.keys() - {YOURS, HINDSIGHT}))
        gains = {name: self._gain(one, lived[YOURS], level) for name, one in lived.items() if name not in (YOURS, HINDSIGHT)}
        return [self._score(policy, lived[policy.name], gains.get(policy.name), reference) for policy in policies if policy.name in lived]

    def _score(self, policy: Policy, one: Lived, gain: Difference | None, reference: Floats | None) -> Score:
        each, by_slot = self._losses(one), self.by_slot(self._losses(one))
        n, fits = len(each), len(one.trainings)
        alarms = [training for training in one.trainings if training.is_alarm]
        promoted = [training for training in one.trainings if training.outcome == "promoted"]
        score = Score(
            policy.name,
            policy.sentence,
            float(each.mean()),
            float(each.mean()) + self.price * fits / n,
            None if reference is None else 100 * (float(each.mean()) / float(reference.mean()) - 1),
            None if reference is None else degraded(by_slot, self.by_slot(reference)),
            fits,
            sum(training.seconds for training in one.trainings),
            len(promoted),
            sum(training.outcome == "refused" for training in one.trainings),
            sum(training.outcome == "failed" for training in one.trainings),
            sum(slot.outcome == "rolled_back" for slot in one.slots),
            sum(training.gain < HARMS for training in promoted),
            len(alarms),
            sum(not training.gain >= PAYS for training in alarms),
            gain,
            tuple(by_slot.tolist()),
        )
        return replace(score, block=policy.block) if score.is_better else score

    def _losses(self, one: Lived) -> Floats:
        """Return the loss of each labelled row."""
        assert self.metric.per_row_loss is not None
        known = self.rows.is_labelled
        return np.asarray(self.metric.per_row_loss(self.rows.labels[known], one.prediction.take(known)), dtype=np.float64)

    def _gain(self, one: Lived, yours: Lived, level: float) -> Difference:
        """Return by how much one is better than the user's, by blocks of time; fits are part of what it costs."""
        known = self.rows.is_labelled
        plain = jackknife_difference(
            self.metric, self.rows.labels[known], yours.prediction.take(known), one.prediction.take(known), level=level
        )
        extra = self.price * (len(one.trainings) - len(yours.trainings)) / int(known.sum())
        return replace(plain, estimate=plain.estimate - extra, low=plain.low - extra, high=plain.high - extra)

    def by_slot(self, each: Floats) -> Floats:
        """Return the mean of what each labelled row has, by slot; NaN of one without."""
        places = np.cumsum(np.concatenate([[0], self.rows.is_labelled]))
        edges = [int(places[bound]) for bound in (0, *self.bounds, len(self.rows))]
        return np.array([each[start:stop].mean() if stop > start else math.nan for start, stop in pairwise(edges)])

    @property
    def starts_us(self) -> tuple[int, ...]:
        """Where slots begin, by the rows in them; microseconds of model time."""
        return tuple(int(self.rows.time_us[bound]) for bound in (0, *self.bounds) if bound < len(self.rows))


def degraded(losses: Floats, reference: Floats) -> float:
    """Return the share of slots in which the mean loss of three is more than a tenth above that of the reference.

    Examples
    --------
    >>> degraded(np.array([1.0, 1.0, 1.0, 2.0, 1.0]), np.ones(5)), degraded(np.ones(5), np.ones(5))
    (0.6666666666666666, 0.0)
    """
    is_known = np.isfinite(losses) & np.isfinite(reference)
    ours, theirs = losses[is_known], reference[is_known]
    if len(ours) < SMOOTHED:
        return float(ours.mean() > (1 + DEGRADED) * theirs.mean()) if len(ours) else 0.0
    window = np.ones(SMOOTHED) / SMOOTHED
    return float(np.mean(np.convolve(ours, window, "valid") > (1 + DEGRADED) * np.convolve(theirs, window, "valid")))


def table_row(score: Score, *, has_price: bool = False) -> dict[str, Any]:
    """Return what people see of a score in a terminal."""
    gain = score.gain
    return {
        "policy": score.policy,
        "loss": score.loss,
        **({"with_price": score.priced} if has_price else {}),
        "behind_%": None if score.regret is None else round(score.regret, 1),
        "degraded_%": None if score.degraded is None else round(100 * score.degraded),
        "better_than_yours_by": "" if gain is None else f"{gain.estimate:+.4g} [{gain.low:+.3g}, {gain.high:+.3g}]",
        "fits": score.fits,
        "seconds": round(score.seconds, 1),
        "promoted": score.promotions,
        "harmful": score.harmful,
        "refused": score.refused + score.failed,
        "taken_back": score.rolled_back,
        "alarms": score.alarms,
        "false": score.false_alarms,
    }


def moment_of(time_us: int) -> str:
    """Return a time to the minute."""
    return f"{from_us(time_us):%Y-%m-%d %H:%M}"
