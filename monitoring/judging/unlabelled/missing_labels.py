"""A metric where rows without a label differ in score from the others: weighted, with an interval that covers their worst case (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from monitoring.judging.performance.live_metrics import LeftOut, Reading, leave_one_out
from monitoring.judging.performance.outcome_sums import OutcomeSums
from monitoring.judging.performance.scores import Correction, Score
from monitoring.judging.unlabelled.score_weights import ScoreWeights, weights_of
from monitoring.judging.unlabelled.strata import Due, stratum_of_bins
from monitoring.judging.unlabelled.worst_case import worst_case


class Scale(NamedTuple):
    """In what scores are counted: the inner edges of their strata, and the stratum of each bin of the score of a binary model."""

    strata: tuple[float, ...] = ()
    stratum_of_bin: tuple[int, ...] = ()

    @classmethod
    def of(cls, bins: Sequence[float], strata: Sequence[float], *, is_binary: bool) -> Self:
        """Return the scale of a model."""
        return cls(tuple(strata), stratum_of_bins(bins, strata) if is_binary else ())


@dataclass(frozen=True, slots=True)
class MissingLabels:
    """Rows of which some lack their label, and differ in score from those that have it.

    Attributes
    ----------
    weights
        How many rows each labelled one stands for.
    sums, unlabelled
        Of the labelled rows, and the others.
    scale
        In what scores are counted.
    """

    weights: ScoreWeights
    sums: OutcomeSums
    unlabelled: Due
    scale: Scale

    @classmethod
    def find(cls, sums: OutcomeSums, due: Due, scale: Scale) -> Self | None:
        """Return it; None where all rows have their label, or what they differ by may be chance."""
        weights = weights_of(sums, due, scale.strata)
        return None if weights is None else cls(weights, sums, due.less(Due.of_labelled(sums)), scale)

    def left_out(self, blocks: Sequence[OutcomeSums]) -> LeftOut | None:
        """Return weighted blocks of the rows with each left out once, for `over`."""
        return leave_one_out([self.weights.of(one, self.scale.stratum_of_bin) for one in blocks])

    def over(self, reading: Reading, weighted: LeftOut, plain: LeftOut, coverage: float = 1.0) -> tuple[Score, Correction] | None:
        """Return a metric over neighbouring buckets; as `Reading.jackknife` does, whose band is put around the worst case.

        Parameters
        ----------
        weighted, plain
            The blocks with weights, and as they are.
        """
        score = reading.jackknife(weighted if self.is_weighted(reading) else plain, coverage)
        if score is None:
            return None
        value, low, high = self._covering(reading, (score.value, score.low, score.high))
        return replace(score, value=value, low=low, high=high, n=self.sums.n), self.correction(reading)

    def within(self, reading: Reading) -> tuple[float, float, float]:
        """Return a metric over one bucket, with its interval; NaN where the rows do not define it."""
        plain, (low, high) = reading.value(self.sums), reading.within(self.sums)
        value, wider = plain, 1.0
        if self.is_weighted(reading):
            value, wider = reading.value(self.weights.of(self.sums, self.scale.stratum_of_bin)), math.sqrt(self.weights.design_effect)
        return self._covering(reading, (value, value - wider * (plain - low), value + wider * (high - plain)))

    def correction(self, reading: Reading) -> Correction:
        """Return what is done to a metric."""
        worst = self.worst(reading)
        what = f"weighted by score: {self.weights.sentence}"
        if not self.is_weighted(reading):
            what = f"not weighted, since of several classes each has a score of its own: {self.weights.sentence}"
        n = self.unlabelled.rows
        ends = f"the interval covers the worst case of the {n:,} rows without a label" if worst else "errors have no worst case"
        return Correction(f"{what}; {ends}", reading.value(self.sums), worst)

    def worst(self, reading: Reading) -> tuple[float, float] | None:
        """Return between what a metric lies, whatever is true of the rows without a label; None where there is no bound."""
        return worst_case(reading, self.sums, self.unlabelled, self.scale.stratum_of_bin)

    def is_weighted(self, reading: Reading) -> bool:
        """Return whether a metric can be weighted by the score: ROC AUC of several classes asks by a score each."""
        return reading.name != "roc_auc" or len(reading.classes) == 2

    def _covering(self, reading: Reading, band: tuple[float, float, float]) -> tuple[float, float, float]:
        """Put the ends of a band around a value as far beyond the worst case; what no labels could make it, it is not."""
        value, low, high = band
        worst = self.worst(reading)
        if worst is not None and math.isfinite(value):
            low, high = worst[0] - (value - low), worst[1] + (high - value)
            value = min(max(value, worst[0]), worst[1])
        least, most = reading.metric.range
        return value, min(max(low, least), value), max(min(high, most), value)
