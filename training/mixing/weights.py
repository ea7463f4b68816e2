"""The weights of members, learned from their mapped answers to rows that none of them was trained on (pure).

Whatever the metric of the model: of classes those under which the labels are most likely (expectation maximisation), of numbers those
with the least absolute error (exponentiated gradient). Both stop early and keep a floor: a member that was of no use yesterday is
there when what it knows comes back.

References
----------
Dempster, Laird and Rubin: Maximum likelihood from incomplete data via the EM algorithm, JRSS B 39, 1977. Kivinen and Warmuth:
Exponentiated gradient versus gradient descent for linear predictors, Information and Computation 132, 1997. Herbster and Warmuth:
Tracking the best expert, Machine Learning 32, 1998 (the floor: all members share a part of the weight).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from training.evaluation.losses import true_probability
from training.mixing.labelled_rows import Floats, LabelledRows
from training.schema.prediction import Prediction

FLOOR = 0.1
"""This share of the weight is dealt out to all members alike."""
LEAST_LIKELIHOOD = 1e-3
"""So much probability at least has each label in the weighing, or one surprise would decide it."""
EM_STEPS = 25
EG_STEPS, EG_RATE = 60, 1.2


def learn_weights(answers: Sequence[Prediction], rows: LabelledRows) -> Floats:
    """Return the weights of n members, shape (n,): they sum to 1, and each is `FLOOR` / n at least.

    Parameters
    ----------
    answers
        Of each member what it answers, mapped, to the same rows; one or more.
    rows
        One or more.

    Examples
    --------
    >>> rows = LabelledRows(np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]))
    >>> learn_weights([Prediction(rows.y + 1), Prediction(rows.y - 1)], rows).round(2).tolist()
    [0.5, 0.5]
    >>> learn_weights([Prediction(rows.y + 0.1), Prediction(rows.y + 5)], rows).round(2).tolist()
    [0.95, 0.05]
    """
    shares = rows.counts / rows.counts.sum()
    if answers[0].probability is None:
        learned = _by_error(np.array([each.label for each in answers], np.float64), np.asarray(rows.y, np.float64), shares)
    else:
        learned = _by_likelihood(np.array([true_probability(rows.y, each) for each in answers]), shares)
    return (1 - FLOOR) * learned + FLOOR / len(answers)


def _by_likelihood(likelihoods: Floats, shares: Floats) -> Floats:
    """Make each weight the member's mean part in the probability of the labels, some times over."""
    likelihoods = np.maximum(likelihoods, LEAST_LIKELIHOOD)
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(EM_STEPS):
        weights = weights * (likelihoods @ (shares / (weights @ likelihoods)))
        weights /= weights.sum()
    return weights


def _by_error(values: Floats, y: Floats, shares: Floats) -> Floats:
    """Multiply each weight by the exponential of how far the member pulls the mixture toward the labels, each time less far.

    Returns
    -------
    The mean of the later half: single ones jump to and fro where members err to either side.
    """
    weights, later = np.full(len(values), 1 / len(values)), np.zeros(len(values))
    error = float((np.abs(values - y) @ shares).mean())
    if error == 0.0:
        return weights
    for step in range(EG_STEPS):
        pull = values @ (np.sign(weights @ values - y) * shares) / error
        weights = weights * np.exp(-EG_RATE / math.sqrt(step + 1) * (pull - pull.min()))
        weights /= weights.sum()
        if step >= EG_STEPS // 2:
            later += weights
    return np.asarray(later / later.sum())
