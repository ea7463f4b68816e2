"""Between what bounds a metric lies, whatever is true of the rows without a label (pure).

References
----------
Manski, "Partial identification of probability distributions" (2003), 1: bounds with missing outcomes, without any assumption; Horowitz and
Manski, "Nonparametric analysis of randomized experiments with missing covariate and outcome data" (2000): of statistics of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitoring.judging.performance.live_metrics import (
    CALIBRATION_GAP,
    CONFUSED,
    SELECTION_RATE,
    Reading,
    auc_questions_of,
    confusion_table,
    confusion_value,
    loss_sums,
)
from monitoring.judging.performance.outcome_sums import Confidence, OutcomeSums
from monitoring.judging.unlabelled.strata import Due
from training.evaluation.losses import COST
from training.schema.rows import object_column

Floats = npt.NDArray[np.float64]
Bounds = tuple[float, float]
MOST_TRIED = 2000  # shares of unlabelled rows that are of the class, among which ROC AUC is worst: beyond, a two-thousandth is no row
_CELLS = {"precision": "predicted", "recall": "actual", "balanced_accuracy": "actual", "f1": "both"}


def worst_case(reading: Reading, sums: OutcomeSums, unlabelled: Due, stratum_of_bin: Sequence[int] = ()) -> Bounds | None:
    """Return the least and the most that a metric of all rows can be.

    They are exact for means over rows, shares and the metrics of two classes; of more classes, and of ROC AUC in the strata of the score,
    they may be wider than that. Labels are taken to be of the classes that the model knows.

    Parameters
    ----------
    sums
        Of the labelled rows.
    unlabelled
        The others.
    stratum_of_bin
        The stratum of each bin of the score of a binary model.

    Returns
    -------
    None where there is no bound: of the errors of a regression.

    Examples
    --------
    >>> sums = OutcomeSums(4, ("no", "yes"), {("no", "no"): 1, ("yes", "yes"): 2, ("yes", "no"): 1})
    >>> worst_case(Reading("accuracy", ("no", "yes")), sums, Due({0: 1}, {"yes": 1}))
    (0.6, 0.8)
    """
    if not reading.classes or not sums.n:
        return None
    if reading.name == "roc_auc":
        return _of_auc(reading, sums, unlabelled, stratum_of_bin)
    if reading.name in CONFUSED:
        return _of_confusion(reading, sums, unlabelled)
    if reading.name in _OF_CONFIDENCE:
        return _of_confidence(reading.name, sums, unlabelled)
    least, most = _of_costs(reading, unlabelled) if reading.loss == COST else _of_losses(reading, unlabelled)
    total, n = loss_sums(reading, sums)[0], sums.n + unlabelled.rows
    return (total + least) / n, (total + most) / n


def _of_losses(reading: Reading, unlabelled: Due) -> Bounds:
    halves = 2 if reading.loss == "brier" and len(reading.classes) == 2 else 1
    least, most = unlabelled.limits.get(reading.loss, (0.0, 0.0))
    return least / halves, most / halves


def _of_costs(reading: Reading, unlabelled: Due) -> Bounds:
    if reading.costs is None:
        raise ValueError("what mistakes cost is not known")
    least = most = 0.0
    for name, n in unlabelled.decided.items():
        of_each = reading.costs.of_rows(object_column(reading.classes), object_column([name] * len(reading.classes)))
        least, most = least + n * float(of_each.min()), most + n * float(of_each.max())
    return least, most


def _of_confusion(reading: Reading, sums: OutcomeSums, unlabelled: Due) -> Bounds:
    """Return the bounds of a metric of the confusion table: all unlabelled rows are wrong, or right.

    Whether one more row is right makes these metrics better whatever others are, so that the ends are exact for two classes. Of more, a
    mean over classes has the ends of each class by itself; a class that has no label yet may be one of them, or not.
    """
    names = (*reading.classes, *sorted({*(name for pair in sums.confusion for name in pair), *unlabelled.decided} - set(reading.classes)))
    table, more = confusion_table(sums, names).astype(np.float64), np.array([float(unlabelled.decided.get(name, 0)) for name in names])
    right = table + np.diag(more)
    if reading.name == SELECTION_RATE:
        both = float(confusion_value(reading, right))
        return both, both
    if len(reading.classes) == 2 or reading.name == "accuracy":
        wrong = table.copy()
        other = np.where(np.arange(len(names)) == 0, len(reading.classes) - 1, 0)  # of two classes the other one
        np.add.at(wrong, (other, np.arange(len(names))), more)
        low, high = (float(confusion_value(reading, one)) for one in (wrong, right))
        return (0.0 if math.isnan(low) else low), (1.0 if math.isnan(high) else high)
    return _of_classes(_CELLS[reading.name], table, more)


def _of_classes(side: str, table: Floats, more: Floats) -> Bounds:
    hits, actual, predicted = np.diagonal(table), table.sum(axis=1), table.sum(axis=0)
    others = more.sum() - more  # unlabelled rows that were called otherwise: they may all be of it
    below = {"actual": actual + others, "predicted": predicted + more, "both": (actual + others + predicted + more) / 2}[side]
    above = {"actual": actual + more, "predicted": predicted + more, "both": (actual + predicted) / 2 + more}[side]
    occurs = actual > 0
    low = np.divide(hits, below, out=np.zeros_like(hits), where=below > 0)[occurs]
    high = np.divide(hits + more, above, out=np.zeros_like(hits), where=above > 0)[occurs]
    may_be, may_hit = int((~occurs & (more.sum() > 0)).sum()), int((~occurs & (more > 0)).sum())
    if not occurs.any():
        return 0.0, 1.0
    return float(low.sum() / (len(low) + may_be)), float((high.sum() + may_hit) / (len(high) + may_hit))


def _of_confidence(name: str, sums: OutcomeSums, unlabelled: Due) -> Bounds:
    n, least, most = sums.n + unlabelled.rows, 0.0, 0.0
    for place in sums.confidence.keys() | unlabelled.confidence.keys():
        one, (more, sure) = sums.confidence.get(place, Confidence(0, 0.0, 0)), unlabelled.confidence.get(place, (0, 0.0))
        high = one.sure + sure - one.hits  # none of the unlabelled ones is a hit
        low = high - more
        if name == CALIBRATION_GAP:
            least, most = least + low, most + high
        else:
            nearest = min(max(round(one.sure + sure), one.hits), one.hits + more)
            least, most = least + abs(one.sure + sure - nearest), most + max(-low, high)
    return least / n, most / n


_OF_CONFIDENCE = ("calibration_error", CALIBRATION_GAP)


def _of_auc(reading: Reading, sums: OutcomeSums, unlabelled: Due, stratum_of_bin: Sequence[int]) -> Bounds:
    """Return the bounds of ROC AUC: of several classes the mean of those of each, in one stratum, since each has its own score."""
    is_binary = len(reading.classes) == 2 and bool(stratum_of_bin)
    place = np.array(stratum_of_bin, dtype=np.intp) if is_binary else None
    strata = int(max(stratum_of_bin)) + 1 if is_binary else 1
    more = np.zeros(strata)
    for at, n in unlabelled.n.items():
        more[at if is_binary else 0] += n
    bounds = []
    for others, own in auc_questions_of(reading, sums):
        of_bin = np.zeros(len(own), dtype=np.intp) if place is None else np.pad(place, (0, len(own) - len(place)), mode="edge")
        bounds.append((1.0 - _most_area(own, others, of_bin, more), _most_area(others, own, of_bin, more)))
    asked = 1 if len(reading.classes) == 2 else len(reading.classes)
    unknown = asked - len(bounds)  # of these both sides are not among the labelled ones
    if not bounds:
        return 0.0, 1.0
    low, high = (sum(ends) for ends in zip(*bounds, strict=True))
    return low / (len(bounds) + unknown), (high + unknown) / (len(bounds) + unknown)


def _most_area(others: Floats, own: Floats, place: npt.NDArray[np.intp], more: Floats) -> float:
    """Return the most that the area can be: the unlabelled rows of the highest scores are of the class, from some score on.

    For any number of them that is best, since to exchange a row of the class with one of the others of a higher score never loses a pair.
    In a stratum every pair with an unlabelled row counts as won.

    Parameters
    ----------
    others, own
        Labelled rows by bin of the score, shape (bins,).
    place
        The stratum of each bin.
    more
        Unlabelled rows by stratum, shape (strata,).
    """
    of_others, of_own = (np.bincount(place, one, len(more)) for one in (others, own))
    won_by_own, lost_by_others = of_others.cumsum(), of_own[::-1].cumsum()[::-1]
    n_more = float(more.sum())
    above = more[::-1].cumsum()[::-1] - more
    tried = np.unique(np.concatenate([np.round(np.linspace(0.0, n_more, MOST_TRIED + 1)), above, [n_more]]))
    are_own = np.clip(tried[:, None] - above, 0.0, more)  # shape (tried, strata)
    are_others = more - are_own
    pairs = float(own @ (others.cumsum() - others / 2)) + are_own @ won_by_own + are_others @ lost_by_others
    pairs += (are_own * are_others.cumsum(axis=1)).sum(axis=1)
    all_pairs = (own.sum() + tried) * (others.sum() + n_more - tried)
    return float(np.divide(pairs, all_pairs, out=np.zeros_like(pairs), where=all_pairs > 0).max())
