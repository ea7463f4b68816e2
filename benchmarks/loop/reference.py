"""What hindsight knows: refits at every tick on the one window that turned out best (bare fits of the same candidate, no loop)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.loop.streams import Floats, Stream
from training.fitting.fitted_model import FittedModel
from training.fitting.search import fit
from training.mixing.maps import fit_map, mapped
from training.schema.prediction import Prediction

WINDOWS: Mapping[str, float] = {"4 %": 0.04, "8 %": 0.08, "16 %": 0.16, "32 %": 0.32, "all": 1.0}
"""The newest rows whose labels are in, as shares of all rows of the stream."""
NEWEST = 1000  # rows a map is learned from, or two ticks if those are more


@dataclass(frozen=True, slots=True)
class Reference:
    """Refits on one window at every tick.

    Attributes
    ----------
    window
        The one whose mean loss over all ticks is least.
    losses, clean
        Of each tick, and the mean over the rows that nothing is wrong with.
    mapped, mapped_window
        The losses of the best window where each refit is given a map, learned from what those before it answered to the newest rows.
    fits, seconds
        Of that window alone, and of processor time.
    """

    window: str
    losses: list[float]
    clean: float
    mapped: list[float]
    mapped_window: str
    fits: int
    seconds: float


def reference_of(stream: Stream) -> Reference:
    """Refit at every tick on each window, and choose the best one in hindsight."""
    fits: dict[tuple[int, int], tuple[FittedModel, float]] = {}
    plain: dict[str, list[Prediction]] = {window: [] for window in WINDOWS}
    with_map: dict[str, list[Prediction]] = {window: [] for window in WINDOWS}
    took, candidate, schema = dict.fromkeys(WINDOWS, 0.0), stream.candidate, stream.spec().schema
    for start, stop in pairwise(stream.edges.tolist()):
        known = max(start - stream.delay, stream.n_first)
        asked = stream.rows.slice(start, stop).columns
        for window, share in WINDOWS.items():
            begin = _with_classes(stream, max(0, known - round(share * len(stream.rows))), known)
            if (begin, known) not in fits:
                began = time.process_time()
                model = fit(candidate, stream.rows.slice(begin, known), schema)
                fits[begin, known] = model, time.process_time() - began
            model, seconds = fits[begin, known]
            took[window] += seconds
            raw = model.predict(asked)
            with_map[window].append(_with_map(stream, raw, plain[window], start))
            plain[window].append(raw)
    of_plain, of_mapped = ({window: _losses(stream, parts) for window, parts in each.items()} for each in (plain, with_map))
    best, best_mapped = _least(of_plain), _least(of_mapped)
    is_clean = ~stream.is_faulty[stream.edges[0] : stream.edges[-1]]
    return Reference(
        best,
        stream.by_tick(of_plain[best]),
        float(of_plain[best][is_clean].mean()),
        stream.by_tick(of_mapped[best_mapped]),
        best_mapped,
        len(stream.edges) - 1,
        took[best],
    )


def _least(losses: Mapping[str, Floats]) -> str:
    """Return the window whose mean loss is least."""
    return min(losses, key=lambda window: float(losses[window].mean()))


def _with_classes(stream: Stream, begin: int, stop: int) -> int:
    """Return where a window begins: all rows where it has one class only."""
    labels = stream.rows.labels[begin:stop]
    return 0 if labels.dtype == object and len(set(labels.tolist())) < 2 else begin


def _with_map(stream: Stream, raw: Prediction, before: list[Prediction], start: int) -> Prediction:
    """Return answers with the map of the newest rows whose labels are in, by what the refits before answered to them."""
    first, known = int(stream.edges[0]), start - stream.delay
    tick = int(stream.edges[1]) - first
    begin = max(first, known - max(NEWEST, 2 * tick))
    if begin >= known:
        return raw
    places = np.arange(begin, known) - first
    return mapped(raw, fit_map(_joined(before).take(places), stream.rows.labels[begin:known]))


def _joined(parts: list[Prediction]) -> Prediction:
    """Join answers in order; a class that one of them does not know has probability 0 with it."""
    classes = sorted({name for part in parts for name in part.classes or ()})
    aligned = [part.aligned(tuple(classes)) if classes else part for part in parts]
    label = np.concatenate([part.label for part in aligned])
    probability = [part.probability for part in aligned if part.probability is not None]
    return Prediction(label, np.concatenate(probability), tuple(classes)) if probability else Prediction(label)


def _losses(stream: Stream, parts: list[Prediction]) -> Floats:
    pairs = pairwise(stream.edges.tolist())
    return np.concatenate([stream.losses(part, start, stop) for part, (start, stop) in zip(parts, pairs, strict=True)])
