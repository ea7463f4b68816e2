"""The gate of a growth: a mixture with a new member is refused where it is proven worse than what was answered (pure).

What is judged is the *forerunner*: the new member as it was trained before the first row it is judged on. Unlike a version that
replaces another, a member that brings nothing is soon weighed down, and old ones stay; so nothing is to be proven in its favour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.gate import Difference, jackknife_difference
from training.evaluation.losses import METRICS, Metric
from training.evaluation.weighted import effective, weighted
from training.mixing.labelled_rows import LabelledRows
from training.schema.prediction import Prediction

LEAST_ROWS = 200
"""Rows, and rows of a segment, that are judged by at least: 25 blocks of eight."""
PROPER = ("log_loss", "brier")
WORSE_CALIBRATION = 0.02
"""By how much the calibration error may rise."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GrowthRule:
    """What a growth is refused for.

    Attributes
    ----------
    level
        Of each test, one-sided: a growth that is no worse is refused with this probability; by any segment, too.
    rows
        Rows wanted.
    """

    level: float = 0.05
    rows: int = LEAST_ROWS


@dataclass(frozen=True, slots=True)
class GrowthDecision:
    """Whether a member may come, with the reason and the evidence.

    Attributes
    ----------
    outcome
        ``accepted``, ``refused`` or, with too few rows, ``not judged``.
    evidence
        As plain JSON values: each number with its threshold.
    """

    outcome: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_accepted(self) -> bool:
        """Whether the member may come."""
        return self.outcome == "accepted"


def judge_growth(  # 7 parameters: two answers, the rows they are judged on, and how
    before: Prediction,
    after: Prediction,
    rows: LabelledRows,
    metric: Metric | str,
    *,
    weight: float,
    segments: Mapping[str, Mask] | None = None,
    rule: GrowthRule | None = None,
) -> GrowthDecision:
    """Judge a growth by what the members answer, and by what they would with the forerunner of a new one in its sibling's place.

    Parameters
    ----------
    before, after
        To rows that neither a member nor the forerunner was trained on.
    metric
        The model's.
    weight
        Of the forerunner, for the evidence.
    segments
        By name which rows are of it; those with enough rows must not be proven worse either (Bonferroni).

    Raises
    ------
    ValueError
        Lengths differ.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> rows = LabelledRows(np.arange(400), random.normal(0, 10, 400))
    >>> before, poor = Prediction(rows.y + random.normal(0, 1, 400)), Prediction(rows.y + random.normal(0, 9, 400))
    >>> judge_growth(before, poor, rows, "mae", weight=0.5).outcome
    'refused'
    """
    rule, judged = rule or GrowthRule(), METRICS[metric] if isinstance(metric, str) else metric
    classes = after.classes
    before, mixed = (each if classes is None else each.aligned(classes) for each in (before, after))
    evidence: dict[str, Any] = {"metric": judged.name, "rows": len(rows), "wanted_rows": rule.rows, "weight": weight, "level": rule.level}
    counts = effective(rows.counts)
    if counts < rule.rows:
        return _decided("not judged", f"too few rows to judge: {counts:.0f} of {rule.rows}", evidence)
    whole = _difference(judged, rows, before, mixed, rule.level)
    if not whole.is_defined:
        return _decided("not judged", f"{judged.name} is not defined on these {len(rows)} rows", evidence)
    large = {name: mask for name, mask in (segments or {}).items() if effective(rows.counts[mask]) >= LEAST_ROWS}
    parts = {
        name: _difference(judged, _masked(rows, mask), before.take(mask), mixed.take(mask), rule.level / len(large))
        for name, mask in large.items()
    }
    calibration = _calibration(rows, before), _calibration(rows, mixed)
    evidence |= {
        **_numbers(whole),
        "score_before": weighted(judged, rows.y, before, rows.counts),
        "score_with": weighted(judged, rows.y, mixed, rows.counts),
        "blocks": whole.blocks,
        "segments": {name: {**_numbers(part), "rows": part.n, "level": part.level} for name, part in parts.items()},
        "segments_too_small": len(segments or {}) - len(large),
        "calibration_error": list(calibration) if mixed.classes else None,
        "most_worse_calibration": WORSE_CALIBRATION,
    }
    if whole.high < 0:
        return _decided("refused", f"worse with the member: {_sentence(judged, whole)}", evidence)
    if worse := [name for name, part in parts.items() if part.is_defined and part.high < 0]:
        return _decided("refused", f"worse with the member in {worse[0]}: {_sentence(judged, parts[worse[0]])}", evidence)
    # A proper score that is proven better has calibration in it, and a mean of calibrated answers of which one is surer than the other
    # is less sure than it might be, until it is weighed.
    is_proper_gain = judged.name in PROPER and whole.low > 0
    if not is_proper_gain and calibration[1] > calibration[0] + WORSE_CALIBRATION:
        return _decided("refused", f"calibration error {calibration[0]:.3f} without, {calibration[1]:.3f} with the member", evidence)
    return _decided("accepted", f"not proven worse: {_sentence(judged, whole)}", evidence)


def _difference(metric: Metric, rows: LabelledRows, before: Prediction, after: Prediction, level: float) -> Difference:
    return jackknife_difference(metric, rows.y, before, after, level=level, weights=rows.weights)


def _masked(rows: LabelledRows, mask: Mask) -> LabelledRows:
    return LabelledRows(rows.time_us[mask], rows.y[mask], None if rows.weights is None else rows.weights[mask])


def _calibration(rows: LabelledRows, answers: Prediction) -> float:
    """Return the calibration error; 0 for numbers, which have none."""
    return 0.0 if answers.probability is None else weighted(METRICS["calibration_error"], rows.y, answers, rows.counts)


def _numbers(difference: Difference) -> dict[str, float | None]:
    values = {"gain": difference.estimate, "gain_low": difference.low, "gain_high": difference.high}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _sentence(metric: Metric, difference: Difference) -> str:
    return f"gain in {metric.name} of {difference.estimate:.4g}, at most {difference.high:.4g} at level {difference.level:.3g}"


def _decided(outcome: str, reason: str, evidence: Mapping[str, Any]) -> GrowthDecision:
    return GrowthDecision(outcome, reason, {"outcome": outcome, "reason": reason, **evidence})
