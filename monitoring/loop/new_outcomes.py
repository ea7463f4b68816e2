"""What became known of labelled rows between two slots, added up by bucket, generation and segment while the log is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitoring.journal.carries import Carry
from monitoring.journal.outcomes import NO_ANSWERS, NO_ROWS, Outcome, OutcomeUpdate
from monitoring.judging.estimating.answers import Answers, count_answers
from monitoring.judging.performance.outcome_sums import OutcomeSums
from monitoring.judging.unlabelled.strata import Due, count_by_stratum, count_due
from monitoring.loop.references import in_force
from monitoring.performance.score_edges import ScoreEdges
from monitoring.stores import Stores
from service.prediction_log.reading import NOT_LABELLED, Outcomes
from training.artifacts.manifest import generation_of
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.profiles.measures import ALL, Segment

Key = tuple[int, str, str]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class NewOutcomes:
    """Labelled rows that were not known, or had no label, at the slot before.

    Attributes
    ----------
    since_us
        That slot; 0 before the first: then all are new.
    width_us
        How wide a bucket is.
    is_binary
        Whether the last class is the one that is asked about.
    edges
        By which scores are counted.
    segments
        By which rows are parted.
    sums
        What was added up, by bucket, generation and segment: versions that differ by their weights and maps count as one.
    answers
        What was answered for rows that were not there at the slot before, labelled or not; by bucket and generation.
    due
        The same rows, by bucket, generation and segment.
    """

    since_us: int
    width_us: int
    is_binary: bool
    edges: ScoreEdges
    segments: tuple[Segment, ...] = ()
    sums: dict[Key, OutcomeSums] = field(default_factory=dict)
    answers: dict[tuple[int, str], Answers] = field(default_factory=dict)
    due: dict[Key, Due] = field(default_factory=dict)

    @classmethod
    def since(cls, stores: Stores, spec: ModelSpec, champion: str, carry: Carry, slot_us: int) -> NewOutcomes:
        """Return one for a slot, of what came since the slot before; segments are those of the reference in force."""
        edges, schema = ScoreEdges.of(stores, spec, champion), spec.schema
        segments: Sequence[Segment] = ()
        if spec.watching.segments:
            held = in_force(stores, spec, champion, slot_us, stores.journal.watch_state(spec.model))
            segments = [one for one in held.measures.segments if one.column in schema.names]
        width_us = duration_us(spec.watching.bucket)
        return cls(carry.counted_us, width_us, schema.task == "binary", edges, tuple(segments))

    @property
    def features(self) -> tuple[str, ...]:
        """The features by whose values rows are parted."""
        return tuple(segment.column for segment in self.segments)

    def add(self, part: Outcomes) -> None:
        """Add up what is new of some rows of the log."""
        self._add_answers(part)
        new = np.flatnonzero((part.known_us != NOT_LABELLED) & (part.known_us >= self.since_us))
        if not len(new):
            return
        prediction, label = part.prediction.take(new), part.label[new]
        starts, versions, whole = self._groups(part, new)
        for keys, place in self._parts(part, new):
            numbers, group = np.unique(whole * len(keys) + place, return_inverse=True)
            counted = count_by_stratum(group, label, prediction, (self.edges.bins, self.edges.strata), is_binary=self.is_binary)
            for number, sums in zip(numbers.tolist(), counted, strict=True):
                rest, segment = divmod(number, len(keys))
                key = (int(starts[rest // len(versions)]), str(versions[rest % len(versions)]), keys[segment])
                self.sums[key] = self.sums[key].plus(sums) if key in self.sums else sums

    def _add_answers(self, part: Outcomes) -> None:
        new = np.flatnonzero(part.there_us >= self.since_us)
        if not len(new):
            return
        starts, versions, whole = self._groups(part, new)
        prediction = part.prediction.take(new)
        for keys, place in self._parts(part, new):
            numbers, group = np.unique(whole * len(keys) + place, return_inverse=True)
            due = count_due(group, prediction, self.edges.strata, is_binary=self.is_binary)
            for number, rows in zip(numbers.tolist(), due, strict=True):
                rest, segment = divmod(number, len(keys))
                of_all = (int(starts[rest // len(versions)]), str(versions[rest % len(versions)]), keys[segment])
                self.due[of_all] = self.due[of_all].plus(rows) if of_all in self.due else rows
        numbers, group = np.unique(whole, return_inverse=True)
        counted = count_answers(group, prediction, self.edges.bins, is_binary=self.is_binary)
        for number, answers in zip(numbers.tolist(), counted, strict=True):
            key = int(starts[number // len(versions)]), str(versions[number % len(versions)])
            self.answers[key] = self.answers[key].plus(answers) if key in self.answers else answers

    def _groups(self, part: Outcomes, rows: Places) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_], Places]:
        """Return the buckets and the generations of some rows, and of each row its bucket times the generations, plus its generation."""
        starts, bucket = np.unique(part.event_us[rows] // self.width_us * self.width_us, return_inverse=True)
        versions, version = np.unique(part.version[rows].astype(str), return_inverse=True)
        generations, place = np.unique([generation_of(each) for each in versions.tolist()], return_inverse=True)
        return starts, generations, bucket * len(generations) + place[version]

    def update(self) -> OutcomeUpdate:
        """Return what the journal keeps."""
        outcomes = tuple(
            Outcome(
                *key,
                self.sums.get(key, OutcomeSums()),
                self.answers.get(key[:2], NO_ANSWERS) if key[2] == ALL else NO_ANSWERS,
                self.due.get(key, NO_ROWS),
            )
            for key in sorted(self.sums.keys() | self.due.keys())
        )
        return OutcomeUpdate(self.since_us, outcomes, *(() if self.edges.is_stored else (self.edges.bins, self.edges.strata)))

    def _parts(self, part: Outcomes, new: np.ndarray[tuple[int], np.dtype[np.intp]]) -> list[tuple[tuple[str, ...], np.ndarray]]:
        """Return the keys of all rows and of each feature's segments, with the place of each row's among them."""
        by_feature = [(segment.keys, segment.places(part.columns[segment.column][new])) for segment in self.segments]
        return [((ALL,), np.zeros(len(new), dtype=np.intp)), *by_feature]
