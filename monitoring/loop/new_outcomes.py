"""What became known of labelled rows between two slots, added up by bucket, version and segment while the log is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monitoring.journal.carries import Carry
from monitoring.journal.outcomes import Outcome, OutcomeUpdate
from monitoring.judging.performance.outcome_sums import OutcomeSums, count_outcomes, score_edges
from monitoring.loop.references import in_force
from monitoring.stores import Stores
from service.prediction_log.reading import NOT_LABELLED, Outcomes
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.profiles.bins import SCORE
from training.profiles.measures import ALL, Segment
from training.profiles.reference import Reference

Key = tuple[int, str, str]


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
    edges, is_first
        The edges of the bins of scores, and whether they were not stored yet.
    segments
        By which rows are parted.
    sums
        What was added up, by bucket, version and segment.
    """

    since_us: int
    width_us: int
    is_binary: bool
    edges: tuple[float, ...]
    is_first: bool
    segments: tuple[Segment, ...] = ()
    sums: dict[Key, OutcomeSums] = field(default_factory=dict)

    @classmethod
    def since(cls, stores: Stores, spec: ModelSpec, champion: str, carry: Carry, slot_us: int) -> NewOutcomes:
        """Return one for a slot, of what came since the slot before; segments are those of the reference in force."""
        stored, schema = stores.journal.outcomes.edges(spec.model), spec.schema
        edges = stored if stored is not None else score_edges(_edges_of(stores.load(spec.model, champion).reference, spec))
        segments: Sequence[Segment] = ()
        if spec.watching.segments:
            held = in_force(stores, spec, champion, slot_us, stores.journal.watch_state(spec.model))
            segments = [one for one in held.measures.segments if one.column in schema.names]
        width_us = duration_us(spec.watching.bucket)
        return cls(carry.counted_us, width_us, schema.task == "binary", edges, stored is None, tuple(segments))

    @property
    def features(self) -> tuple[str, ...]:
        """The features by whose values rows are parted."""
        return tuple(segment.column for segment in self.segments)

    def add(self, part: Outcomes) -> None:
        """Add up what is new of some rows of the log."""
        new = np.flatnonzero((part.known_us != NOT_LABELLED) & (part.known_us >= self.since_us))
        if not len(new):
            return
        prediction, label = part.prediction.take(new), part.label[new]
        starts, bucket = np.unique(part.event_us[new] // self.width_us * self.width_us, return_inverse=True)
        versions, version = np.unique(part.version[new].astype(str), return_inverse=True)
        whole = bucket * len(versions) + version
        for keys, place in self._parts(part, new):
            numbers, group = np.unique(whole * len(keys) + place, return_inverse=True)
            counted = count_outcomes(group, label, prediction, self.edges, is_binary=self.is_binary)
            for number, sums in zip(numbers.tolist(), counted, strict=True):
                rest, segment = divmod(number, len(keys))
                key = (int(starts[rest // len(versions)]), str(versions[rest % len(versions)]), keys[segment])
                self.sums[key] = self.sums[key].plus(sums) if key in self.sums else sums

    def update(self) -> OutcomeUpdate:
        """Return what the journal keeps."""
        outcomes = tuple(Outcome(*key, sums) for key, sums in sorted(self.sums.items()))
        return OutcomeUpdate(self.since_us, outcomes, self.edges if self.is_first else ())

    def _parts(self, part: Outcomes, new: np.ndarray[tuple[int], np.dtype[np.intp]]) -> list[tuple[tuple[str, ...], np.ndarray]]:
        """Return the keys of all rows and of each feature's segments, with the place of each row's among them."""
        by_feature = [(segment.keys, segment.places(part.columns[segment.column][new])) for segment in self.segments]
        return [((ALL,), np.zeros(len(new), dtype=np.intp)), *by_feature]


def _edges_of(reference: Reference, spec: ModelSpec) -> tuple[float, ...]:
    """Return the edges of a reference's bins of the score, where that is the probability of one class."""
    if spec.schema.task != "binary" or SCORE not in reference.total.counts:
        return ()
    return reference.bins.column(SCORE).edges
