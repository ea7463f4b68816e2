"""The table of a back-test: what is learned from first, what is lived through, and when which labels come."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from monitoring.backtest.delays import Delay, column_delays
from monitoring.backtest.steps import Feedback, Step, steps
from monitoring.errors import InputError
from training.dataset.dataset import read_table, rows_from_columns, tie_boundary
from training.model_file.model_spec import ModelSpec
from training.schema.feature import Feature
from training.schema.rows import Rows, object_column
from training.schema.time_column import TimeColumn

LEAST_SLOTS = 3
FAULTS_AT, FAULT_SHARE, MOST_FAULT_ROWS, FLIPPED = (0.35, 0.6, 0.8), 1 / 12, 2000, 0.4
Fault = Literal["flip", "constant", "stuck"]
Labels = npt.NDArray[Any]
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_ROWS = re.compile(r"(\d+) rows?")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is other than in the table.

    Attributes
    ----------
    first
        What is learned from before the first row is answered: a share such as ``15%`` or ``5000 rows``.
    label_delay
        How late labels are (see `Delay.parse`); None: as the model file says.
    label_delay_column
        A column of the table that says it.
    fault
        What goes wrong with the rows of three stretches: labels ``flip`` (40 % of them) or are ``constant``, a column is ``stuck``.
    shuffle
        Whether rows change places, so that nothing drifts.
    """

    first: str = "15%"
    label_delay: str | None = None
    label_delay_column: str | None = None
    fault: Fault | None = None
    shuffle: bool = False

    def __post_init__(self) -> None:
        if self.label_delay is not None and self.label_delay_column is not None:
            raise InputError("a label delay and a column of label delays are given; wanted one of them")
        if self.fault is not None and self.fault not in get_args(Fault):
            raise InputError(f"the fault is {self.fault!r}; wanted one of {', '.join(get_args(Fault))}")

    def first_of(self, n_rows: int) -> int:
        """Return how many rows come first.

        Raises
        ------
        InputError
            It is no share and no number of rows, or leaves none.

        Examples
        --------
        >>> Circumstances("15%").first_of(1000), Circumstances("40 rows").first_of(1000)
        (150, 40)
        """
        percent, rows = _PERCENT.fullmatch(self.first.strip()), _ROWS.fullmatch(self.first.strip())
        if percent is None and rows is None:
            raise InputError(f"what comes first is {self.first!r}; wanted a share such as 15% or a number such as '5000 rows'")
        number = round(float(percent[1]) / 100 * n_rows) if percent is not None else int(rows[1] if rows is not None else 0)
        if not 0 < number < n_rows:
            raise InputError(
                f"what comes first, {self.first}, are {number} of the {n_rows} rows; wanted some of them, and some to live through"
            )
        return number


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """What a back-test lives through.

    Attributes
    ----------
    first
        Rows with all labels, from which the first version is learned.
    live
        The rows after them, with their true labels.
    feedback
        The labels that come of them, which need not be true.
    plan
        What happens in which order.
    """

    spec: ModelSpec
    first: Rows
    live: Rows
    feedback: Feedback
    plan: tuple[Step, ...]

    @property
    def bounds(self) -> tuple[int, ...]:
        """The places in `live` where slots were judged: before the first row after each."""
        return tuple(step.stop for step in self.plan if step.is_boundary)

    @property
    def span_us(self) -> int:
        """How much model time all rows span."""
        return int(self.live.time_us[-1] - self.first.time_us[0])


def read_stream(table: Path | Any, spec: ModelSpec, how: Circumstances) -> Stream:
    """Read a table, with whatever is to be other than in it.

    Parameters
    ----------
    table
        A path, rows, or a DataFrame.

    Raises
    ------
    DataError
        Values do not fit the schema.
    InputError
        The model has no time, or the table too few rows, labels or slots.
    """
    time = spec.schema.time
    if time is None:
        raise InputError(
            f"the model file of {spec.model} has no schema.time: a back-test lives through rows in the order of their time; name its column"
        )
    rows, late_us = _read(table, spec, how, time)
    if rows.target is None or not rows.is_labelled.any():
        raise InputError(
            f"no row of the table has a label in {spec.schema.target!r}: there is nothing to learn from and nothing to judge by"
        )
    if how.shuffle:
        order = np.random.default_rng(0).permutation(len(rows))
        rows = replace(rows.take(order), time_us=rows.time_us)
        late_us = None if late_us is None else late_us[order]
    cut = tie_boundary(rows.time_us, how.first_of(len(rows)))
    first, live = rows.slice(0, cut), rows.slice(cut, len(rows))
    if not len(first) or not len(live):
        raise InputError(f"all {len(rows)} rows of the table have the same time; wanted rows that are spread over time")
    seen = faulty_labels(rows, how.fault, spec).labels[cut:] if how.fault in ("flip", "constant") else live.labels
    stream = Stream(spec, first, live, *_feedback(live, seen, spec, how, None if late_us is None else late_us[cut:]))
    if len(stream.bounds) < LEAST_SLOTS:
        every = spec.watching.every
        raise InputError(
            f"the {len(live)} rows after the first {len(first)} pass {len(stream.bounds)} slots (watching.every: {every.days or every}"
            f"{' days' if every.days else ''}); wanted at least {LEAST_SLOTS}: take a longer table, or look more often"
        )
    return stream


def _read(table: Any, spec: ModelSpec, how: Circumstances, time: TimeColumn) -> tuple[Rows, npt.NDArray[np.int64] | None]:
    """Return the rows, and how late each label is where a column says it."""
    column, schema = how.label_delay_column, spec.schema
    read: Callable[..., Rows] = read_table if isinstance(table, str | Path) else rows_from_columns
    options = {"files": spec.read} if isinstance(table, str | Path) else {}
    if column is None:
        return (table if isinstance(table, Rows) else read(table, schema, **options)), None
    if isinstance(table, Rows):
        raise InputError("rows have no column of label delays; wanted a table")
    if column in (*schema.names, schema.target, time.column, *time.columns):
        raise InputError(
            f"the column of label delays, {column!r}, is a feature, the target or the time of the model; wanted one of its own"
        )
    wider = replace(schema, features=(*schema.features, Feature(column, "categorical", nullable=True)))
    rows = read(table, wider, **options)
    values = rows.columns[column]
    if all(value is None for value in values.tolist()):
        raise InputError(f"the table has no column {column!r} of label delays, or it is empty")
    rows = replace(rows, columns={name: rows.columns[name] for name in schema.names})
    return rows, column_delays(values.tolist(), rows, column, time)


def _feedback(
    live: Rows, seen: Labels, spec: ModelSpec, how: Circumstances, late_us: npt.NDArray[np.int64] | None
) -> tuple[Feedback, tuple[Step, ...]]:
    delay = None if how.label_delay is None else Delay.parse(how.label_delay)
    if delay is not None and delay.kind == "rows":
        policy = replace(spec.labels, delay=None, delay_rows=delay.first)
        feedback = Feedback.by_policy(live, policy, seen)
    elif delay is not None or late_us is not None:
        late_us = delay.drawn(len(live)) if delay is not None else late_us
        assert late_us is not None
        feedback = Feedback.by_times(live, live.time_us + late_us, seen)
    else:
        feedback = Feedback.by_policy(live, spec.labels, seen)
    return feedback, tuple(steps(live, spec, feedback))


def fault_rows(n_rows: int) -> npt.NDArray[np.bool_]:
    """Return which rows of a table lie in the three stretches in which something goes wrong, shape (n_rows,).

    Examples
    --------
    >>> int(fault_rows(1200).sum()), int(np.flatnonzero(fault_rows(1200))[0])
    (300, 420)
    """
    is_faulty = np.zeros(n_rows, dtype=bool)
    length = min(MOST_FAULT_ROWS, round(FAULT_SHARE * n_rows))
    for share in FAULTS_AT:
        start = round(share * n_rows)
        is_faulty[start : start + length] = True
    return is_faulty


def faulty_labels(rows: Rows, fault: Fault | None, spec: ModelSpec) -> Rows:
    """Return rows whose labels in the three stretches are not what they were: 40 % are another class's, or all are one value."""
    rng, is_faulty, labels = np.random.default_rng(1), fault_rows(len(rows)), rows.labels.copy()
    places = np.flatnonzero(is_faulty & rows.is_labelled)
    if fault == "constant":
        names = sorted(set(labels[rows.is_labelled].tolist()))
        labels[places] = (
            (spec.schema.order_classes(set(names))[0] if spec.schema.is_classification else labels[places[0]]) if len(places) else None
        )
        return replace(rows, target=labels)
    places = places[rng.random(len(places)) < FLIPPED]
    if not spec.schema.is_classification:
        labels[places] = rng.permutation(rows.labels[is_faulty & rows.is_labelled])[: len(places)]
        return replace(rows, target=labels)
    names = sorted(set(labels[rows.is_labelled].tolist()))
    number = {name: place for place, name in enumerate(names)}
    steps_on = rng.integers(1, max(2, len(names)), len(places))
    labels[places] = object_column(
        [names[(number[labels[place]] + on) % len(names)] for place, on in zip(places.tolist(), steps_on.tolist(), strict=True)]
    )
    return replace(rows, target=labels)


def with_stuck_column(stream: Stream, column: str) -> Stream:
    """Return the stream with a column that repeats one value in each of the three stretches: the first of the stretch."""
    n_first, n_live = len(stream.first), len(stream.live)
    is_faulty = fault_rows(n_first + n_live)[n_first:]
    starts = np.maximum.accumulate(np.where(is_faulty & ~np.concatenate([[False], is_faulty[:-1]]), np.arange(n_live), 0))
    values = stream.live.columns[column]
    columns = {**stream.live.columns, column: np.where(is_faulty, values[starts], values)}
    return replace(stream, live=replace(stream.live, columns=columns))
