"""Small models fitted on some rows of the log alone: what can be learned from their labels, whoever answered them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from monitoring.judging.labels.agreement import NO_LABELS, Agreement, Thirds, agreement_of
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
READ, PARTS = 4 * MOST_LEARNED, 24  # rows of a batch that has more, and from so many parts of its time
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
    thirds: Thirds

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
        return reached(self.spec, rows, None if taught == asked else self._rows(asked), self.thirds)

    def _rows(self, one: Batch) -> Rows:
        """Return the labelled rows of a batch; of many, each k-th, of very many those of evenly spaced parts of its time."""
        windows, width_us = self.stores.windows(self.spec), one.end_us - one.start_us
        parts, share = (PARTS, READ / one.rows) if one.rows > READ else (1, 1.0)
        starts = [one.start_us + width_us * part // parts for part in range(parts)]
        spans = [(start, start + max(1, round(width_us * share / parts))) for start in starts]
        rows = Rows.concat([windows.labelled(*span, self.slot_us - 1, self.aside).rows for span in spans])
        return rows.take(slice(None, None, max(1, -(-len(rows) // MOST_LEARNED))))


def reached(spec: ModelSpec, taught: Rows, asked: Rows | None, thirds: Thirds) -> float | None:
    """Return the correlation with the labels of some rows that a model fitted on others reaches; with None of its own, half by half.

    None where it cannot be fitted, as where all labels are of one class.
    """
    try:
        if asked is None:
            odd = np.arange(len(taught)) % 2 == 1
            one, other = taught.take(odd), taught.take(~odd)
            return _agreement(spec, one, other, thirds).plus(_agreement(spec, other, one, thirds)).correlation
        return _agreement(spec, taught, asked, thirds).correlation
    except (CandidateError, ValueError) as error:  # scikit-learn's where a half has one class only
        logger.debug("%s: nothing is learned from %d rows: %s", spec.model, len(taught), error)
        return None


def _agreement(spec: ModelSpec, taught: Rows, asked: Rows, thirds: Thirds) -> Agreement:
    if not len(taught) or not len(asked):
        return NO_LABELS
    model = fit(Candidate("linear", HELD.get(spec.schema.task, HELD_CLASSES), spec.training.seed), taught, spec.schema)
    return agreement_of(model.predict(asked.columns), asked.labels, np.zeros(len(asked), dtype=np.intp), 1, thirds)[0]
