"""Records to profile counts: each row under the bins of its own version, in its own bucket of model time (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
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
        The counts, and how many rows could not be counted because nothing is known of their version any more. A bucket can
        come twice: with the rows of packed records, and with those of the others.
    """
    counted: list[CountedRows] = []
    uncounted = 0
    groups: dict[tuple[str, str, tuple[str, ...] | None, bool], list[Record]] = {}
    for record in records:
        classes = None if record.classes is None else tuple(record.classes)
        groups.setdefault((record.model, record.version, classes, record.is_packed), []).append(record)
    for (model, version, classes, _), group in groups.items():
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
    event_us = _joined([record.event_us for record in group], np.int64)
    buckets = event_us // facts.bucket_us * facts.bucket_us
    for bucket_us in np.unique(buckets).tolist():
        chosen = buckets == bucket_us
        part = columns if bool(chosen.all()) else {name: values[chosen] for name, values in columns.items()}
        yield CountedRows(model, version, bucket_us, int(np.count_nonzero(chosen)), facts.bins.count(part))


def _columns(group: Sequence[Record], facts: VersionFacts) -> Columns:
    kinds = {column.name: column.kind for column in facts.bins.columns}
    return {
        name: _joined([record.features[name] for record in group], np.float64 if kinds[name] == "numeric" else object)
        for name in group[0].features
        if name in kinds
    }


def _prediction(group: Sequence[Record], classes: tuple[str, ...] | None) -> Prediction:
    outputs = [record.outputs for record in group]
    if classes is None:
        return Prediction(_joined(outputs, np.float64))
    probabilities = [[] if record.probabilities is None else record.probabilities for record in group]
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
    return _array(list(chain.from_iterable(parts)), kind)


def _array(values: list[Any], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    if kind is not object:
        return np.array(values, dtype=kind)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
