"""Logged rows back in columns, as training and monitoring want them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import sqlalchemy as sa

from service.prediction_log.labels import age_us
from service.prediction_log.tables import label_arrivals, label_conflicts, label_request_rows, label_requests, layouts, predictions
from training.evaluation.weighted import effective
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows, object_column
from training.schema.schema import Schema

NOT_LABELLED = -1


@dataclass(frozen=True, slots=True)
class LoggedRows:
    """Rows of the log in the order of (event time, arrival, id), and what was predicted for them.

    `version` is an object array of str; `labelled_us` is the model time of each label, `NOT_LABELLED` without one;
    ``rows.target`` is None (NaN for numbers) where there is no label. `weights` say for how many rows each stands where labels were drawn;
    None where each stands for itself.
    """

    rows: Rows
    version: npt.NDArray[Any]
    prediction: Prediction
    ids: list[str]
    labelled_us: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_effective(self) -> float:
        """Of how many rows of equal weight they tell as much."""
        return len(self) if self.weights is None else effective(self.weights)


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """One row of the log: its features and prediction, when, by which version, and within which request and trace.

    `request_id` and `trace_id` are None in rows from before they were recorded; `label`, and `labelled_us`, the model time at which it
    came, while there is none; `late_us` where the row was in time, `own_id` where the caller gave none.
    """

    model: str
    version: str
    arrived_us: int
    event_us: int
    features: dict[str, Any]
    output: str | float
    probabilities: dict[str, float] | None
    label: str | None
    request_id: str | None
    trace_id: str | None
    own_id: str | None
    labelled_us: int | None
    late_us: int | None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Some rows of the log by the time of their prediction, with those of their features that were asked for.

    `version`, `label` and `labelled_us` are as in `LoggedRows`. `there_us` is the model time from which on a row was there, `known_us` that
    from which on both it and its label were, `NOT_LABELLED` without one. `is_drawn` says which rows a label request drew: a label of theirs
    came because it was asked for. `columns` are missing in rows that were there before and whose label was not new.
    """

    event_us: npt.NDArray[np.int64]
    version: npt.NDArray[Any]
    prediction: Prediction
    label: npt.NDArray[Any]
    labelled_us: npt.NDArray[np.int64]
    there_us: npt.NDArray[np.int64]
    known_us: npt.NDArray[np.int64]
    is_drawn: npt.NDArray[np.bool_]
    columns: Columns

    @property
    def score(self) -> npt.NDArray[np.float64]:
        """One number a row, as `Prediction.score` has it."""
        return self.prediction.score


class Arrived(NamedTuple):
    """How many labels came in a bucket of model time, by what became of them; of those too late how old their rows were at most."""

    bucket_us: int
    result: str
    age_us: int
    labels: int


def read_arrivals(connection: sa.Connection, model: str, start_us: int | None, end_us: int) -> list[Arrived]:
    """Read the labels that came in the buckets that begin in a range of model time, in the order of buckets; None: from the first."""
    table = label_arrivals.c
    since = sa.true() if start_us is None else table.bucket_us >= start_us
    chosen = sa.select(table.bucket_us, table.result, table.age, table.labels).where(table.model == model, since, table.bucket_us < end_us)
    rows = connection.execute(chosen.order_by(table.bucket_us, table.result, table.age))
    return [Arrived(bucket_us, result, age_us(age) if result == "too_late" else 0, labels) for bucket_us, result, age, labels in rows]


def read_conflicts(connection: sa.Connection, model: str, start_us: int, known_before_us: int) -> dict[int, int]:
    """Count the rows from an event time on for which another label came before a model time, by event time."""
    table, conflicts = predictions.c, label_conflicts.c
    known = conflicts.model == model, conflicts.known_us < known_before_us
    rows = sa.select(conflicts.id_prefix, conflicts.row).where(*known).distinct().subquery()
    joined = sa.and_(table.id_prefix == rows.c.id_prefix, table.row == rows.c.row)
    chosen = sa.select(table.event_us, sa.func.count()).join_from(rows, predictions, joined).where(table.event_us >= start_us)
    return {int(event_us): int(number) for event_us, number in connection.execute(chosen.group_by(table.event_us))}


def read_prediction(connection: sa.Connection, identity: str) -> LoggedPrediction | None:
    """Read the row of a prediction id, ``<prefix>-<row>``; None when there is none."""
    prefix, _, row = identity.rpartition("-")
    if not row.isdecimal() or len(row) > 9:
        return None
    table = predictions.c
    chosen = sa.select(predictions, layouts.c.content).join(layouts, layouts.c.layout == table.layout)
    logged = connection.execute(chosen.where(table.id_prefix == prefix, table.row == int(row))).one_or_none()
    if logged is None:
        return None
    layout = orjson.loads(logged.content)
    return LoggedPrediction(
        model=logged.model,
        version=logged.version,
        arrived_us=logged.arrived_us,
        event_us=logged.event_us,
        features=dict(zip(layout["names"], orjson.loads(logged.features), strict=True)),
        output=logged.value if logged.label is None else logged.label,
        probabilities=None
        if logged.probabilities is None
        else dict(zip(layout["classes"], orjson.loads(logged.probabilities), strict=True)),
        label=logged.label_true,
        request_id=logged.request_id,
        trace_id=logged.trace_id,
        own_id=logged.own_id,
        labelled_us=logged.labelled_us,
        late_us=logged.late_us,
    )


def is_known(known_by: int | None) -> sa.ColumnElement[bool]:
    """Return the condition that a row was there at a model time, if one is given: one that came late is from the time it met on."""
    late_us = predictions.c.late_us
    return sa.true() if known_by is None else sa.or_(late_us.is_(None), late_us <= known_by)


def read_rows(
    connection: sa.Connection,
    model: str,
    start_us: int,
    end_us: int,
    schema: Schema,
    *,
    labelled_only: bool,
    known_by: int | None,
) -> LoggedRows:
    """Read the rows with ``start_us <= event time < end_us``.

    Parameters
    ----------
    schema
        Names and kinds of the columns wanted; a feature that a row was not asked for is missing in it.
    labelled_only
        Leave out rows without a label.
    known_by
        A model time as of which to read: without rows that came late and after it, and without labels that did.
    """
    table = predictions.c
    known: sa.ColumnElement[bool] = table.label_true.is_not(None)
    if known_by is not None:
        known = sa.and_(known, table.labelled_us <= known_by)
    chosen = (
        sa.select(
            table.id_prefix, table.row, table.version, table.layout, table.event_us, table.features, table.label, table.value,
            table.probabilities, sa.case((known, table.label_true)), sa.case((known, table.labelled_us)),
        )
        .where(table.model == model, table.event_us >= start_us, table.event_us < end_us, is_known(known_by))
        .order_by(table.event_us, table.arrived_us, table.id_prefix, table.row)
    )  # fmt: skip
    logged = connection.execute(chosen.where(known) if labelled_only else chosen).all()
    prefixes, rows, versions, names, event_us, features, labels, values, probabilities, outcomes, labelled = (
        zip(*logged, strict=True) if logged else [()] * 11
    )
    known_layouts = _read_layouts(connection)
    return LoggedRows(
        rows=Rows(
            columns=_columns(schema.features, names, features, known_layouts),
            target=_target(schema, outcomes),
            time_us=np.array(event_us, dtype=np.int64),
        ),
        version=object_column(versions),
        prediction=_prediction(schema, names, labels, values, probabilities, known_layouts),
        ids=[f"{prefix}-{row}" for prefix, row in zip(prefixes, rows, strict=True)],
        labelled_us=np.array([NOT_LABELLED if at is None else at for at in labelled], dtype=np.int64),
    )


def read_outcomes(  # 8 parameters: all but three of them options by name
    connection: sa.Connection,
    model: str,
    schema: Schema,
    where: sa.ColumnElement[bool],
    *,
    known_by: int,
    features: Sequence[str] = (),
    new_from: int = 0,
    at_once: int = 50_000,
) -> Iterator[Outcomes]:
    """Yield what was answered and what came true of the rows `where` something holds, in parts and in no order; see `read_rows`.

    Parameters
    ----------
    features
        The features wanted, of rows that came, or whose label became known, at the model time `new_from` or later.
    """
    table = predictions.c
    known = sa.and_(table.label_true.is_not(None), table.labelled_us <= known_by)
    came = sa.or_(table.event_us >= new_from, table.late_us >= new_from)
    is_new = sa.or_(came, sa.and_(known, table.labelled_us >= new_from))
    chosen = sa.select(
        table.event_us, table.version, table.layout, table.label, table.value, table.probabilities,
        sa.case((known, table.label_true)), sa.case((known, table.labelled_us)), table.late_us,
        _is_drawn(connection, model), sa.case((is_new, table.features)) if features else sa.null(),
    ).where(table.model == model, where, is_known(known_by))  # fmt: skip
    known_layouts, wanted = _read_layouts(connection), [schema.feature(name) for name in features]
    for part in connection.execution_options(yield_per=at_once).execute(chosen).partitions():
        event_us, version, names, labels, values, probabilities, outcomes, labelled, late, drawn, texts = zip(*part, strict=True)
        labelled_us = np.array([NOT_LABELLED if at is None else at for at in labelled], dtype=np.int64)
        at_us = np.array(event_us, dtype=np.int64)
        there_us = np.maximum(at_us, np.array([0 if at is None else at for at in late], dtype=np.int64))
        yield Outcomes(
            event_us=at_us,
            version=object_column(version),
            prediction=_prediction(schema, names, labels, values, probabilities, known_layouts),
            label=_target(schema, outcomes),
            labelled_us=labelled_us,
            there_us=there_us,
            is_drawn=np.array(drawn, dtype=bool),
            known_us=np.where(labelled_us == NOT_LABELLED, NOT_LABELLED, np.maximum(there_us, labelled_us)),
            columns=_columns(wanted, names, texts, known_layouts) if wanted else {},
        )


def _is_drawn(connection: sa.Connection, model: str) -> sa.ColumnElement[Any]:
    """Return what tells of each row whether a label request drew it; nothing is looked up of a model that has none."""
    table, drawn = predictions.c, label_request_rows.c
    if connection.scalar(sa.select(label_requests.c.number).where(label_requests.c.model == model).limit(1)) is None:
        return sa.literal(0)
    return sa.exists().where(drawn.id_prefix == table.id_prefix, drawn.row == table.row)


def _read_layouts(connection: sa.Connection) -> dict[str, dict[str, Any]]:
    return {name: orjson.loads(content) for name, content in connection.execute(sa.select(layouts.c.layout, layouts.c.content))}


def _columns(wanted: Sequence[Feature], names: Sequence[str], features: Sequence[str | None], known: dict[str, dict[str, Any]]) -> Columns:
    """Return the wanted features; all of them are missing in rows without a text."""
    n_rows = len(features)
    columns: Columns = {
        feature.name: np.full(n_rows, np.nan) if feature.is_number else np.full(n_rows, None, dtype=object) for feature in wanted
    }
    is_there = np.array([text is not None for text in features], dtype=bool)
    for layout, rows in _by_layout(names):
        index = rows[is_there[rows]]
        if not len(index):
            continue
        decoded = orjson.loads("[" + ",".join([str(features[i]) for i in index]) + "]")
        for name, values in zip(known[layout]["names"], zip(*decoded, strict=True), strict=True):
            if name in columns:
                is_number = columns[name].dtype.kind == "f"
                columns[name][index] = np.array(values, dtype=np.float64) if is_number else object_column(values)
    return columns


def _prediction(
    schema: Schema,
    names: Sequence[str],
    labels: Sequence[str | None],
    values: Sequence[float | None],
    probabilities: Sequence[str | None],
    known: dict[str, dict[str, Any]],
) -> Prediction:
    if not schema.is_classification:
        return Prediction(np.array(values, dtype=np.float64), None, None)
    groups = _by_layout(names)
    classes = schema.order_classes({name: None for layout, _ in groups for name in known[layout]["classes"] or ()})
    place = {name: column for column, name in enumerate(classes)}
    matrix = np.zeros((len(labels), len(classes)))
    for layout, index in groups:
        if known[layout]["classes"] is not None:
            decoded = np.array(orjson.loads("[" + ",".join([str(probabilities[i]) for i in index]) + "]"), dtype=np.float64)
            columns = np.array([place[name] for name in known[layout]["classes"]], dtype=np.intp)
            matrix[index[:, None], columns] = decoded
    return Prediction(object_column(labels), matrix, classes)


def _target(schema: Schema, outcomes: Sequence[str | None]) -> npt.NDArray[Any]:
    if schema.is_classification:
        return object_column(outcomes)
    return np.array([np.nan if outcome is None else float(outcome) for outcome in outcomes], dtype=np.float64)


def _by_layout(names: Sequence[str]) -> list[tuple[str, npt.NDArray[np.intp]]]:
    array = np.array(names, dtype=object)
    return [(name, np.flatnonzero(array == name)) for name in sorted(set(names))]
