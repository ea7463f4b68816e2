"""Records to profile counts: each row under the measures of its model, in its bucket of model time, as of when it came (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from service.count_ledger.counts import CountedRows
from service.prediction_log.records import Record
from service.prediction_log.writing import InForce, Met
from service.recording.version_facts import VersionFacts
from training.artifacts.manifest import generation_of
from training.profiles.measures import Measures
from training.schema.prediction import Prediction
from training.schema.rows import Columns, object_column

FindFacts = Callable[[str, str], VersionFacts | None]
NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class AnsweredRows:
    """Rows that one version answered, as they are counted.

    Attributes
    ----------
    generation
        Whose members answered: rows of versions that differ by their weights and maps are counted as one.
    features
        The values of each feature, in parts.
    event_us, known_us
        Shape (n_rows,): their own model time, and that from which on they are there.
    """

    generation: str
    features: Mapping[str, Sequence[Any]]
    event_us: npt.NDArray[np.int64]
    known_us: npt.NDArray[np.int64]
    prediction: Prediction


class RowCounter:
    """Count records under what is in force when they are stored.

    Attributes
    ----------
    uncounted
        How many rows could not be counted the last time: nothing is known of their version, and their model has no measures.
    """

    def __init__(self, records: Sequence[Record], find: FindFacts) -> None:
        self._records = records
        self._find = find
        self.uncounted = 0

    def count(self, met: Met, in_force: InForce) -> list[CountedRows]:
        """Return the counts of all records; see `count_rows`."""
        counted, self.uncounted = count_rows(self._records, self._find, met, in_force)
        return counted


def count_rows(records: Sequence[Record], find: FindFacts, met: Met = (), in_force: InForce | None = None) -> tuple[list[CountedRows], int]:
    """Count records by version and bucket.

    Parameters
    ----------
    met
        For each record the model time it met if a row of it is late for its bucket, else None.
    in_force
        What each model counts under; where it is not said, under what the version that answered learned.

    Returns
    -------
    The counts, and how many rows could not be counted because nothing is known of their version any more. A bucket can
    come twice: with the rows of packed records, and with those of the others.
    """
    counted: list[CountedRows] = []
    uncounted = 0
    groups: dict[tuple[str, str, tuple[str, ...] | None, bool], list[tuple[Record, int | None]]] = {}
    for record, at in zip(records, met or [None] * len(records), strict=True):
        classes = None if record.classes is None else tuple(record.classes)
        groups.setdefault((record.model, record.version, classes, record.is_packed), []).append((record, at))
    for (model, version, classes, _), pairs in groups.items():
        group = [record for record, _ in pairs]
        views = [(counted.measures, counted.width_us) for counted in (in_force or {}).get(model, ())]
        views = views or _own(group, find(model, version))
        if not views:
            uncounted += sum(map(len, group))
            continue
        answered = _answered(generation_of(version), classes, group, [at for _, at in pairs])
        for measures, width_us in views:
            counted += count_answered(model, answered, measures, width_us)
    return counted, uncounted


def _own(group: Sequence[Record], facts: VersionFacts | None) -> list[tuple[Measures, int]]:
    if facts is None or any(record.bins_id != facts.measures.id for record in group):
        return []
    return [(facts.measures, facts.bucket_us)]


def _answered(generation: str, classes: tuple[str, ...] | None, group: Sequence[Record], late: Met) -> AnsweredRows:
    event_us = _joined([record.event_us for record in group], np.int64)
    known_us = event_us
    if any(at is not None for at in late):
        met = np.repeat([NEVER if at is None else at for at in late], [len(record) for record in group])
        known_us = np.maximum(event_us, met)
    features = {name: [record.features[name] for record in group] for name in group[0].features}
    return AnsweredRows(generation, features, event_us, known_us, _prediction(group, classes))


def count_answered(model: str, answered: AnsweredRows, measures: Measures, width_us: int) -> Iterator[CountedRows]:
    """Count rows by bucket, by the bucket from which on they are known, and by segment."""
    columns = _columns(answered.features, measures)
    computed = measures.computed(columns, answered.event_us, answered.prediction)
    for bucket_us, from_us, chosen in _cells(answered.event_us, answered.known_us, width_us):
        part, features = _chosen(computed, chosen), _chosen(columns, chosen)
        for segment, profile in (("", measures.count(part)), *measures.by_segment(features, part)):
            yield CountedRows(model, answered.generation, bucket_us, profile.rows, profile, width_us, from_us, segment)


def _chosen(columns: Columns, chosen: npt.NDArray[np.bool_]) -> Columns:
    return columns if bool(chosen.all()) else {name: values[chosen] for name, values in columns.items()}


def _cells(
    event_us: npt.NDArray[np.int64], known_us: npt.NDArray[np.int64], width_us: int
) -> Iterator[tuple[int, int, npt.NDArray[np.bool_]]]:
    """Return each bucket with each bucket from which on some of its rows are there, and a mask of these."""
    buckets = event_us // width_us * width_us
    known = buckets if known_us is event_us else known_us // width_us * width_us
    for bucket_us in np.unique(buckets).tolist():
        in_bucket = buckets == bucket_us
        if known is buckets:
            yield bucket_us, bucket_us, in_bucket
            continue
        for from_us in np.unique(known[in_bucket]).tolist():
            yield bucket_us, from_us, in_bucket & (known == from_us)


def _columns(features: Mapping[str, Sequence[Any]], measures: Measures) -> Columns:
    columns: Columns = {}
    for name, parts in features.items():
        is_number = measures.is_number(name)
        if is_number is not None:
            try:
                columns[name] = _joined(parts, np.float64 if is_number else object)
            except (TypeError, ValueError):  # a version for which it is another kind of column: as it is, it cannot be counted
                continue
    return columns


def _prediction(group: Sequence[Record], classes: tuple[str, ...] | None) -> Prediction:
    probabilities = [[] if record.probabilities is None else record.probabilities for record in group]
    return prediction_of([record.outputs for record in group], probabilities, classes)


def prediction_of(outputs: Sequence[Any], probabilities: Sequence[Any], classes: tuple[str, ...] | None) -> Prediction:
    """Return what was answered for rows that come in parts."""
    if classes is None:
        return Prediction(_joined(outputs, np.float64))
    return Prediction(_joined(outputs, object), _joined(probabilities, np.float64), classes)


def _joined(parts: Sequence[Any], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """Join the values of records that are all packed, or all not (those by the thousand, of one row each).

    Examples
    --------
    >>> _joined([[1.5], [None]], np.float64).tolist()
    [1.5, nan]
    """
    if isinstance(parts[0], np.ndarray):
        return np.concatenate([np.asarray(part, dtype=kind) for part in parts])
    values = list(chain.from_iterable(parts))
    return object_column(values) if kind is object else np.array(values, dtype=kind)
