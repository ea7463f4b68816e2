"""Labels that nothing can be learned from, on real streams: how many batches made wrong are found, and how many where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from benchmarks.loop.streams import Case, Stream, load, names
from monitoring.judging.labels.agreement import Thirds, agreement_of
from monitoring.judging.labels.unlearnable import LEAST_ROWS, Batch, screen
from monitoring.loop.label_watch import LASTING_SLOTS
from monitoring.performance.quick_models import reached
from training.clock import duration_us
from training.fitting.search import fit
from training.schema.prediction import Prediction
from training.schema.rows import Rows

REFITTED = 4  # slots between two fits of what answers, on all labels that are in
STRETCHES, SLOTS_BAD = (0.35, 0.60, 0.80), 3.5  # of the slots
MANY = "kdd99"  # blocks of one class: hardly a batch has a correlation
Labels = np.ndarray
Break = Callable[[np.random.Generator, Labels, list[str]], Labels]


def _flipped(share: float) -> Break:
    def flip(rng: np.random.Generator, labels: Labels, classes: list[str]) -> Labels:
        is_other = rng.random(len(labels)) < share
        if not classes:
            return np.where(is_other, rng.permutation(labels), labels)
        place = np.searchsorted(classes, labels.astype(str))
        other = (place + rng.integers(1, len(classes), len(labels))) % len(classes)
        return np.array(classes, object)[np.where(is_other, other, place)]

    return flip


def _contrary(rng: np.random.Generator, labels: Labels, classes: list[str]) -> Labels:
    return np.array(classes, object)[::-1][np.searchsorted(classes, labels.astype(str))] if classes else 2 * np.median(labels) - labels


BREAKS: Mapping[str, Break | None] = {
    "as it is": None,
    "two in five of another class, or number": _flipped(0.4),
    "three in five": _flipped(0.6),
    "of any other row": lambda rng, labels, classes: rng.permutation(labels),
    "of the next row": lambda rng, labels, classes: np.roll(labels, -1),
    "contrary": _contrary,
    "one in five": _flipped(0.2),
}


@dataclass
class Answered:
    """A stream in batches with what was answered; what models of their own reach is kept."""

    stream: Stream
    rows: list[Rows]
    answers: list[Prediction]
    slots: list[int]
    kept: dict[tuple[int, int], float | None] = field(default_factory=dict)

    def screened(self, how: Break | None) -> tuple[int, int, int]:
        """Return how many batches that are wrong were found, how many are wrong, and how many others were found."""
        n_slots, classes = len(self.stream.edges) - 1, sorted(map(str, self.stream.spec().schema.classes or ()))
        begins = [part * n_slots for part in STRETCHES]
        is_bad = [how is not None and any(begin <= slot < begin + SLOTS_BAD for begin in begins) for slot in self.slots]
        rows = [
            Rows(one.columns, how(np.random.default_rng(at), one.labels, classes), one.time_us) if how is not None and bad else one
            for at, (one, bad) in enumerate(zip(self.rows, is_bad, strict=True))
        ]
        aside = self._looked(rows, {at for at, bad in enumerate(is_bad) if bad})
        return len([at for at in aside if is_bad[at]]), sum(is_bad), len([at for at in aside if not is_bad[at]])

    def _looked(self, rows: list[Rows], bad: set[int]) -> set[int]:
        """Look after each batch, as the loop does at each slot; return what was ever set aside."""
        thirds, every_us = self.thirds, duration_us(self.stream.spec().watching.every)
        starts = [int(one.time_us[0]) for one in rows]
        place = {start: at for at, start in enumerate(starts)}
        own: dict[tuple[int, int], float | None] = {}

        def learned(taught: Batch, asked: Batch) -> float | None:
            one, other = place[taught.start_us], place[asked.start_us]
            known = self.kept if one not in bad and other not in bad else own
            if (one, other) not in known:
                known[one, other] = reached(self.stream.spec(), rows[one], None if one == other else rows[other], thirds)
            return known[one, other]

        batches = [
            Batch(start, int(one.time_us[-1]) + 1, agreement_of(answer, one.labels, np.zeros(len(one), np.intp), 1, thirds)[0])
            for start, one, answer in zip(starts, rows, self.answers, strict=True)
        ]
        aside, ever = set[int](), set[int]()
        for stop in range(1, len(batches) + 1):
            seen = [replace(one, aside_rows=one.rows if at in aside else 0) for at, one in enumerate(batches[:stop])]
            result = screen(seen, learned, lasting_us=LASTING_SLOTS * every_us)
            new = {place[one.start_us] for one in result.broken}
            aside, ever = aside | new, ever | new
            for span in result.accepted:
                aside -= {at for at, start in enumerate(starts) if span.start_us <= start < span.end_us}
        return ever

    @property
    def thirds(self) -> Thirds:
        """Return the two numbers that part the first labels in thirds; None of classes."""
        if self.stream.spec().schema.is_classification:
            return None
        low, high = np.quantile(self.stream.rows.labels[: self.stream.n_first].astype(np.float64), (1 / 3, 2 / 3)).tolist()
        return low, high


def answered(name: str, ticks: int) -> Answered | None:
    """Answer the slots of a stream by fits of all labels that are in, and cut each in batches of at least `LEAST_ROWS`."""
    stream = load(name, Case(ticks=ticks))
    if stream is None:
        return None
    rows, answers, slots, model = list[Rows](), list[Prediction](), list[int](), None
    for slot, (start, stop) in enumerate(pairwise(stream.edges.tolist())):
        if model is None or slot % REFITTED == 0:
            model = fit(stream.candidate, stream.rows.slice(0, max(start - stream.delay, stream.n_first)), stream.spec().schema)
        cuts = np.linspace(start, stop, max(1, (stop - start) // LEAST_ROWS) + 1).astype(int)
        for first, last in pairwise(cuts.tolist()):
            part = stream.rows.slice(first, last)
            rows.append(part)
            answers.append(model.predict(part.columns))
            slots.append(slot)
    return Answered(stream, rows, answers, slots)


def line(name: str, ticks: int) -> str | None:
    """Return the line of a stream; None where its table is not there."""
    one = answered(name, ticks)
    if one is None:
        return None
    cells = []
    for how in BREAKS.values():
        hits, bad, others = one.screened(how)
        cells.append(f"{hits} of {bad}" + (f", {others} beside" if others else "") if how is not None else str(others))
    return f"| {name} | {len(one.rows)} | {' | '.join(cells)} |"


def unlearnable(quick: bool, processes: int, only: str = "") -> Iterator[str]:
    """Yield the table: batches found, by stream and by what is wrong with three stretches of three and a half slots."""
    yield f"| stream | batches | found {' | '.join(BREAKS)} |"
    yield f"|---|---|{'---|' * len(BREAKS)}"
    chosen = [name for name in names() if only in name and name != MANY]
    with ProcessPoolExecutor(processes) as pool:
        lines = pool.map(line, chosen, [8 if quick else 60] * len(chosen))
        yield from (one for one in lines if one is not None)
