"""The answers of several members as one (pure)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.schema.costs import Costs, decide
from training.schema.prediction import Prediction
from training.schema.rows import object_column


def mix(answers: Sequence[Prediction], weights: Sequence[float], costs: Costs | None = None, threshold: float | None = None) -> Prediction:
    """Return the average of mapped answers by weight.

    Parameters
    ----------
    answers
        To the same rows. Of classes that one of them does not know it has a probability of 0; the order is that of the answer with
        the most classes, those that it lacks come after them.
    weights
        Not negative; they need not sum to 1.
    costs
        What wrong decisions cost; None where the most probable class is decided.
    threshold
        From which probability on the last of two classes is decided, whatever mistakes cost; None where it does not matter.

    Raises
    ------
    ValueError
        No weight, or answers of classes beside answers of numbers.

    Examples
    --------
    >>> mix([Prediction(np.array([1.0])), Prediction(np.array([4.0]))], [1, 2]).label.tolist()
    [3.0]
    >>> ab = Prediction(np.array(["a"], object), np.array([[0.6, 0.4]]), ("a", "b"))
    >>> ac = Prediction(np.array(["c"], object), np.array([[0.2, 0.8]]), ("a", "c"))
    >>> both = mix([ab, ac], [0.5, 0.5])
    >>> both.classes, both.probability.round(3).tolist(), both.label.tolist()
    (('a', 'b', 'c'), [[0.4, 0.2, 0.4]], ['a'])
    """
    total = float(sum(weights))
    if len(answers) != len(weights) or not total > 0:
        raise ValueError(f"{len(answers)} answers with the weights {list(weights)}, wanted one each, and not all 0")
    if len({each.probability is None for each in answers}) > 1:
        raise ValueError("answers of classes cannot be mixed with answers of numbers")
    shares = np.asarray(weights, np.float64) / total
    if answers[0].probability is None:
        return Prediction(shares @ np.array([each.label for each in answers], np.float64))
    widest = max((each.classes or () for each in answers), key=len)
    classes = (*widest, *sorted({name for each in answers for name in each.classes or ()} - set(widest)))
    probability = np.zeros((len(answers[0]), len(classes)))
    for share, each in zip(shares, answers, strict=True):
        if (aligned := each.aligned(classes)).probability is not None:
            probability += share * aligned.probability
    codes = decide(probability, None if costs is None else costs.ordered(classes), threshold)
    return Prediction(object_column(classes)[codes], probability, classes, codes)
