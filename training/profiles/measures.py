"""All that is counted of a row: its columns under their bins, what is computed of them, and the segments it belongs to."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from training.profiles.bins import CONFIDENCE, DECIMALS, LABEL, ROW, SCORE, Bins, Profile, is_watched
from training.profiles.derived_columns import DerivedColumns
from training.profiles.moving_columns import CalendarColumn, running_sentence
from training.schema.prediction import Prediction
from training.schema.rows import Columns

OTHER = "(other)"
MOST_VALUES = 10
MOST_LETTERS = 100
ALL = ""
"""The key of all rows, beside those of the segments."""
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Segment:
    """A feature by whose values rows are counted apart: ten of them at most, and all others (the missing ones too) together.

    Examples
    --------
    >>> segment = Segment.learn("city", np.array(["a", "b", "b", None], object))
    >>> segment.keys
    ('city=b', 'city=a', 'city=(other)')
    >>> segment.places(np.array(["a", "c", None], object)).tolist()
    [1, 2, 2]
    """

    column: str
    values: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys its rows are counted under, the rest last."""
        return tuple(f"{self.column}={value}" for value in (*self.values, OTHER))

    def places(self, column: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return which of the keys each row belongs to, shape (n,)."""
        known: dict[Any, int] = {value: place for place, value in enumerate(self.values)}
        if column.dtype != object:
            known = {float(value): place for value, place in known.items()}
        return np.fromiter((known.get(value, len(self.values)) for value in column.tolist()), np.intp, len(column))

    @classmethod
    def learn(cls, name: str, column: npt.NDArray[Any]) -> Segment:
        """Take the commonest values of a column of texts or whole numbers; of equally common ones the first by name.

        Texts that are long, or that not every database keeps, belong to the others.
        """
        occurrences = Counter(spelled for value in column.tolist() if (spelled := _spelled(value)) not in (None, OTHER))
        common = sorted(occurrences.items(), key=lambda item: (-item[1], item[0]))
        return cls(name, tuple(value for value, _ in common if value.isprintable() and len(value) <= MOST_LETTERS)[:MOST_VALUES])


def _spelled(value: str | float | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return None if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)


@dataclass(frozen=True)
class Measures:
    """All that is counted of a row.

    Attributes
    ----------
    bins
        Of features, answers and derived columns; their id is that of the measures.
    derived
        What is computed of the features.
    calendar
        The features that follow from the time of a row: counted as what differs from it.
    running
        The features that run with time: counted, but not watched.
    segments
        The features by whose values rows are counted apart.

    Examples
    --------
    >>> from training.profiles.bins import ColumnBins
    >>> measures = Measures(Bins((ColumnBins("c", "categorical", categories=("a",)),)), segments=(Segment("c", ("a",)),))
    >>> profiles = measures.profiles({"c": np.array(["a", "b"], object)}, np.zeros(2, np.int64))
    >>> [(key, profile.counts["c"].tolist()) for key, profile in profiles]
    [('', [1, 1, 0]), ('c=a', [1, 0, 0]), ('c=(other)', [0, 1, 0])]
    """

    bins: Bins
    derived: DerivedColumns | None = None
    calendar: tuple[CalendarColumn, ...] = ()
    running: tuple[str, ...] = ()
    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        counted = {key: value for key, value in self._stored(self.bins).items() if key != "running"}  # which change no count
        digest = hashlib.sha256(orjson.dumps(counted, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
        object.__setattr__(self, "bins", self.bins.under("" if counted.keys() == {"bins"} else digest))

    @property
    def id(self) -> str:
        """What counts are kept under: the id of the bins where there is nothing else, as before there were measures."""
        return self.bins.id

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all segments, that of all rows first."""
        return (ALL, *(key for segment in self.segments for key in segment.keys))

    @cached_property
    def watched(self) -> tuple[str, ...]:
        """The counted columns that may be watched for drift."""
        return tuple(c.name for c in self.bins.columns if is_watched(c.name) and c.name not in self.running)

    @property
    def moving(self) -> tuple[str, ...]:
        """In sentences, which features move by themselves, and what is watched of them."""
        return (*(column.sentence for column in self.calendar), *map(running_sentence, self.running))

    @cached_property
    def _is_number(self) -> dict[str, bool]:
        by_calendar = {c.name: not any(isinstance(value, str) for _, value in c.values) for c in self.calendar}
        return {c.name: by_calendar.get(c.name, c.kind == "numeric") for c in self.bins.columns if not c.name.startswith("@")}

    def is_number(self, feature: str) -> bool | None:
        """Return whether the values of a feature are numbers (float64), else texts; None where it is not counted."""
        return self._is_number.get(feature)

    def computed(self, columns: Columns, time_us: npt.NDArray[np.int64], prediction: Prediction | None = None) -> Columns:
        """Return the columns that are counted of some rows: features, answers and what is derived.

        Parameters
        ----------
        columns
            Features; one that is not there is not counted, nor what is computed of it.
        """
        counted = dict(columns)
        for column in self.calendar:
            if column.name in columns:
                counted[column.name] = column.differs(columns[column.name], time_us)
        if self.derived is not None:
            counted |= self.derived.compute(columns, time_us)
        return counted | outputs_of(prediction)

    def count(self, computed: Columns) -> Profile:
        """Count what `computed` returned, or some rows of it, whatever their segments."""
        return self.bins.count(computed)

    def profiles(
        self, columns: Columns, time_us: npt.NDArray[np.int64], prediction: Prediction | None = None
    ) -> Iterator[tuple[str, Profile]]:
        """Yield the counts of some rows, at least one: of all (``""``), then of each segment that has rows, in their order.

        What is derived is computed and counted a block of rows at a time, so of many rows it takes no more memory than of few.
        """
        n_rows, outputs = len(time_us), outputs_of(prediction)
        total: dict[str, Profile] = {}
        step = _BLOCK_ROWS if self.derived is not None or self.segments else max(n_rows, 1)
        for start in range(0, n_rows, step):
            rows = slice(start, start + step)
            part = {name: values[rows] for name, values in columns.items()}
            computed = self.computed(part, time_us[rows]) | {name: values[rows] for name, values in outputs.items()}
            for key, profile in ((ALL, self.count(computed)), *self.by_segment(part, computed)):
                total[key] = total[key].merge(profile) if key in total else profile
        yield from ((key, total[key]) for key in self.keys if key in total)

    def by_segment(self, columns: Columns, computed: Columns) -> Iterator[tuple[str, Profile]]:
        """Yield the counts of each segment that has rows; `computed` is of the same rows as the features `columns`."""
        for segment in self.segments:
            if segment.column not in columns:
                continue
            places = segment.places(columns[segment.column])
            order = np.argsort(places.astype(np.uint8), kind="stable")  # of so few keys in one pass
            present, sizes = np.unique(places, return_counts=True)
            bounds = np.append(0, np.cumsum(sizes))
            sorted_columns = {name: values[order] for name, values in computed.items() if name in self._names_by_segment}
            profiles = self.bins.count_blocks(sorted_columns, bounds)
            for place, profile in zip(present.tolist(), profiles, strict=True):
                yield segment.keys[place], profile

    def parts(self, columns: Columns) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Yield the segments that have rows of these features, with a mask of the rows."""
        for segment in self.segments:
            if segment.column in columns:
                places = segment.places(columns[segment.column])
                yield from ((segment.keys[place], places == place) for place in np.unique(places).tolist())

    @cached_property
    def _names_by_segment(self) -> frozenset[str]:
        return frozenset(column.name for column in self.bins.columns) - {DECIMALS, ROW}  # faults are told by all rows

    def without_segments(self) -> Measures:
        """Return the same without segments."""
        return replace(self, segments=())

    def without_derived(self) -> Measures:
        """Return the same without derived columns."""
        derived = frozenset(() if self.derived is None else self.derived.names)
        return replace(self, bins=Bins(tuple(c for c in self.bins.columns if c.name not in derived)), derived=None)

    def _stored(self, bins: Bins) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "derived": None if self.derived is None else self.derived.to_dict(),
            "calendar": [column.to_dict() for column in self.calendar],
            "running": list(self.running),
            "segments": [[segment.column, list(segment.values)] for segment in self.segments],
        }
        return {"bins": bins.to_dict()} | {key: part for key, part in parts.items() if part}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object, without what there is none of."""
        return self._stored(self.bins)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any] | list[dict[str, Any]]) -> Measures:
        """Read what `to_dict` wrote, or `Bins.to_dict`."""
        if isinstance(stored, list):
            return cls(Bins.from_dict(stored))
        return cls(
            Bins.from_dict(stored["bins"]),
            DerivedColumns.from_dict(stored["derived"]) if "derived" in stored else None,
            tuple(CalendarColumn.from_dict(column) for column in stored.get("calendar", ())),
            tuple(stored.get("running", ())),
            tuple(Segment(column, tuple(values)) for column, values in stored.get("segments", ())),
        )

    def to_json(self) -> bytes:
        """Return canonical JSON bytes."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes | str) -> Measures:
        """Read what `to_json` wrote."""
        return cls.from_dict(orjson.loads(text))


def outputs_of(prediction: Prediction | None) -> Columns:
    """Return the pseudo columns of an answer: ``@score``; of classes ``@label``, and of two classes ``@confidence``.

    With more classes the score is the confidence.

    Examples
    --------
    >>> two = Prediction(np.array(["no"], object), np.array([[0.75, 0.25]]), ("no", "yes"))
    >>> {name: values.tolist() for name, values in outputs_of(two).items()}
    {'@score': [0.25], '@label': ['no'], '@confidence': [0.75]}
    """
    if prediction is None:
        return {}
    outputs: Columns = {SCORE: prediction.score}
    if prediction.classes is not None:
        outputs[LABEL] = prediction.label
    if prediction.probability is not None and prediction.probability.shape[1] == 2:
        outputs[CONFIDENCE] = prediction.probability.max(axis=1)
    return outputs
