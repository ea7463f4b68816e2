"""Look for label faults as of a slot: mature rows in groups, held against those before them and those that were learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.judging.cohorts import LEAST_DUE, Cohorts
from monitoring.judging.data_faults import Span
from monitoring.judging.label_delays import DRAWN, DelayBins
from monitoring.judging.labels.counts import THIRDS, LabelCounts
from monitoring.judging.labels.faults import Group, LabelFault, LabelFindings, find
from monitoring.judging.labels.unlearnable import UNLEARNABLE, Batch, Screened, batches_of, screen
from monitoring.log_windows import Range
from monitoring.performance.quick_models import QuickModels
from monitoring.stores import Stores
from training.clock import duration_us, from_us
from training.dataset.dataset import read_labels
from training.errors import DataError
from training.model_file.model_spec import ModelSpec
from training.registry.lineage import history_of

MOST_JUDGED, MOST_BEFORE = 300, 100  # groups: older ones were judged when they were the newest
LASTING_SLOTS = 6
Thirds = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class LabelWatch:
    """Where the labels of one model are looked at.

    Attributes
    ----------
    thirds
        The two scores that part labels that are numbers.
    bins
        Of delays.
    """

    stores: Stores
    spec: ModelSpec
    champion: str
    thirds: Thirds
    bins: DelayBins

    @property
    def width_us(self) -> int:
        """Width of a bucket."""
        return duration_us(self.spec.watching.bucket)

    def find(self, cohorts: Cohorts) -> LabelFindings:
        """Return what is wrong with the labels; what is set aside already is not judged, what was let go teaches what is usual."""
        journal, model = self.stores.journal, self.spec.model
        aside = [Span(q.start_us, q.end_us, q.reason) for q in journal.quarantines(model, of_labels=True)]
        let_go = [Span(q.start_us, q.end_us, q.reason) for q in journal.quarantines(model, released=True, of_labels=True)]
        every = self.groups(cohorts, let_go)
        groups = [one for one in every if not _is_aside(one.start_us, one.end_us, aside)]
        findings = find(self.before(), groups, needed_us=cohorts.maturity.needed_us) if groups else LabelFindings()
        broken = [*aside, *(one.span for one in (*findings.faults, *findings.held))]
        screened = self._screened(cohorts, every, broken, [one for one in let_go if one.reason == UNLEARNABLE])
        unlearnable = map(LabelFault.unlearnable, screened.broken)
        return LabelFindings(
            tuple(sorted((*findings.faults, *unlearnable), key=lambda one: (one.start_us, one.kind))),
            findings.held,
            (*findings.notices, *(accepted(one) for one in screened.accepted)),
            tuple(one for one in aside if not (one.reason == UNLEARNABLE and _is_aside(one.start_us, one.end_us, screened.accepted))),
            screened.accepted,
        )

    def _screened(self, cohorts: Cohorts, groups: Sequence[Group], broken: Sequence[Span], let_go: Sequence[Span]) -> Screened:
        """Look for labels that nothing can be learned from, among those that nothing else is wrong with."""
        every_us = duration_us(self.spec.watching.every)
        known, others = [one for one in broken if one.reason == UNLEARNABLE], [one for one in broken if one.reason != UNLEARNABLE]
        parts = [
            Batch(one.start_us, one.end_us, one.agreement, _is(one, let_go), one.labelled if _is_within(one, known) else 0)
            for one in groups
            if one.is_covered and not _is(one, others)
        ]
        aside = tuple(Range(span.start_us, span.end_us) for span in cohorts.aside)
        models = QuickModels(self.stores, self.spec, cohorts.slot_us, aside, self.thirds)
        return screen(batches_of(parts, every_us), models.reached, lasting_us=LASTING_SLOTS * every_us)

    def groups(self, cohorts: Cohorts, let_go: Sequence[Span]) -> list[Group]:
        """Return the newest mature rows in groups."""
        chosen = cohorts.cohorts[-MOST_JUDGED:]
        if not chosen:
            return []
        starts = np.array(sorted(cohorts.counts), dtype=np.int64)
        conflicts = self.stores.log.conflicts(self.spec.model, chosen[0].start_us, cohorts.slot_us)
        in_time = int(self.bins.places(np.array([max(cohorts.maturity.needed_us, self.bins.base_us)]))[0])
        groups = []
        for one in chosen:
            first, stop = np.searchsorted(starts, (one.start_us, one.end_us))
            own = [start for start in starts[first:stop].tolist() if not _is_aside(start, start + self.width_us, cohorts.aside)]
            counted = _added([cohorts.counts[start] for start in own])
            values: dict[str, int] = {}
            for (name, _), number in counted.delays.items():
                values[name] = values.get(name, 0) + number
            is_one = counted.extremes[0] == counted.extremes[1] if counted.extremes is not None else len(values) == 1
            met = int(sum(number for start, number in conflicts.items() if one.start_us <= start < one.end_us))
            soon = sum(number for (_, place), number in counted.delays.items() if DRAWN < place <= in_time)
            drawn = sum(number for (_, place), number in counted.delays.items() if place == DRAWN)
            is_trusted = _is_aside(one.start_us, one.end_us, let_go)
            flags = (one.is_covered, is_trusted)
            groups.append(Group(one.start_us, one.end_us, one.n_due - drawn, values, is_one, soon, met, *flags, counted.agreement))
        return groups

    def before(self) -> tuple[Group, ...]:
        """Return the rows that the first of the champion's forebears learned from in groups; none where nobody knows when they were."""
        record = history_of(self.stores.registry, self.stores.registry.version(self.spec.model, self.champion))
        if record is None or self.spec.schema.time is None:
            return ()
        key = self.spec.model, str(record.manifest["rows_digest"]), self.width_us, self.thirds
        if key not in self.stores.taught:
            try:
                target, time_us = read_labels(self.stores.home.rows, key[1], self.spec.schema)
            except DataError:  # doctor says that they are gone; what comes teaches what is usual
                return ()
            self.stores.taught.clear()
            self.stores.taught[key] = tuple(self._taught(target, time_us))
        return self.stores.taught[key]

    def usual(self) -> dict[str, int]:
        """Return how many of the rows that were learned from are of each class."""
        names = {name for one in self.before() for name in one.values}
        return {name: sum(one.values.get(name, 0) for one in self.before()) for name in names}

    def _taught(self, target: npt.NDArray[Any], time_us: npt.NDArray[np.int64]) -> list[Group]:
        names, kinds = classes_of(target, self.spec, self.thirds)
        places, first = np.unique(time_us // self.width_us, return_index=True)
        ends = [*first[1:].tolist(), len(time_us)]
        groups: list[Group] = []
        begin = 0
        for place, end in zip(places.tolist(), ends, strict=True):
            if end - begin < LEAST_DUE:
                continue
            numbers = np.bincount(kinds[begin:end], minlength=len(names)).tolist()
            values = {name: number for name, number in zip(names, numbers, strict=True) if number}
            groups.append(Group(int(time_us[begin]), (place + 1) * self.width_us, end - begin, values))
            begin = end
        return groups[-MOST_BEFORE:]


def accepted(span: Span) -> str:
    """Say that labels which were set aside count again, and why."""
    return (
        f"labels of rows from {from_us(span.start_us):%Y-%m-%d %H:%M} to {from_us(span.end_us):%Y-%m-%d %H:%M} count again: {span.reason}"
    )


def classes_of(labels: npt.NDArray[Any], spec: ModelSpec, thirds: Thirds) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Return the names of classes, or of the thirds in which numbers lie, and the place of each label's in them."""
    if spec.schema.is_classification:
        names, kind = np.unique(labels, return_inverse=True)
        return [f"class {name}" for name in names.tolist()], kind
    parts = np.full(len(labels), len(THIRDS)) if thirds is None else np.searchsorted(thirds, labels, side="right")
    return [*(f"the {name} third" for name in THIRDS), "all"], parts


def _added(parts: Sequence[LabelCounts]) -> LabelCounts:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.plus(part)
    return whole


def _is(one: Group, spans: Sequence[Span]) -> bool:
    return _is_aside(one.start_us, one.end_us, spans)


def _is_within(one: Group, spans: Sequence[Span]) -> bool:
    return any(span.start_us <= one.start_us and one.end_us <= span.end_us for span in spans)


def _is_aside(start_us: int, end_us: int, spans: Sequence[Span]) -> bool:
    return any(span.start_us < end_us and start_us < span.end_us for span in spans)
