"""Where a prediction is right and where not, as few enough points to be drawn: calibration, ROC, scores by class; or residuals (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.losses import calibration_table, class_index
from training.schema.prediction import Prediction

MOST_POINTS = 200
MOST_CLASSES = 20
MOST_CURVES = 6
BINS = 20
_OTHER = "(other)"

Floats = npt.NDArray[np.float64]
Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Band:
    """A tenth of the rows by what was predicted: the mean of that, and of the true values mean, tenth and ninetieth percentile."""

    predicted: float
    true: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curves:
    """What a prediction of some labelled rows looks like; of what does not apply to the task, nothing.

    Attributes
    ----------
    n, right
        The rows, and those with the right class; None for numbers.
    calibration
        A tenth of the confidence each, of those that have rows: its mean, the rows, and those of which it came true. The confidence is the
        probability of the positive class, or of the predicted one when there are several.
    roc
        By class, the share of the others called so, against the share of its own called so; of two classes the positive one, of
        several the commonest six.
    scores
        Of two classes: the shares of the rows of each, the negative one first, by twentieth of the score.
    confusion
        Rows by true (outer) and predicted (inner) class, of the 20 commonest and the others.
    bands
        Of numbers: tenths of the rows by prediction.
    residuals
        Of numbers: edges of bins of true less predicted, and the shares of the rows in each; the ends hold what lies beyond.
    off
        Of numbers: half, and nine tenths, of the predictions are off by less than that.
    """

    n: int
    right: int | None = None
    calibration: tuple[tuple[float, int, int], ...] = ()
    roc: Mapping[str, Pairs] | None = None
    scores: Pairs = ()
    confusion: Mapping[str, Mapping[str, int]] | None = None
    bands: tuple[Band, ...] = ()
    residuals: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    off: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def curves_of(y: npt.NDArray[Any], prediction: Prediction) -> Curves:
    """Reduce a prediction and the labels of its rows, shape (n,), to curves of at most 200 points.

    Examples
    --------
    >>> curves = curves_of(np.array([1.0, 2.0, 3.0]), Prediction(np.array([1.5, 2.0, 2.0])))
    >>> curves.n, curves.off
    (3, (0.5, 0.9))
    """
    if not len(y):
        return Curves(0)
    if prediction.classes is None or prediction.probability is None:
        return _numbers(np.asarray(y, np.float64), np.asarray(prediction.label, np.float64))
    classes, right = prediction.classes, int((prediction.label == y).sum())
    place = class_index(y, classes)
    counts = np.bincount(place[place >= 0], minlength=len(classes))
    is_binary = len(classes) == 2
    shown = [1] if is_binary else np.argsort(-counts, kind="stable")[:MOST_CURVES].tolist()
    curves = {classes[c]: roc_curve(place == c, prediction.probability[:, c]) for c in shown}
    scores = _scores(place == 1, prediction.score) if is_binary else ()
    table = ((total / rows, int(rows), int(hits)) for rows, total, hits in calibration_table(y, prediction).tolist() if rows)
    roc = {name: points for name, points in curves.items() if points}
    return Curves(len(y), right, tuple(table), roc, scores, _confusion(y, prediction))


def roc_curve(is_class: npt.NDArray[np.bool_], score: Floats) -> Pairs:
    """Return a receiver operating characteristic as points from (0, 0) to (1, 1); none where one of the two sides has no rows.

    Of more than 200 corners those nearest to evenly spread ones are kept.

    Examples
    --------
    >>> roc_curve(np.array([True, False, True]), np.array([0.9, 0.5, 0.2]))
    ((0.0, 0.0), (0.0, 0.5), (1.0, 0.5), (1.0, 1.0))
    """
    positives, negatives = int(is_class.sum()), int((~is_class).sum())
    if not positives or not negatives:
        return ()
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # rows of one score are called so together
    hits = np.cumsum(is_class[order])[ends]
    rates = np.stack([(ends + 1 - hits) / negatives, hits / positives], axis=1)
    corners = np.concatenate([[[0.0, 0.0]], rates])
    if len(corners) > 2:
        before, after = np.diff(corners[:-1], axis=0), np.diff(corners[1:], axis=0)
        bends = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-15
        corners = corners[np.concatenate([[True], bends, [True]])]
    if len(corners) > MOST_POINTS:
        along = corners.sum(axis=1)
        corners = corners[np.unique(np.searchsorted(along, np.linspace(0.0, 2.0, MOST_POINTS)).clip(0, len(corners) - 1))]
    return tuple((float(x), float(y)) for x, y in corners)


def _scores(is_positive: npt.NDArray[np.bool_], score: Floats) -> Pairs:
    place = np.minimum((score * BINS).astype(np.intp), BINS - 1)
    sides = [np.bincount(place[side], minlength=BINS) / max(int(side.sum()), 1) for side in (~is_positive, is_positive)]
    return tuple((float(a), float(b)) for a, b in zip(*sides, strict=True))


def _confusion(y: npt.NDArray[Any], prediction: Prediction) -> dict[str, dict[str, int]]:
    names, counts = np.unique(np.concatenate([y.astype(str), prediction.label.astype(str)]), return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")][:MOST_CLASSES].tolist()
    order = [*sorted(kept), *([_OTHER] if len(names) > len(kept) else [])]
    table = {true: dict.fromkeys(order, 0) for true in order}
    pairs, numbers = np.unique(np.stack([y.astype(str), prediction.label.astype(str)]), axis=1, return_counts=True)
    for (true, predicted), rows in zip(pairs.T.tolist(), numbers.tolist(), strict=True):
        table[true if true in table else _OTHER][predicted if predicted in table else _OTHER] += rows
    return table


def _numbers(y: Floats, predicted: Floats) -> Curves:
    residuals = y - predicted
    parts = [part for part in np.array_split(np.argsort(predicted, kind="stable"), 10) if len(part)]
    bands = tuple(Band(float(predicted[p].mean()), float(y[p].mean()), *map(float, np.quantile(y[p], [0.1, 0.9]))) for p in parts)
    low, high = (float(bound) for bound in np.quantile(residuals, [0.01, 0.99]))
    edges = np.linspace(low, high, BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])
    counted = np.histogram(np.clip(residuals, edges[0], edges[-1]), edges)[0] / len(y)
    off = tuple(float(bound) for bound in np.quantile(np.abs(residuals), [0.5, 0.9]))
    return Curves(len(y), bands=bands, residuals=(tuple(edges.tolist()), tuple(counted.tolist())), off=(off[0], off[1]))
