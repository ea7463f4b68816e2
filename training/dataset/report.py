"""A readable report on rows before anything is learned from them (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from training.clock import from_us
from training.dataset.maturity import LabelledShare, fall_of
from training.errors import DataError, DataProblem
from training.evaluation.losses import r2, roc_auc
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.schema.spellings import spelled_alike

LEAK = 0.98
LEAST_ROWS = 60
FEW_OF_CLASS = 10  # rows below which little is learned of a class
"""Fewer labelled rows are not learned from."""
MOST_LEVELS = 1_000
"""More different texts are free text or ids, of which our candidates, who know 200 levels and *rare*, learn nothing."""
_SAMPLE = 5000
_DEPTH = 3
_MOST_ALIKE = 3
_LARGEST = 1e30  # a tree reads float32, and sums it

_QUARTER_US = 900_000_000


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """What one column looks like: shares of missing and out-of-range values, distinct values, power of its own.

    `alone` is the score of a small tree that sees this column only: ROC AUC (classes) or R² (numbers), NaN if undefined.
    """

    name: str
    kind: str
    missing: float
    out_of_range: float
    distinct: int
    alone: float


@dataclass(frozen=True, slots=True)
class DataReport:
    """What the rows look like, and in sentences what may be wrong with them.

    Attributes
    ----------
    start, end
        The times of the first and the last; None for rows without times.
    too_new
        Rows that were left out since their labels may still come.
    labelled_shares
        Of the others, by month or day: rows, and how many have a label.
    """

    rows: int
    labelled: int
    start: datetime | None
    end: datetime | None
    duplicates: int
    classes: dict[str, int]
    columns: tuple[ColumnReport, ...]
    problems: tuple[str, ...]
    too_new: int = 0
    labelled_shares: tuple[LabelledShare, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        whole = asdict(self) | {"columns": [asdict(c) for c in self.columns], "problems": list(self.problems)}
        whole["labelled_shares"] = [asdict(part) for part in self.labelled_shares]
        whole |= {"start": self.start and self.start.isoformat(), "end": self.end and self.end.isoformat()}
        for column in whole["columns"]:
            column["alone"] = None if np.isnan(column["alone"]) else column["alone"]
        return whole

    def to_markdown(self) -> str:
        """Return the report for people."""
        span = f" from {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC" if self.start and self.end else ", no time"
        lines = [f"{self.rows:,} rows{span}, {self.labelled:,} labelled, {self.duplicates:,} duplicates."]
        if self.classes:
            lines.append("Classes: " + ", ".join(f"{name} {count:,}" for name, count in self.classes.items()) + ".")
        if self.too_new:
            lines.append(f"{self.too_new:,} of the newest rows are left out: their labels may still come (labels.delay).")
        lines += ["", *(f"- **{p}**" for p in self.problems), ""] if self.problems else ["", "Nothing looks wrong.", ""]
        lines += ["| column | kind | missing | out of range | distinct | alone |", "|---|---|--:|--:|--:|--:|"]
        lines += [
            f"| {c.name} | {c.kind} | {c.missing:.1%} | {c.out_of_range:.1%} | {c.distinct:,} | {c.alone:.2f} |" for c in self.columns
        ]
        if any(part.labelled < part.rows for part in self.labelled_shares):
            lines += ["", "| rows of | rows | labelled |", "|---|--:|--:|"]
            lines += [f"| {part.period} | {part.rows:,} | {part.share:.1%} |" for part in self.labelled_shares]
        return "\n".join(lines) + "\n"


def check(rows: Rows, schema: Schema, *, too_new: int = 0, shares: tuple[LabelledShare, ...] = ()) -> DataReport:
    """Look for what commonly spoils a model: missing, out of range, constant, duplicate, leaking.

    Parameters
    ----------
    rows
        Rows that fit the schema (a value that does not was refused when they were read).
    too_new, shares
        See `DataReport`.
    """
    labelled = rows.labelled() if rows.target is not None else rows.slice(0, 0)
    sample = labelled.take(slice(None, None, max(len(labelled) // _SAMPLE, 1))) if len(labelled) else None
    columns = tuple(_column(name, rows, sample, schema) for name in schema.names)
    duplicates = _duplicates(rows)
    classes: dict[str, int] = {}
    if schema.is_classification and len(labelled):
        names, counts = np.unique(labelled.labels.astype(str), return_counts=True)
        classes = dict(zip(names.tolist(), counts.tolist(), strict=True))
    problems = [text for c in columns for text in _problems(c)]
    problems += [f"{name}: {alike}" for name, counts in _texts_of(rows, schema) for alike in spelled_alike(counts)[:_MOST_ALIKE]]
    problems += [f"classes: {alike}" for alike in spelled_alike(classes)[:_MOST_ALIKE]]
    if len(rows) and duplicates > 0.05 * len(rows):
        problems.append(f"{duplicates:,} of {len(rows):,} rows are exact duplicates of others")
    problems += [f"class {name!r} has only {of_rows(count)}" for name, count in classes.items() if count < FEW_OF_CLASS]
    problems += [fall] if (fall := fall_of(shares)) else []
    problems += _repeated_hours(rows, schema)
    is_dated = len(rows) > 0 and schema.is_dated(int(rows.time_us[-1]))
    start, end = (from_us(int(rows.time_us[0])), from_us(int(rows.time_us[-1]))) if is_dated else (None, None)
    return DataReport(len(rows), len(labelled), start, end, duplicates, classes, columns, tuple(problems), too_new, shares)


def _texts_of(rows: Rows, schema: Schema) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield how often each text of a category occurs, of those in which some are the same but for case and blanks around them."""
    for feature in schema.features:
        if feature.kind == "categorical":
            codes, texts = pd.factorize(rows.columns[feature.name])
            if len({text.strip().casefold() for text in texts}) < len(texts):
                yield feature.name, dict(zip(texts.tolist(), np.bincount(codes[codes >= 0]).tolist(), strict=True))


def refuse_many_levels(report: DataReport) -> None:
    """Raise DataError where a category has more levels than our candidates can use."""
    wanted = f"at most {MOST_LEVELS:,}: leave it out, or let only estimators of your own compete (training.candidates)"
    problems = [
        DataProblem(None, column.name, f"{column.distinct:,} different texts", wanted)
        for column in report.columns
        if column.kind == "categorical" and column.distinct > MOST_LEVELS
    ]
    if problems:
        raise DataError(problems, "rows")


def _repeated_hours(rows: Rows, schema: Schema) -> list[str]:
    """Say which columns have times of an hour that their zone's clock showed twice."""
    columns = {f.name: (rows.columns[f.name] * 1e6, f.times) for f in schema.features if f.kind == "datetime" and f.zone}
    if schema.time is not None and schema.time.zone:
        columns |= {schema.time.column: (rows.time_us.astype(np.float64), schema.time.times)}
    out = []
    for name, (microseconds, times) in columns.items():
        known = microseconds[~np.isnan(microseconds)]
        quarters, counts = np.unique(known // _QUARTER_US, return_counts=True)  # no clock is set within a quarter of an hour
        twice = sum(
            count
            for quarter, count in zip(quarters.tolist(), counts.tolist(), strict=True)
            if times.is_repeated(int(quarter * _QUARTER_US))
        )
        if twice:
            out.append(f"{name} has {twice:,} times in an hour that occurs twice in {times.zone}: without an offset it is the first")
    return out


def of_rows(count: int) -> str:
    """Say how many rows there are.

    Examples
    --------
    >>> of_rows(1), of_rows(2000)
    ('1 row', '2,000 rows')
    """
    return f"{count:,} row" + "s" * (count != 1)


def _problems(column: ColumnReport) -> list[str]:
    out = []
    if column.missing > 0.5:
        out.append(f"{column.name} is missing in {column.missing:.0%} of the rows")
    if column.out_of_range > 0.01:
        out.append(f"{column.name} is outside its bounds in {column.out_of_range:.1%} of the rows")
    if column.distinct <= 1:
        out.append(f"{column.name} is constant")
    if column.alone >= LEAK:
        out.append(f"{column.name} predicts the target alone ({column.alone:.3f}): is it known before the outcome?")
    return out


def _column(name: str, rows: Rows, sample: Rows | None, schema: Schema) -> ColumnReport:
    feature, values = schema.feature(name), rows.columns[name]
    missing = np.isnan(values) if feature.is_number else pd.isna(values)
    outside = float(feature.outside(values).mean()) if feature.is_number and len(values) else 0.0
    distinct = len(pd.unique(values[~missing])) if len(values) else 0
    share = float(missing.mean()) if len(values) else 0.0
    alone = _alone(sample, name, schema) if sample is not None and distinct > 1 else float("nan")
    return ColumnReport(name, feature.kind, share, outside, distinct, alone)


def _duplicates(rows: Rows) -> int:
    table = pd.DataFrame({"@time_us": rows.time_us, **rows.columns}, copy=False)
    return int(table.duplicated().sum())


def _alone(sample: Rows, name: str, schema: Schema) -> float:
    """Score a small tree on this column only: fitted on every other row, scored on the rest."""
    values = sample.columns[name]
    numbers = values if values.dtype != object else pd.factorize(values)[0].astype(np.float64)
    if (np.abs(numbers) > _LARGEST).any():
        numbers = np.where(np.isnan(numbers), np.nan, np.unique(numbers, return_inverse=True)[1])  # a tree splits by order alone
    x, y = numbers.reshape(-1, 1), sample.labels
    fit_on, score_on = slice(0, None, 2), slice(1, None, 2)
    if not len(y[score_on]):
        return float("nan")
    if not schema.is_classification:
        numbers_y: npt.NDArray[Any] = y
        tree = DecisionTreeRegressor(max_depth=_DEPTH, random_state=0).fit(x[fit_on], numbers_y[fit_on])
        return r2(numbers_y[score_on], Prediction(tree.predict(x[score_on])))
    tree = DecisionTreeClassifier(max_depth=_DEPTH, class_weight="balanced", random_state=0).fit(x[fit_on], y[fit_on].astype(str))
    answers = Prediction(tree.predict(x[score_on]), tree.predict_proba(x[score_on]), tuple(tree.classes_))
    return roc_auc(y[score_on], answers) if len(tree.classes_) > 1 else float("nan")
