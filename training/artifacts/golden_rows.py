"""A few rows with their expected answers: what a loaded model must reproduce before it may speak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from training.errors import GoldenRowsError
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows, object_column
from training.schema.schema import Schema
from training.schema.times import time_format

TOLERANCE = 1e-9


class Predicts(Protocol):
    """Anything that answers rows."""

    def predict(self, columns: Columns) -> Prediction:
        """Return the answer for each row."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Request rows and what the model answers.

    Attributes
    ----------
    rows
        As a client would send them.
    labels
        Class labels, or values for a regression; one a row.
    probabilities
        One number a class; None for a regression.
    classes
        The classes in the order of the probabilities.
    """

    rows: tuple[Mapping[str, Any], ...]
    labels: tuple[Any, ...]
    probabilities: tuple[tuple[float, ...], ...] | None
    classes: tuple[str, ...] | None

    def compare(self, model: Predicts, schema: Schema) -> None:
        """Ask the model and compare: labels and classes exactly, numbers within 1e-9. What is no answer at all is none however often.

        Raises
        ------
        GoldenRowsError
            The first row whose answer differs, with both answers.
        """
        prediction = model.predict(columns_of(self.rows, schema))
        fault = prediction.fault(len(self.rows))
        if fault is not None:
            raise GoldenRowsError(f"to its golden rows the model {fault}")
        if prediction.classes != self.classes:
            raise GoldenRowsError(f"the model answers the classes {prediction.classes}, its golden rows say {self.classes}")
        for row, (answer, wanted) in enumerate(zip(_answers(prediction), self._answers(), strict=True)):
            if not _are_equal(answer, wanted):
                raise GoldenRowsError(f"golden row {row}: the model says {answer}, expected {wanted}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"rows": self.rows, "labels": self.labels, "probabilities": self.probabilities, "classes": self.classes}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        probabilities, classes = stored["probabilities"], stored["classes"]
        return cls(
            tuple(stored["rows"]),
            tuple(stored["labels"]),
            None if probabilities is None else tuple(tuple(row) for row in probabilities),
            None if classes is None else tuple(classes),
        )

    def _answers(self) -> list[tuple[Any, tuple[float, ...]]]:
        return list(zip(self.labels, self.probabilities or [()] * len(self.labels), strict=True))


def choose_golden(model: Predicts, rows: Rows, schema: Schema, count: int = 16) -> Golden:
    """Choose rows spread over the classes (or over time) and note what the model answers.

    Parameters
    ----------
    model
        The fitted model.
    rows
        Training rows; only their features are kept.
    count
        At most so many rows.
    """
    chosen = [int(i) for i in _spread(rows, count)]
    return answered(model, tuple(request_row(rows.columns, int(rows.time_us[i]), i, schema) for i in chosen), schema)


def answered(model: Predicts, requests: tuple[Mapping[str, Any], ...], schema: Schema) -> Golden:
    """Note what a model answers to rows as a client would send them."""
    prediction = model.predict(columns_of(requests, schema))
    answers = _answers(prediction)
    probabilities = None if prediction.probability is None else tuple(probability for _, probability in answers)
    return Golden(requests, tuple(label for label, _ in answers), probabilities, prediction.classes)


def request_row(columns: Columns, time_us: int, index: int, schema: Schema) -> dict[str, Any]:
    """Write one row of columns as a client would send it, with its time where requests carry one."""
    row = {feature.name: _to_wire(feature, columns[feature.name][index]) for feature in schema.features}
    if schema.event_time is not None:
        row.setdefault(schema.event_time.column, schema.event_time.from_us(time_us))
    return row


def columns_of(rows: Sequence[Mapping[str, Any]], schema: Schema) -> Columns:
    """Read rows that were written by `request_row` back into columns."""
    return {feature.name: _from_wire(feature, [row[feature.name] for row in rows]) for feature in schema.features}


def _to_wire(feature: Feature, value: Any) -> Any:
    if not feature.is_number:
        return None if value is None else str(value)
    number = float(value)
    if np.isnan(number):
        return None
    if feature.kind == "boolean":
        return bool(number)
    if feature.kind == "datetime":
        return time_format(feature.format, feature.zone).write(round(number * 1e6))
    return int(number) if feature.kind == "integer" and number.is_integer() else number


def _from_wire(feature: Feature, values: list[Any]) -> npt.NDArray[Any]:
    if not feature.is_number:
        return object_column(values)
    if feature.kind == "datetime":
        values = [None if value is None else _seconds(feature, value) for value in values]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _seconds(feature: Feature, value: Any) -> float:
    if feature.format is None and feature.zone is None:
        return datetime.fromisoformat(value).timestamp()  # of any year: older versions were trained on all of them
    times = time_format(feature.format, feature.zone)
    return (times.text_us(value) if isinstance(value, str) else times.number_us(value)) / 1e6


def _spread(rows: Rows, count: int) -> npt.NDArray[np.intp]:
    """Return positions in time order: evenly over time, and an equal share of every class."""
    if rows.target is None or rows.target.dtype.kind == "f":
        return np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.intp))
    labels = rows.target.astype(str)
    classes = np.unique(labels)[:count]
    places = [np.flatnonzero(labels == name) for name in classes]
    share = max(1, count // len(classes))
    picked = [place[np.linspace(0, len(place) - 1, min(share, len(place))).round().astype(np.intp)] for place in places]
    return np.unique(np.concatenate(picked))


def _answers(prediction: Prediction) -> list[tuple[Any, tuple[float, ...]]]:
    labels = [label if isinstance(label, str) else float(label) for label in prediction.label.tolist()]
    if prediction.probability is None:
        return [(label, ()) for label in labels]
    return [(label, tuple(float(p) for p in row)) for label, row in zip(labels, prediction.probability, strict=True)]


def _are_equal(answer: tuple[Any, tuple[float, ...]], wanted: tuple[Any, tuple[float, ...]]) -> bool:
    if len(answer[1]) != len(wanted[1]) or not np.allclose(answer[1], wanted[1], rtol=TOLERANCE, atol=TOLERANCE):
        return False
    if isinstance(wanted[0], str) or isinstance(answer[0], str):
        return bool(answer[0] == wanted[0])
    return bool(np.isclose(answer[0], wanted[0], rtol=TOLERANCE, atol=TOLERANCE))
