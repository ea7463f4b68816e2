"""Rows that were made up from a schema: they show what a request looks like, and nothing of what a model was trained on."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from training.clock import to_us
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

_DAY_US = 86_400_000_000
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_SIZE = 3


def made_up_rows(schema: Schema, end: datetime, n_rows: int = 2) -> list[dict[str, Any]]:
    """Make rows that a model with this schema takes: from kinds, bounds and declared categories.

    Parameters
    ----------
    end
        Where the model's training data end; the rows have the start of that day, so that they move no clock.

    Examples
    --------
    >>> size = Feature("size", "categorical", categories=("s", "m"), unknown="error")
    >>> schema = Schema((size, Feature("age", "integer", minimum=18)), "price", "regression")
    >>> made_up_rows(schema, _SOME_DAY)
    [{'size': 's', 'age': 19}, {'size': 'm', 'age': 20}]
    """
    rows = [{feature.name: _value(feature, row) for feature in schema.features} for row in range(n_rows)]
    if schema.event_time is not None:
        rows = [{**row, schema.event_time.column: _time(schema, schema.event_time, to_us(end) // _DAY_US * _DAY_US)} for row in rows]
    return rows


def _time(schema: Schema, column: TimeColumn, us: int) -> float | int | str:
    feature = schema.by_name.get(column.column)
    if column.kind == "timestamp" and feature is not None and feature.kind != "datetime":
        return us // 1_000_000  # a number that is a time as well
    time = column.from_us(us)
    return math.floor(time) if isinstance(time, float) else time


def _value(feature: Feature, row: int) -> Any:
    low, high = feature.minimum, feature.maximum
    match feature.kind:
        case "categorical":
            categories = feature.categories or (None if feature.nullable else "text",)
            return categories[row % len(categories)]
        case "boolean":
            return row % 2 == 0
        case "integer":
            return _whole(None if low is None else math.ceil(low), None if high is None else math.floor(high), row)
        case "datetime":
            seconds = min(max(_SOME_DAY.timestamp(), -math.inf if low is None else low), math.inf if high is None else high)
            return feature.times.write(round(seconds * 1e6))
        case _:
            return _number(low, high, row)


def _whole(low: int | None, high: int | None, row: int) -> int:
    if low is not None and high is not None:
        return low + (high - low) * (row % _SIZE + 1) // _SIZE
    return row + 1 if low is None and high is None else low + row + 1 if low is not None else (high or 0) - row - 1


def _number(low: float | None, high: float | None, row: int) -> float:
    """Return a short number within bounds.

    Examples
    --------
    >>> _number(-40, 60, 0), _number(None, None, 1), _number(0.5, None, 0), _number(None, 0, 0)
    (-6.67, 2.0, 1.5, -1.0)
    """
    if low is None or high is None:
        return row + 1.0 if low is high else float(low + row + 1) if low is not None else float((high or 0.0) - row - 1)
    share = (row % _SIZE + 1) / _SIZE
    value = low * (1 - share) + high * share
    short = float(f"{value:.3g}")
    return short if low <= short <= high else min(max(value, low), high)
