"""Scores with 95 % intervals, over all rows and by segment (pure).

The intervals take rows as independent; scores of neighbours in time often are not, so read them as the narrowest honest
ones. The gate, which must not be fooled, works on blocks of time instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.losses import (
    METRICS,
    Metric,
    auc_parts,
    calibration_table,
    confusion,
    confusion_scores,
    squared_errors,
)
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.schema.schema import Schema

_Z = 1.959963984540054
_RESAMPLES = 400
_MOST_SEGMENTS = 30
_LEAST_SEGMENT = 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval and the number of rows (or, for precision and recall, of cases) behind it."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Return a JSON object; NaN becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {**{k: None if math.isnan(v) else v for k, v in numbers.items()}, "n": self.n}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Estimate:
        """Read what `to_dict` wrote."""
        value, low, high = (math.nan if stored[k] is None else float(stored[k]) for k in ("value", "low", "high"))
        return cls(value, low, high, int(stored["n"]))

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, slots=True)
class Metrics:
    """All scores of a prediction: over all rows, and ``segments[feature][value]``."""

    overall: dict[str, Estimate]
    segments: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Estimate:
        return self.overall[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.overall)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        parts = {f: {v: _plain(e) for v, e in by_value.items()} for f, by_value in self.segments.items()}
        return {"overall": _plain(self.overall), "segments": parts}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Metrics:
        """Read what `to_dict` wrote."""
        parts = {f: {v: _estimates(e) for v, e in by_value.items()} for f, by_value in stored["segments"].items()}
        return cls(_estimates(stored["overall"]), parts)


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: e.to_dict() for name, e in estimates.items()}


def _estimates(stored: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(e) for name, e in stored.items()}


def evaluate(rows: Rows, prediction: Prediction, schema: Schema, segments: Sequence[str] = (), more: Sequence[Metric] = ()) -> Metrics:
    """Score a prediction on its labelled rows by every metric of the task.

    Parameters
    ----------
    rows
        Rows whose target is known, the same ones as in `prediction`.
    segments
        Features by whose values the scores are given apart: the 30 most frequent values with at least 20 rows.
    more
        Metrics of this model only.

    Returns
    -------
    What the rows do not define (ROC AUC of one class, anything of no rows) is NaN.
    """
    y, metrics = rows.labels, [*(m for m in METRICS.values() if schema.task in m.tasks), *more]
    parts: dict[str, dict[str, dict[str, Estimate]]] = {}
    for name in segments:
        values = _segment_names(rows.columns[name])
        names, counts = np.unique(values, return_counts=True)
        by_rows = sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda p: -p[1])
        top = [n for n, c in by_rows[:_MOST_SEGMENTS] if c >= _LEAST_SEGMENT]
        parts[name] = {n: _all(y[values == n], prediction.take(values == n), metrics) for n in top}
    return Metrics(_all(y, prediction, metrics), parts)


def _segment_names(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if column.dtype == object:
        return np.array(["(missing)" if v is None else v for v in column.tolist()])
    return np.array(["(missing)" if math.isnan(v) else f"{v:g}" for v in column.tolist()])


def _all(y: npt.NDArray[Any], prediction: Prediction, metrics: Sequence[Metric]) -> dict[str, Estimate]:
    return {m.name: estimate(m, y, prediction) for m in metrics}


def estimate(metric: Metric, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    """Return one metric with its 95 % interval."""
    if not len(y):
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = metric.function(y, prediction)
    if math.isnan(value):
        return Estimate(value, math.nan, math.nan, len(y))
    if metric.name in _INTERVALS:
        return _INTERVALS[metric.name](value, y, prediction)
    if metric.per_row_loss is None:
        raise ValueError(f"no interval is known for {metric.name}")
    return _around(metric, value, float(np.std(metric.per_row_loss(y, prediction)) / math.sqrt(len(y))), len(y))


def _around(metric: Metric, value: float, error: float, n: int) -> Estimate:
    return Estimate(value, *metric.interval(value, _Z * error), n)


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion.

    References
    ----------
    Wilson: Probable inference, the law of succession, and statistical inference, JASA 1927.

    Examples
    --------
    >>> tuple(round(b, 3) for b in wilson(8, 10))
    (0.49, 0.943)
    """
    if n <= 0:
        return math.nan, math.nan
    share, z2 = hits / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _proportion(value: float, n: int) -> Estimate:
    return Estimate(value, *wilson(value * n, n), n)


def _accuracy(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    return _proportion(value, len(y))


def _is_binary(prediction: Prediction) -> bool:
    return prediction.classes is not None and len(prediction.classes) == 2


def _precision(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    if _is_binary(prediction) and prediction.classes:
        return _proportion(value, int((prediction.label == prediction.classes[-1]).sum()))
    return _resampled("precision", value, y, prediction)


def _recall(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    if _is_binary(prediction) and prediction.classes:
        return _proportion(value, int((y == prediction.classes[-1]).sum()))
    return _resampled("recall", value, y, prediction)


def _resampled(name: str, value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    """Bootstrap a score of the confusion table by drawing whole tables (seeded)."""
    table = confusion(y, prediction)
    draws = np.random.default_rng(0).multinomial(len(y), table.ravel() / table.sum(), _RESAMPLES)
    scores = confusion_scores(draws.reshape(-1, *table.shape), binary=_is_binary(prediction))[name]
    return _percentiles(value, scores, len(y))


def _percentiles(value: float, scores: npt.NDArray[np.float64], n: int) -> Estimate:
    low, high = np.nanquantile(scores, [0.025, 0.975])
    return Estimate(value, float(min(low, value)), float(max(high, value)), n)


def _balanced(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    return _resampled("balanced_accuracy", value, y, prediction)


def _f1(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    return _resampled("f1", value, y, prediction)


def _auc(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    """DeLong's variance; of several classes the mean of their errors, which is on the safe side."""
    errors = [math.sqrt(np.var(up) / len(up) + np.var(down) / len(down)) for up, down in auc_parts(y, prediction)]
    return _around(METRICS["roc_auc"], value, float(np.mean(errors)), len(y))


def _calibration(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    """Bootstrap by bin: the outcomes of a bin are drawn as binomial around what was seen (seeded)."""
    table = calibration_table(y, prediction)
    counts = table[:, 0].astype(np.int64)
    share = table[:, 2] / np.maximum(counts, 1)
    draws = np.random.default_rng(0).binomial(counts, share, (_RESAMPLES, len(counts)))
    return _percentiles(value, np.abs(table[:, 1] - draws).sum(axis=1) / len(y), len(y))


def _rmse(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    error = float(np.std(squared_errors(y, prediction)) / math.sqrt(len(y)))
    return _around(METRICS["rmse"], value, error / (2 * value) if value else 0.0, len(y))


def _r2(value: float, y: npt.NDArray[Any], prediction: Prediction) -> Estimate:
    """Delta method on the two sums of squares of which R² is made."""
    values = np.asarray(y, np.float64)
    losses, spread = squared_errors(y, prediction), (values - values.mean()) ** 2
    influence = (losses - (1.0 - value) * spread) / spread.mean()
    return _around(METRICS["r2"], value, float(np.std(influence) / math.sqrt(len(y))), len(y))


_INTERVALS = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "balanced_accuracy": _balanced,
    "f1": _f1,
    "roc_auc": _auc,
    "calibration_error": _calibration,
    "rmse": _rmse,
    "r2": _r2,
}
