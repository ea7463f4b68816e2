"""Read the cohorts of a model as of a slot: rows and labels by bucket, of which a slot counts again only what changed since the last.

The same pass over the log adds up what became known of labelled rows (`NewOutcomes`), for the journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from monitoring.judging.cohorts import Cohorts, Maturity, measured_maturity, where_complete
from monitoring.judging.data_faults import Span
from monitoring.judging.label_delays import DRAWN, DelayBins, class_delays, not_measured
from monitoring.judging.labels.agreement import agreement_of
from monitoring.judging.labels.arrivals import Arrivals, Received
from monitoring.judging.labels.counts import CELLS, THIRDS, CountedLabels, LabelCounts
from monitoring.judging.labels.coverage import CoverageRule
from monitoring.judging.labels.pooling import joined
from monitoring.judging.labels.requested import Requested
from monitoring.log_windows import Range
from monitoring.loop.label_watch import LabelWatch, classes_of
from monitoring.loop.new_outcomes import NewOutcomes
from monitoring.stores import Stores
from service.count_ledger.tables import bucket_counts
from service.prediction_log.reading import NOT_LABELLED, Outcomes, read_outcomes
from service.prediction_log.tables import predictions
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.profiles.bins import SCORE
from training.profiles.reference import Reference

Thirds = tuple[float, float] | None
Places = npt.NDArray[np.intp]
row = predictions.c


def read_cohorts(stores: Stores, spec: ModelSpec, champion: str, slot_us: int, new: NewOutcomes | None = None) -> Cohorts:
    """Return the mature rows of a model as of a slot, without those that are quarantined.

    Parameters
    ----------
    new
        Takes what became known of labelled rows since it was asked last.
    """
    thirds = thirds_of(stores.load(spec.model, champion).reference)
    bins = DelayBins.of(spec.labels.delay)
    counting = _Counting(stores, spec, thirds, bins, slot_us)
    counts = counting.counts(new)
    aside = [Span(q.start_us, q.end_us, q.reason) for q in stores.journal.quarantines(spec.model)]
    watch = LabelWatch(stores, spec, champion, thirds, bins)
    maturity = _maturity(stores, spec, counts, watch, slot_us)
    latest_us = None if spec.labels.delay is None else slot_us - duration_us(spec.labels.delay)
    maturity = where_complete(maturity, counting.until(counts, latest_us), spec.labels, counting.width_us, aside)
    has_labels = any(one.labelled.any() for one in counts.values())
    received = _received(stores, spec, slot_us, has_labels=has_labels)
    rule, requested = CoverageRule.of(spec.labels, spec.watching), _requested(stores, spec, slot_us, aside)
    until = counting.until(counts, requested.until(maturity.end_us, rule.bucket_us))
    cohorts = Cohorts.of(until, maturity, rule, aside, received, requested=requested)
    return cohorts.doubting(watch.find(cohorts))


def _received(stores: Stores, spec: ModelSpec, slot_us: int, *, has_labels: bool) -> Received:
    """Return what became of the labels that came before a slot: of a window, or of all of them where no row has one."""
    every_us = duration_us(spec.watching.every)
    since_us = slot_us - max(every_us, duration_us(spec.watching.window)) if has_labels else None
    came = stores.log.arrivals(spec.model, since_us, slot_us)
    slot = Arrivals.of(slot_us - every_us, (one for one in came if one.bucket_us >= slot_us - every_us))
    return Received.of(slot, Arrivals.of(since_us, came), spec.labels, spec.retention)


def _requested(stores: Stores, spec: ModelSpec, slot_us: int, aside: Sequence[Span]) -> Requested:
    """Return the label requests that are answered as of a slot."""
    draws = stores.windows(spec).draws(slot_us - 1, [Range(span.start_us, span.end_us) for span in aside])
    return Requested.of(((draw.start_us, draw.end_us) for draw in draws), [draw.drawn_us[draw.is_answered] for draw in draws])


def thirds_of(reference: Reference) -> Thirds:
    """Return the two scores that part a reference's answers in thirds; None where it has none, or too few different ones."""
    counted = reference.total.counts.get(SCORE)
    if counted is None:
        return None
    edges = reference.bins.column(SCORE).edges
    within = np.cumsum(counted[: max(len(edges) - 1, 0)])
    if len(within) < len(THIRDS) or within[-1] == 0:
        return None
    low, high = (edges[int(np.searchsorted(within, within[-1] * part / 3)) + 1] for part in (1, 2))
    return (float(low), float(high)) if low < high else None


def _maturity(stores: Stores, spec: ModelSpec, counts: dict[int, LabelCounts], watch: LabelWatch, slot_us: int) -> Maturity:
    if spec.labels.delay_rows is not None:
        end_us = stores.windows(spec).matured_end(slot_us)
        needed_us = 0 if end_us is None else slot_us - end_us
        return Maturity(slot_us, end_us, needed_us, needed_us)
    delays = class_delays(((slot_us - start, one.delays) for start, one in counts.items()), watch.bins)
    before_us = slot_us - watch.width_us - (0 if spec.labels.delay is None else duration_us(spec.labels.delay))
    due = sum(int(one.due.sum()) for start, one in counts.items() if start <= before_us)
    return measured_maturity(slot_us, delays, spec.labels, not_measured(watch.usual(), delays, due))


@dataclass(frozen=True, slots=True)
class _Counting:
    """Count the rows of a model as of a slot, by bucket, third of the score, class and delay."""

    stores: Stores
    spec: ModelSpec
    thirds: Thirds
    bins: DelayBins
    slot_us: int

    @property
    def width_us(self) -> int:
        return duration_us(self.spec.watching.bucket)

    def counts(self, new: NewOutcomes | None) -> dict[int, LabelCounts]:
        """Return the counts of all buckets, and keep them for the next slot where nothing about this one can change any more."""
        how = (self.thirds, self.bins.base_us, self.width_us, self.spec.labels.delay_rows is None)
        self.stores.log.prepare()
        watermark_us = self.stores.log.watermark(self.spec.model)  # before the rows: what comes while they are read is not among them
        known, first_us = self.stores.label_counts.get(self.spec.model), self.stores.log.first_event(self.spec.model)
        counts: dict[int, LabelCounts] = {}
        is_behind = new is not None and known is not None and known.slot_us > new.since_us
        if known is None or known.how != how or known.slot_us >= self.slot_us or is_behind:
            self._add_rows(counts, row.event_us < self.slot_us, new)
        else:
            counts |= {start: one for start, one in known.counts.items() if first_us is not None and start >= self._start(first_us)}
            self._add_since(counts, known.slot_us, new)
        if watermark_us is not None and watermark_us >= self.slot_us:
            self.stores.label_counts[self.spec.model] = CountedLabels(how, self.slot_us, counts)
        return counts

    def until(self, counts: dict[int, LabelCounts], end_us: int | None) -> dict[int, LabelCounts]:
        """Return the counts with the bucket in which the mature rows end cut to those that are mature."""
        if end_us is None or end_us % self.width_us == 0 or self._start(end_us) not in counts:
            return counts
        return {**counts, **self._read(Range(self._start(end_us), end_us))}

    def _read(self, span: Range) -> dict[int, LabelCounts]:
        counts: dict[int, LabelCounts] = {}
        self._add_rows(counts, sa.and_(row.event_us >= span.start_us, row.event_us < span.end_us))
        return counts

    def _add_since(self, counts: dict[int, LabelCounts], since_us: int, new: NewOutcomes | None) -> None:
        """Add what came between two slots: rows in time, rows that were late, labels of rows that were there."""
        self._add_rows(counts, sa.and_(row.event_us >= since_us, row.event_us < self.slot_us), new)
        came_late = sa.and_(row.late_us >= since_us, row.late_us < self.slot_us)
        for span in self._late_ranges(since_us):
            self._add_rows(counts, sa.and_(row.event_us >= span.start_us, row.event_us < min(span.end_us, since_us), came_late), new)
        was_there = sa.and_(row.event_us < since_us, sa.or_(row.late_us.is_(None), row.late_us < since_us))
        came = sa.and_(row.labelled_us >= since_us, row.labelled_us < self.slot_us)
        self._add_rows(counts, sa.and_(came, was_there), new, labels_only=True)

    def _add_rows(
        self, counts: dict[int, LabelCounts], where: sa.ColumnElement[bool], new: NewOutcomes | None = None, *, labels_only: bool = False
    ) -> None:
        features, since_us = ((), 0) if new is None else (new.features, new.since_us)
        with self.stores.database.read() as connection:
            for part in read_outcomes(
                connection, self.spec.model, self.spec.schema, where, known_by=self.slot_us - 1, features=features, new_from=since_us
            ):
                self._add(counts, part, labels_only=labels_only)
                if new is not None:
                    new.add(part)

    def _add(self, counts: dict[int, LabelCounts], part: Outcomes, *, labels_only: bool) -> None:
        starts, place = np.unique(part.event_us // self.width_us * self.width_us, return_inverse=True)
        is_labelled = part.labelled_us != NOT_LABELLED
        cells = place * CELLS + self._third(part.score)
        due = np.bincount(cells[:0] if labels_only else cells, minlength=len(starts) * CELLS).reshape(-1, CELLS)
        labelled = np.bincount(cells[is_labelled], minlength=len(starts) * CELLS).reshape(-1, CELLS)
        delays, extremes = self._delays(part, place, is_labelled), self._extremes(part, place[is_labelled], is_labelled)
        answers, labels = part.prediction.take(is_labelled), part.label[is_labelled]
        agreement = agreement_of(answers, labels, place[is_labelled], len(starts), self.thirds)
        for number, start in enumerate(starts.tolist()):
            more = LabelCounts(due[number], labelled[number], delays.get(number, {}), extremes.get(number), agreement[number])
            counts[start] = counts[start].plus(more) if start in counts else more

    def _delays(self, part: Outcomes, place: Places, is_labelled: npt.NDArray[np.bool_]) -> dict[int, dict[tuple[str, int], int]]:
        """Count labels by bucket, class and bin of their delay; those that were drawn came when they were asked for."""
        if not is_labelled.any():
            return {}
        names, kind = classes_of(part.label[is_labelled], self.spec, self.thirds)
        late = self.bins.places(np.maximum(part.labelled_us - part.event_us, 0)[is_labelled])
        late = np.where(part.is_drawn[is_labelled], DRAWN, late)
        keys, numbers = np.unique(np.stack([place[is_labelled], kind, late]), axis=1, return_counts=True)
        delays: dict[int, dict[tuple[str, int], int]] = {}
        for bucket, number_of_class, delay, number in zip(*keys.tolist(), numbers.tolist(), strict=True):
            delays.setdefault(bucket, {})[names[number_of_class], delay] = number
        return delays

    def _extremes(self, part: Outcomes, place: Places, is_labelled: npt.NDArray[np.bool_]) -> dict[int, tuple[float, float]]:
        """Return the least and the largest label by bucket; none of classes."""
        if self.spec.schema.is_classification:
            return {}
        labels, order = part.label[is_labelled], np.argsort(place, kind="stable")
        buckets, first = np.unique(place[order], return_index=True)
        if not len(buckets):
            return {}
        low, high = (each.reduceat(labels[order], first).tolist() for each in (np.minimum, np.maximum))
        return dict(zip(buckets.tolist(), zip(low, high, strict=True), strict=True))

    def _third(self, values: npt.NDArray[np.float64]) -> Places:
        if self.thirds is None:
            return np.full(len(values), CELLS - 1)
        return np.where(np.isnan(values), CELLS - 1, np.searchsorted(self.thirds, values, side="right"))

    def _start(self, event_us: int) -> int:
        return event_us // self.width_us * self.width_us

    def _late_ranges(self, since_us: int) -> list[Range]:
        """Return the buckets of earlier rows that came between two slots: the ledger of counts knows them."""
        counted = bucket_counts.c
        late = sa.select(counted.bucket_us, counted.width_us).distinct().where(
            counted.model == self.spec.model, counted.known_us >= self._start(since_us), counted.known_us < self.slot_us,
            counted.bucket_us < since_us, counted.bucket_us < counted.known_us,
        )  # fmt: skip
        starts: set[int] = set()
        with self.stores.database.read() as connection:
            for bucket_us, counted_us in connection.execute(late):
                starts |= set(range(self._start(bucket_us), bucket_us + max(counted_us, 1), self.width_us))
        return [Range(*each) for each in joined((start, start + self.width_us) for start in sorted(starts))]
