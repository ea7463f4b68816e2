"""A schema with a feature of every kind, and a row that it takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from service.columns.reader import ColumnReader
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

FEATURES = (
    Feature("plain", "numeric"),
    Feature("bounded", "numeric", nullable=True, minimum=-1, maximum=5, out_of_range="error"),
    Feature("clipped", "numeric", nullable=True, minimum=0, maximum=1, out_of_range="clip"),
    Feature("count", "integer", nullable=True),
    Feature("flag", "boolean", nullable=True),
    Feature("odd name", "categorical", nullable=True),
    Feature("choice", "categorical", categories=("a", "b"), unknown="error"),
    Feature("since", "datetime", nullable=True),
)
STAMPED = TimeColumn("at", "timestamp")
NUMBERED = TimeColumn("at", "ordinal", datetime(2000, 1, 1, tzinfo=UTC), timedelta(hours=1))
GOOD: dict[str, Any] = {
    "plain": 1.5,
    "bounded": 2,
    "clipped": 9.0,
    "count": 3,
    "flag": True,
    "odd name": "x",
    "choice": "a",
    "since": "2026-01-01",
    "at": 5,
}
LETTERS = 200


def schema(extra: str = "ignore", time: TimeColumn | None = STAMPED) -> Schema:
    """Features of every kind, with a time column unless told otherwise."""
    return Schema(FEATURES, target="y", task="regression", time=time, extra=extra)  # type: ignore[arg-type]


def reader(extra: str = "ignore", time: TimeColumn | None = STAMPED, max_letters: int = LETTERS) -> ColumnReader:
    """A reader of their rows."""
    return ColumnReader(schema(extra, time), max_letters)
