"""What a model said about some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Prediction:
    """The output of a model for n rows.

    Parameters
    ----------
    label
        Shape (n,). Classification: object array of class labels as str; regression: float64 values.
    probability
        Shape (n, k), one column a class in the order of `classes`; None for regression.
    classes
        The k classes; of a binary model the **last** one is the positive class. None for regression.
    codes
        Shape (n,), the place of each label in `classes`: labels are counted and written sooner by it. None where it is not known.

    Examples
    --------
    >>> p = Prediction(np.array(["no"], object), np.array([[0.9, 0.1]]), ("no", "yes"))
    >>> p.score.tolist(), len(p)
    ([0.1], 1)
    """

    label: npt.NDArray[Any]
    probability: npt.NDArray[np.float64] | None = None
    classes: tuple[str, ...] | None = None
    codes: npt.NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def score(self) -> npt.NDArray[np.float64]:
        """One number a row: probability of the positive class, highest probability, or the value itself."""
        if self.probability is None:
            return np.asarray(self.label, dtype=np.float64)
        return self.probability[:, -1] if self.probability.shape[1] == 2 else self.probability.max(axis=1)

    def take(self, index: npt.NDArray[Any] | slice) -> Prediction:
        """Return the rows at `index` (positions, a mask or a slice)."""
        probability = None if self.probability is None else self.probability[index]
        return Prediction(self.label[index], probability, self.classes, None if self.codes is None else self.codes[index])

    def aligned(self, classes: Sequence[str]) -> Prediction:
        """Return the same prediction with its probabilities in the order of `classes`; classes unknown to it get 0."""
        if self.probability is None or self.classes is None or tuple(classes) == self.classes:
            return self
        known = {name: column for column, name in enumerate(self.classes)}
        out = np.zeros((len(self), len(classes)))
        for column, name in enumerate(classes):
            if name in known:
                out[:, column] = self.probability[:, known[name]]
        return Prediction(self.label, out, tuple(classes))

    @staticmethod
    def concat(parts: Sequence[Prediction]) -> Prediction:
        """Join predictions of the same model, in order."""
        first = parts[0]
        probability = None if first.probability is None else np.concatenate([_probability(p) for p in parts])
        return Prediction(np.concatenate([p.label for p in parts]), probability, first.classes)


def _probability(prediction: Prediction) -> npt.NDArray[np.float64]:
    if prediction.probability is None:
        raise ValueError("a prediction without probabilities cannot be joined to one with them")
    return prediction.probability
