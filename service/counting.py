"""Records to profile counts: each row under the bins of its own version, in its own bucket of model time (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from service.log_writing import CountedRows
from service.records import Record
from service.versions import VersionFacts
from training.prediction import Prediction
from training.profile import with_outputs
from training.rows import Columns

FindFacts = Callable[[str, str], VersionFacts | None]


def count_rows(records: Sequence[Record], find: FindFacts) -> tuple[list[CountedRows], int]:
    """Count records by version and bucket.

    Returns
    -------
    tuple
        The counts, and how many rows could not be counted because nothing is known of their version any more.
    """
    counted: list[CountedRows] = []
    uncounted = 0
    groups: dict[tuple[str, str, tuple[str, ...] | None], list[Record]] = {}
    for record in records:
        classes = None if record.classes is None else tuple(record.classes)
        groups.setdefault((record.model, record.version, classes), []).append(record)
    for (model, version, classes), group in groups.items():
        facts = find(model, version)
        if facts is None or any(record.bins_id != facts.bins.id for record in group):
            uncounted += sum(map(len, group))
        else:
            counted += _count_group(model, version, classes, group, facts)
    return counted, uncounted


def _count_group(
    model: str, version: str, classes: tuple[str, ...] | None, group: Sequence[Record], facts: VersionFacts
) -> Iterable[CountedRows]:
    columns = with_outputs(_columns(group, facts), _prediction(group, classes))
    event_us = np.concatenate([np.asarray(record.event_us, dtype=np.int64) for record in group])
    buckets = event_us // facts.bucket_us * facts.bucket_us
    for bucket_us in np.unique(buckets).tolist():
        chosen = buckets == bucket_us
        part = columns if bool(chosen.all()) else {name: values[chosen] for name, values in columns.items()}
        yield CountedRows(model, version, bucket_us, int(np.count_nonzero(chosen)), facts.bins.count(part))


def _columns(group: Sequence[Record], facts: VersionFacts) -> Columns:
    kinds = {column.name: column.kind for column in facts.bins.columns}
    return {
        name: _array([value for record in group for value in record.features[name]], is_number=kinds[name] == "numeric")
        for name in group[0].features
        if name in kinds
    }


def _prediction(group: Sequence[Record], classes: tuple[str, ...] | None) -> Prediction:
    outputs = [value for record in group for value in record.outputs]
    if classes is None:
        return Prediction(_array(outputs, is_number=True))
    probabilities = [row for record in group for row in record.probabilities or ()]
    return Prediction(_array(outputs, is_number=False), np.array(probabilities, dtype=np.float64), classes)


def _array(values: list[Any], *, is_number: bool) -> npt.NDArray[Any]:
    if is_number:
        return np.array(values, dtype=np.float64)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
