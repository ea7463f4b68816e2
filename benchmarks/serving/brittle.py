"""A model that answers, but for rows that make it raise or hang; it imports nothing that a peer has not got."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

COLUMN = "number_0"
RAISES, HANGS = -7e5, -9e5
"""What that column holds in a row that makes it raise, or hang."""
HANG_SECONDS = 300.0


class Brittle(ClassifierMixin, BaseEstimator):
    """Answers as another classifier does, but for rows that make it raise or hang."""

    def __init__(self, classifier: Any = None) -> None:
        self.classifier = classifier

    def fit(self, table: Any, labels: Any) -> Brittle:
        """Fit the other classifier."""
        self.fitted_ = self.classifier.fit(table, labels)
        self.classes_ = self.fitted_.classes_
        return self

    def predict_proba(self, table: Any) -> Any:
        """Return what the other one says, if it comes to that."""
        column = np.asarray(table[COLUMN], dtype=np.float64)
        if (column == RAISES).any():
            raise ValueError("this row is too much")
        if (column == HANGS).any():
            time.sleep(HANG_SECONDS)
        return self.fitted_.predict_proba(table)

    def predict(self, table: Any) -> Any:
        """Return the class that is likelier."""
        return self.classes_[self.predict_proba(table).argmax(axis=1)]
