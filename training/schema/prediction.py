"""What a model answers for some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.schema.costs import decide
from training.schema.rows import object_column

OUTSIDE = 1e-6
"""How far a probability may lie outside of 0 and 1: what rounding to 32 bits does."""
OFF_SUM = 1e-3
"""How far the probabilities of a row may be from 1 in sum: a thousand of them in 32 bits are nearer."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The output of a model for n rows.

    Attributes
    ----------
    label
        Shape (n,). Classification: object array of class labels as str; regression: float64 values.
    probability
        Shape (n, k), one column a class in the order of `classes`; None for regression.
    classes
        The k classes; of a binary model the **last** one is the positive class. None for regression.
    codes
        Shape (n,), the place of each label in `classes`: labels are counted and written faster by it. None where it is not known.

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

    def fault(self, n_rows: int) -> str | None:
        """Return in words why this cannot be the answer to n rows: another shape, a value that is not finite, no probabilities.

        Examples
        --------
        >>> Prediction(np.array([1.0, np.nan])).fault(2)
        'answers a value that is not finite (row 1)'
        >>> Prediction(np.array(["a"], object), np.array([[1.5, -0.5]]), ("a", "b")).fault(1)
        'answers probabilities outside 0 to 1 (row 0)'
        """
        shape = (n_rows,) if self.probability is None else (n_rows, len(self.classes or ()))
        values = np.asarray(self.label if self.probability is None else self.probability)
        if self.label.shape != (n_rows,) or values.shape != shape:
            return f"answers with shape {values.shape}, wanted {shape}"
        rows = values.astype(np.float64).reshape(n_rows, -1)
        if len(bad := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
            return f"answers a value that is not finite (row {bad[0]})"
        if self.probability is None:
            return None
        if len(bad := np.flatnonzero(((rows < -OUTSIDE) | (rows > 1 + OUTSIDE)).any(axis=1))):
            return f"answers probabilities outside 0 to 1 (row {bad[0]})"
        if len(bad := np.flatnonzero(np.abs(rows.sum(axis=1) - 1) > OFF_SUM)):
            return f"answers probabilities that do not add up to 1 (row {bad[0]})"
        return None

    def take(self, index: npt.NDArray[Any] | slice) -> Prediction:
        """Return the rows at `index` (positions, a mask or a slice)."""
        probability = None if self.probability is None else self.probability[index]
        return Prediction(self.label[index], probability, self.classes, None if self.codes is None else self.codes[index])

    def decided(self, threshold: float) -> Prediction:
        """Return the same prediction with the last of two classes decided where its probability reaches a threshold.

        Examples
        --------
        >>> Prediction(np.array(["no"], object), np.array([[0.7, 0.3]]), ("no", "yes")).decided(0.3).label.tolist()
        ['yes']
        """
        if self.probability is None or self.classes is None or len(self.classes) != 2:
            return self
        codes = decide(self.probability, threshold=threshold)
        return Prediction(object_column(self.classes)[codes], self.probability, self.classes, codes)

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
