"""Small models fitted on some rows of the log alone: what can be learned from their labels, whoever answered them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from monitoring.judging.labels.agreement import NO_LABELS, Agreement, agreement_of
from monitoring.judging.labels.unlearnable import MOST_LEARNED, Batch
from monitoring.log_windows import Range
from monitoring.stores import Stores
from training.errors import CandidateError
from training.fitting.candidates import Candidate
from training.fitting.search import fit
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows

logger = logging.getLogger(__name__)
MOST_KEPT = 1_000
HELD = {"regression": {"alpha": 30.0}}
HELD_CLASSES = {"C": 0.03}
"""A linear model held as if by many rows: from a hundred it learns what is plain, in milliseconds, and does not learn noise by heart."""


@dataclass(frozen=True, slots=True)
class QuickModels:
    """Fits on the labelled rows of batches, as of a slot; what they reach is kept.

    Attributes
    ----------
    aside
        Rows that are quarantined.
    thirds
        By which numbers are laid on a scale (`monitoring.judging.labels.agreement`).
    """

    stores: Stores
    spec: ModelSpec
    slot_us: int
    aside: tuple[Range, ...]
    thirds: tuple[float, float] | None

    def reached(self, taught: Batch, asked: Batch) -> float | None:
        """Return the correlation with the labels of a batch that a model fitted on another reaches; of one on itself, half by half.

        None where it cannot be fitted, as where all labels are of one class.
        """
        spans = (taught.start_us, taught.end_us, taught.rows, asked.start_us, asked.end_us, asked.rows)
        key = (self.spec.model, self.thirds, *spans)
        if key not in self.stores.learned:
            while len(self.stores.learned) >= MOST_KEPT:
                self.stores.learned.pop(next(iter(self.stores.learned)))
            self.stores.learned[key] = self._reached(taught, asked)
        return self.stores.learned[key]

    def _reached(self, taught: Batch, asked: Batch) -> float | None:
        rows = self._rows(taught)
        try:
            if taught == asked:
                odd = np.arange(len(rows)) % 2 == 1
                return self._agreement(rows.take(odd), rows.take(~odd)).plus(self._agreement(rows.take(~odd), rows.take(odd))).correlation
            return self._agreement(rows, self._rows(asked)).correlation
        except (CandidateError, ValueError) as error:  # scikit-learn's where a half has one class only
            logger.debug("%s: nothing is learned from %d rows: %s", self.spec.model, len(rows), error)
            return None

    def _agreement(self, taught: Rows, asked: Rows) -> Agreement:
        if not len(taught) or not len(asked):
            return NO_LABELS
        task = self.spec.schema.task
        model = fit(Candidate("linear", HELD.get(task, HELD_CLASSES), self.spec.training.seed), taught, self.spec.schema)
        whole = np.zeros(len(asked), dtype=np.intp)
        return agreement_of(model.predict(asked.columns), asked.labels, whole, 1, self.thirds)[0]

    def _rows(self, one: Batch) -> Rows:
        """Return the labelled rows of a batch; of many, each k-th."""
        windows = self.stores.windows(self.spec)
        rows = windows.labelled(one.start_us, one.end_us, self.slot_us - 1, self.aside).rows
        return rows.take(slice(None, None, max(1, -(-len(rows) // MOST_LEARNED))))
