"""What is held up as the best that could be: refits at every slot, on the one window that turned out best (bare fits, no loop)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from monitoring.backtest.stream import Stream
from training.errors import EvergreenError
from training.fitting.candidates import Candidate
from training.fitting.fitted_model import FittedModel
from training.fitting.search import ask, fit
from training.schema.prediction import Prediction
from training.schema.rows import Rows

SHARES = (0.04, 0.08, 0.16, 0.32, 1.0)
"""Windows: the newest rows whose labels are there, as shares of all rows of the table."""


@dataclass(frozen=True, slots=True)
class Refits:
    """The answers to the rows from one slot to the next, by window; shape of each: the rows between.

    Attributes
    ----------
    seconds
        Of processor time, of the fits of each window.
    """

    answers: tuple[Prediction, ...]
    seconds: tuple[float, ...]


def stretches(stream: Stream) -> list[tuple[int, int, int]]:
    """Return for each fit how many labels were in, and the rows it answers: before the first slot, and after each."""
    boundaries = [step for step in stream.plan if step.is_boundary]
    edges = [0, *(step.stop for step in boundaries), len(stream.live)]
    known = [0, *(step.before.stop for step in boundaries)]
    return [(n, start, stop) for n, (start, stop) in zip(known, pairwise(edges), strict=True)]


def refit(stream: Stream, candidate: Candidate, some: Sequence[tuple[int, int, int]]) -> list[Refits]:
    """Fit a candidate on each window as of some slots, and answer the rows until the next.

    Where a window cannot be fitted (one class is all it has), all rows are.

    Parameters
    ----------
    some
        Of `stretches`.
    """
    whole = _joined(stream)
    out = []
    for known, start, stop in some:
        rows = _known(stream, whole, known)
        fits: dict[int, tuple[FittedModel | None, float]] = {}
        answers, seconds = [], []
        asked = stream.live.slice(start, stop)
        for share in SHARES:
            size = min(len(rows), max(1, round(share * len(whole))))
            if size not in fits:
                fits[size] = _fit(candidate, rows.slice(len(rows) - size, len(rows)), stream)
            model, took = fits[size]
            if model is None:
                fits[len(rows)] = fits.get(len(rows)) or _fit(candidate, rows, stream)
                model, took = fits[len(rows)]
            assert model is not None, "all rows have two classes: the first version was learned from them"
            answers.append(ask(candidate, model, asked.columns))
            seconds.append(took)
        out.append(Refits(tuple(answers), tuple(seconds)))
    return out


def _fit(candidate: Candidate, rows: Rows, stream: Stream) -> tuple[FittedModel | None, float]:
    began = time.process_time()
    if stream.spec.schema.is_classification and len(set(rows.labels.tolist())) < 2:
        return None, 0.0
    try:
        return fit(candidate, rows, stream.spec.schema), time.process_time() - began
    except (EvergreenError, ValueError):  # too few rows for what the candidate does with them
        return None, time.process_time() - began


def _joined(stream: Stream) -> Rows:
    """Return all rows, those that are lived through with the labels that come of them."""
    feedback, live = stream.feedback, stream.live
    target = live.labels.copy()
    target[feedback.row] = feedback.label
    columns = {name: np.concatenate([values, live.columns[name]]) for name, values in stream.first.columns.items()}
    return Rows(columns, np.concatenate([stream.first.labels, target]), np.concatenate([stream.first.time_us, live.time_us]))


def _known(stream: Stream, whole: Rows, known: int) -> Rows:
    """Return the labelled rows whose labels are in, in the order of time."""
    is_known: npt.NDArray[np.bool_] = np.zeros(len(whole), dtype=bool)
    is_known[: len(stream.first)] = True
    is_known[len(stream.first) + stream.feedback.row[:known]] = True
    return whole.take(is_known & whole.is_labelled)
