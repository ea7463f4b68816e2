"""The reference: what the training rows looked like, whole, by segment and by block of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from training.clock import duration_us
from training.policies import WatchingPolicy
from training.profiles.bin_edges import learn_bins
from training.profiles.bins import DECIMALS, HOUR, ROW, RULE, TWO_VALUES, Bins, ColumnBins, Profile
from training.profiles.derived_columns import DerivedColumns
from training.profiles.measures import Measures, Segment, outputs_of
from training.profiles.moving_columns import learn_moving
from training.profiles.row_cells import CELLS
from training.profiles.variation import ColumnBlocks, Variation, base_width_us, learn_column, learn_variation
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema

MOST_BLOCKS = 400
_DAY = timedelta(days=1)
_HOUR_EDGES = tuple(float(hour) for hour in range(25))
_CELL_EDGES = tuple(float(cell) for cell in range(CELLS + 1))


@dataclass(frozen=True)
class Reference:
    """What the training rows looked like.

    Attributes
    ----------
    total, segments
        The counts of all rows, and of those of each segment.
    bucket_blocks, window_blocks
        The counts of the rows' own blocks of time, at the widths of ``watching.bucket`` (aligned to the epoch, as the
        log's) and ``watching.window`` (whole ones, counted back from the last row); of more than 400 so many spread over all.
        They say how much the reference differs from itself: the normal rate of faults, the floor of the classic rule.
    bucket_starts
        When each of the bucket blocks begins; empty where an older version did not keep it.
    variation
        How each watched column moves by itself, in all rows and in each segment; None where an older version did not learn it.
    start_us, end_us
        The times of its first and last row; None where an older version did not keep them.
    """

    measures: Measures
    total: Profile
    bucket_blocks: tuple[Profile, ...]
    window_blocks: tuple[Profile, ...]
    bucket: timedelta
    window: timedelta
    bucket_starts: tuple[int, ...] = ()
    segments: Mapping[str, Profile] = field(default_factory=dict)
    variation: Variation | None = None
    start_us: int | None = None
    end_us: int | None = None

    @property
    def bins(self) -> Bins:
        """The bins of its measures, under their id."""
        return self.measures.bins

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; what came later is left out where there is none of it."""
        later = {
            "measures": {key: value for key, value in self.measures.to_dict().items() if key != "bins"},
            "bucket_starts": list(self.bucket_starts),
            "segments": {key: profile.to_dict() for key, profile in self.segments.items()},
            "variation": None if self.variation is None else self.variation.to_dict(),
            "range_us": None if self.start_us is None else [self.start_us, self.end_us],
        }
        return {
            "bins": self.bins.to_dict(),
            "total": self.total.to_dict(),
            "bucket_blocks": [p.to_dict() for p in self.bucket_blocks],
            "window_blocks": [p.to_dict() for p in self.window_blocks],
            "bucket_us": duration_us(self.bucket),
            "window_us": duration_us(self.window),
            **{key: value for key, value in later.items() if value},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Reference:
        """Read what `to_dict` wrote, in this version or an older one."""
        start_us, end_us = stored.get("range_us", (None, None))
        return cls(
            Measures.from_dict({"bins": stored["bins"], **stored.get("measures", {})}),
            Profile.from_dict(stored["total"]),
            tuple(Profile.from_dict(p) for p in stored["bucket_blocks"]),
            tuple(Profile.from_dict(p) for p in stored["window_blocks"]),
            timedelta(microseconds=stored["bucket_us"]),
            timedelta(microseconds=stored["window_us"]),
            tuple(stored.get("bucket_starts", ())),
            {key: Profile.from_dict(profile) for key, profile in stored.get("segments", {}).items()},
            Variation.from_dict(stored["variation"]) if "variation" in stored else None,
            start_us,
            end_us,
        )

    def to_json(self) -> bytes:
        """Return canonical JSON bytes."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes | str) -> Reference:
        """Read what `to_json` wrote."""
        return cls.from_dict(orjson.loads(text))


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model that was not fitted on them answers for some rows: it is surer of rows it was fitted on than of any to come.

    Attributes
    ----------
    rows
        Their positions among all rows, increasing.
    """

    prediction: Prediction
    rows: npt.NDArray[np.intp]


def newest_answered(prediction: Prediction, n_rows: int) -> Answered:
    """Return that a prediction is of the newest of some rows."""
    return Answered(prediction, np.arange(n_rows - len(prediction), n_rows))


def build_reference(rows: Rows, schema: Schema, watching: WatchingPolicy, answered: Answered | None = None) -> Reference:
    """Learn from `rows`, at least one, what is counted; and count them.

    Parameters
    ----------
    rows
        In time order, labelled or not.
    answered
        The answers are counted over those rows only, and left out of blocks and segments that hold none of them; without it they are
        left out altogether.
    """
    derived: Columns = {}
    measures = _learn(rows, schema, watching, answered, derived)
    return count_reference(measures, rows, watching, answered, derived, is_dated=schema.is_dated(int(rows.time_us[0])))


def count_reference(
    measures: Measures,
    rows: Rows,
    watching: WatchingPolicy,
    answered: Answered | None = None,
    derived: Columns | None = None,
    *,
    is_dated: bool = True,
    known: Variation | None = None,
) -> Reference:
    """Count rows, at least one, whole, by segment and in blocks, and learn how they vary; parameters as `build_reference`.

    Parameters
    ----------
    derived
        The derived columns of the rows, where those of `measures` are not to be computed.
    is_dated
        Whether the times are times, not the order of a file: of that no column is said to move by itself.
    known
        How the columns were known to vary, see `learn_variation`.
    """
    counting, time_us = _Counting(measures, rows, answered, derived), rows.time_us
    width, span = duration_us(watching.bucket), duration_us(watching.window)
    back = (time_us[-1] - time_us) // span
    not_whole = int(np.count_nonzero(back >= (time_us[-1] + 1 - time_us[0]) // span))
    buckets, windows = _spread(_runs(time_us // width)), _spread(_runs(back, not_whole))
    return Reference(
        measures,
        counting.total(),
        tuple(counting.blocks(buckets)),
        tuple(counting.blocks(windows)),
        watching.bucket,
        watching.window,
        tuple((time_us[[start for start, _ in buckets]] // width * width).tolist()),
        counting.segments(),
        counting.variation(time_us, base_width_us(width, int(time_us[-1] - time_us[0]) + 1) if is_dated else None, known),
        int(time_us[0]),
        int(time_us[-1]),
    )


def learn_measures(rows: Rows, schema: Schema, watching: WatchingPolicy, answered: Answered | None = None) -> Measures:
    """Return what is counted of rows like these."""
    return _learn(rows, schema, watching, answered, None)


def _learn(rows: Rows, schema: Schema, watching: WatchingPolicy, answered: Answered | None, kept: Columns | None) -> Measures:
    """Return what is counted of rows like these; what is derived of these themselves is put into `kept`, or (None) held one at a time."""
    calendar, running = learn_moving(rows.columns, rows.time_us, schema)
    by_calendar = {column.name for column in calendar}
    bins = [
        ColumnBins(name, "numeric", edges=TWO_VALUES)
        if name in by_calendar
        else learn_bins(name, values, is_time=name in schema.names and schema.feature(name).kind == "datetime")
        for name, values in rows.columns.items()
    ]
    is_dated = schema.is_dated(int(rows.time_us[0]))
    still = [column for column in bins if column.name not in by_calendar and column.name not in running]
    lasting = [column.name for column in still if is_dated and _comes_and_stays(column, rows, watching)]
    has_hour = watching.bucket < _DAY and is_dated
    names = [column.name for column in still]
    derived = DerivedColumns.learn(rows.columns, rows.time_us, schema, names, watching.rules, has_hour=has_hour, lasting=lasting)
    bins += [learn_bins(name, values) for name, values in outputs_of(None if answered is None else answered.prediction).items()]
    for name, values in derived.held_out(rows.columns, rows.time_us):
        bins.append(_derived_bins(name, values))
        if kept is not None:
            kept[name] = values
    segments = tuple(Segment.learn(name, rows.columns[name]) for name in watching.segments if name in rows.columns)
    return Measures(Bins(tuple(bins)), derived if derived.names else None, calendar, running, segments)


def _comes_and_stays(bins: ColumnBins, rows: Rows, watching: WatchingPolicy) -> bool:
    """Return whether levels of a number stay for so long that its last ones say little of the next: what is derived of it would too."""
    if bins.kind != "numeric":
        return False
    width_us = base_width_us(duration_us(watching.bucket), int(rows.time_us[-1] - rows.time_us[0]) + 1)
    starts, block = np.unique(rows.time_us // width_us, return_inverse=True)
    counts = bins.count_blocks(rows.columns[bins.name], block, len(starts))
    return any(excess.lasts for excess in learn_column(ColumnBlocks(bins.name, "", True, starts * width_us, width_us, counts)).excess)


def _derived_bins(name: str, values: npt.NDArray[np.float64]) -> ColumnBins:
    if name == HOUR:
        return ColumnBins(name, "numeric", edges=_HOUR_EDGES)
    if name == ROW:
        return ColumnBins(name, "numeric", edges=_CELL_EDGES)
    is_two = name == DECIMALS or name.startswith(RULE)
    return ColumnBins(name, "numeric", edges=TWO_VALUES) if is_two else learn_bins(name, values)


class _Counting:
    """Rows and their answers, with what is computed of them."""

    def __init__(self, measures: Measures, rows: Rows, answered: Answered | None, derived: Columns | None) -> None:
        self._measures, self._raw = measures, rows.columns
        if derived is None:
            self._features = measures.computed(rows.columns, rows.time_us)
        else:
            self._features = measures.without_derived().computed(rows.columns, rows.time_us) | derived
        self._outputs = outputs_of(None if answered is None else answered.prediction)
        self._answered = np.zeros(0, np.intp) if answered is None else answered.rows

    def total(self) -> Profile:
        return _joined(self._measures.count(self._features), self._measures.count(self._outputs))

    def segments(self) -> dict[str, Profile]:
        profiles = dict(self._measures.by_segment(self._raw, self._features))
        raw = {segment.column: self._raw[segment.column][self._answered] for segment in self._measures.segments}
        answers = dict(self._measures.by_segment(raw, self._outputs)) if self._outputs else {}
        return {key: _joined(profile, answers.get(key)) for key, profile in profiles.items()}

    def blocks(self, runs: Sequence[tuple[int, int]]) -> list[Profile]:
        """Count runs of rows, each apart."""
        if not runs:
            return []
        profiles = self._count(self._features, runs)
        first_last = np.searchsorted(self._answered, np.array(runs))
        with_answers = [place for place, (first, last) in enumerate(first_last.tolist()) if last > first]
        if with_answers:
            answers = self._count(self._outputs, [tuple(pair) for pair in first_last[with_answers].tolist()])
            for place, answer in zip(with_answers, answers, strict=True):
                profiles[place] = _joined(profiles[place], answer)
        return profiles

    def variation(self, time_us: npt.NDArray[np.int64], width_us: int | None, known: Variation | None = None) -> Variation:
        """Learn how the watched columns vary from block to block of a width; None for one block of all."""
        columns = self._column_blocks(np.zeros_like(time_us) if width_us is None else time_us // width_us, width_us or 1)
        learned = learn_variation(self._measures.id, columns, known)
        place = {key: place for place, key in enumerate(self._measures.keys)}
        return replace(learned, columns=tuple(sorted(learned.columns, key=lambda column: place[column.segment])))

    def _column_blocks(self, block: npt.NDArray[np.int64], width_us: int) -> Iterator[ColumnBlocks]:
        calendar = {column.name for column in self._measures.calendar}
        own = [(segment, segment.places(self._raw[segment.column])) for segment in self._measures.segments]
        for bins in self._measures.bins.columns:
            if bins.name not in self._measures.watched:
                continue
            rows = self._answered if bins.name in self._outputs else slice(None)
            places = bins.places(self._features[bins.name] if bins.name in self._features else self._outputs[bins.name])
            is_ordered = bins.kind == "numeric" and bins.name not in calendar
            parts = [("", np.ones(len(places), dtype=bool))]
            parts += [(key, keys[rows] == number) for segment, keys in own for number, key in enumerate(segment.keys)]
            for key, chosen in parts:
                starts, number = np.unique(block[rows][chosen], return_inverse=True)
                cells = np.bincount(number * bins.size + places[chosen], minlength=len(starts) * bins.size)
                yield ColumnBlocks(bins.name, key, is_ordered, starts * width_us, width_us, cells.reshape(-1, bins.size))

    def _count(self, columns: Columns, runs: Sequence[tuple[int, int]]) -> list[Profile]:
        bounds = np.append(0, np.cumsum([stop - start for start, stop in runs]))
        chosen = np.concatenate([np.arange(start, stop) for start, stop in runs])
        return self._measures.bins.count_blocks({name: values[chosen] for name, values in columns.items()}, bounds)


def _joined(features: Profile, answers: Profile | None) -> Profile:
    """Return the counts of some rows with those of the answers that some of them have."""
    if answers is None:
        return features
    return replace(
        features,
        counts=features.counts | answers.counts,
        minimum=features.minimum | answers.minimum,
        maximum=features.maximum | answers.maximum,
    )


def _runs(block: npt.NDArray[np.int64], first: int = 0) -> list[tuple[int, int]]:
    """Return the runs of equal numbers from position `first` on, as (start, stop)."""
    starts = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
    return [(start, stop) for start, stop in pairwise([*starts[starts >= first].tolist(), len(block)])]


def _spread(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return 400 of more runs, evenly spread, the first and the last among them."""
    if len(runs) <= MOST_BLOCKS:
        return runs
    return [runs[place] for place in np.linspace(0, len(runs) - 1, MOST_BLOCKS).round().astype(int).tolist()]
