"""A first model file, guessed from a table and commented for the person who will correct it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from training.errors import DataError, DataProblem
from training.metrics import DEFAULT_METRIC, METRICS
from training.schema import normalise_label

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_POSITIVES = ("true", "yes", "1", "y", "positive", "pos", "bad", "fraud", "late")
_MOST_CLASSES = 20
_MOST_NAMED_CLASSES = 50
_MOST_ROWS = 200_000


def init_spec(table_path: Path | str, target: str, time: str | None = None) -> str:
    """Return a commented model file for a table.

    Parameters
    ----------
    table_path
        CSV (also gzipped) or Parquet; the file is named as given, so write the result into the working directory.
    target, time
        The column to predict, and the one that orders the rows (None: file order, and arrival time when serving).

    Raises
    ------
    DataError
        When the file cannot be read, has no rows or no such column, or a target or time that nothing can be trained with.
    """
    path = Path(table_path)
    table = _read(path)
    missing = [c for c in (target, time) if c is not None and c not in table]
    if missing:
        raise DataError([DataProblem(None, c, "no such column", f"one of {', '.join(table.columns)}") for c in missing], str(path))
    problems = _untrainable(table, target, time)
    if problems:
        raise DataError(problems, str(path))
    task, classes = _task(table[target])
    features = [line for name in table.columns if name != target for line in _feature(table, str(name), name == time)]
    return "\n".join([*_head(path, task), *_schema(table, target, time, task, classes), "  features:", *features, *_policies()]) + "\n"


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path).to_pandas() if path.suffix == ".parquet" else pd.read_csv(path, nrows=_MOST_ROWS)
    except (OSError, ValueError) as error:
        raise DataError([DataProblem(None, str(path), str(error), "a readable CSV or Parquet file")], str(path)) from error
    return table.rename(columns=str)


def _untrainable(table: pd.DataFrame, target: str, time: str | None) -> list[DataProblem]:
    if not len(table):
        return [DataProblem(None, target, "no rows", "a table with history in it")]
    problems = []
    known = table[target].dropna()
    if not len(known):
        problems.append(DataProblem(None, target, "no value in any row", "a target with known outcomes"))
    elif len(words := _words(known)) and known.nunique() > _MOST_NAMED_CLASSES:
        got = f"{known.nunique()} different values that are not all numbers, such as {words.iloc[0]!r}"
        problems.append(DataProblem(None, target, got, f"numbers, or at most {_MOST_NAMED_CLASSES} classes"))
    if time is not None:
        values = table[time]
        is_number = pd.api.types.is_numeric_dtype(values)
        bad = values[(values if is_number else pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")).isna()]
        if len(bad):
            got = f"{len(bad)} values that are no time, such as {'nothing' if pd.isna(bad.iloc[0]) else repr(bad.iloc[0])}"
            problems.append(DataProblem(None, time, got, "ISO 8601 times or numbers in every row"))
    return problems


def _words(known: pd.Series) -> pd.Series:
    """Return the values that cannot be read as numbers, as `read_table` does."""
    return known[pd.to_numeric(known, errors="coerce").isna()]


def _task(values: pd.Series) -> tuple[str, list[str]]:
    known = values.dropna()
    distinct = known.unique()
    counted = pd.api.types.is_float_dtype(known) and not (known == np.floor(known)).all()
    if len(distinct) == 2:
        names = known.map(normalise_label).value_counts()
        positive = next((p for p in _POSITIVES if p in names.index), str(names.index[-1]))
        return "binary", [*(str(n) for n in names.index if n != positive), positive]
    few = len(distinct) <= _MOST_CLASSES and (not pd.api.types.is_numeric_dtype(known) or len(distinct) < 0.01 * len(known))
    if (few and not counted) or len(_words(known)):
        return "multiclass", sorted({normalise_label(v) for v in distinct})
    return "regression", []


def _head(path: Path, task: str) -> list[str]:
    name = re.sub(r"[^a-z0-9._-]", "-", path.name.lower().split(".")[0]).strip("._-")[:64] or "model"
    others = ", ".join(n for n, m in METRICS.items() if task in m.tasks)
    return [
        "# Guessed from the table: read it, correct what is wrong, then `evergreen train` it.",
        f"model: {name}",
        f"data: {_scalar(path.as_posix())}",
        f"metric: {DEFAULT_METRIC[task]}            # models are chosen and judged by it; there are {others}",
        "",
    ]


def _schema(table: pd.DataFrame, target: str, time: str | None, task: str, classes: list[str]) -> list[str]:
    out = ["schema:", f"  target: {_scalar(target)}", f"  task: {task}"]
    if task == "binary":
        out.append(f"  positive: {_scalar(classes[-1])}            # the class whose probability matters")
    if classes:
        out.append(f"  classes: [{', '.join(map(_scalar, classes))}]")
    if time is None:
        out.append("  # time: {column: ..., kind: timestamp}   # no time column named: rows are learned in file order")
    elif pd.api.types.is_numeric_dtype(table[time]):
        out.append(f"  time: {{column: {_scalar(time)}, kind: ordinal, origin: 2000-01-01, step: 1h}}   # when was 0, how long is 1?")
    else:
        out.append(f"  time: {{column: {_scalar(time)}, kind: timestamp, clock: event}}   # clock: arrival if requests do not carry it")
    return [*out, "  extra: ignore            # error: refuse requests with columns not listed here"]


def _feature(table: pd.DataFrame, name: str, is_time: bool) -> list[str]:
    values = table[name]
    known = values.dropna()
    nullable = bool(values.isna().any())
    if is_time and pd.api.types.is_numeric_dtype(values):
        return []
    if not len(known):
        return [f"    # {_scalar(name)} is left out: it holds nothing"]
    kind = _kind(known)
    if kind in ("categorical", "integer") and len(known) > 100 and known.nunique() == len(known):
        return [f"    # {_scalar(name)} is left out: every value is different, as in an id"]
    keys = [f"kind: {kind}", *(["nullable: true"] if nullable else [])]
    if kind == "datetime":
        keys.append("derive: [hour, weekday]" if is_time else "derive: [hour, weekday, month]")
    return [f"    {_scalar(name)}: {{{', '.join(keys)}}}{_comment(known, kind)}"]


def _kind(known: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(known) or (known.dtype == object and known.isin([True, False]).all()):
        return "boolean"
    if pd.api.types.is_integer_dtype(known):
        return "integer"
    if pd.api.types.is_numeric_dtype(known):
        whole = bool((known == np.floor(known)).all())
        return "integer" if whole else "numeric"
    if pd.api.types.is_datetime64_any_dtype(known):
        return "datetime"
    stamps = pd.to_datetime(known.astype(str).head(1000), utc=True, format="ISO8601", errors="coerce")
    return "datetime" if stamps.notna().all() and known.astype(str).head(100).str.contains("-").all() else "categorical"


def _comment(known: pd.Series, kind: str) -> str:
    if kind in ("numeric", "integer"):
        low, high = float(known.min()), float(known.max())
        room = (high - low) / 2 or 1.0
        least, most = _round(0.0 if low >= 0 else low - room), _round(high + (np.ceil(room) if kind == "integer" else room))
        return f"   # seen {low:g} to {high:g}; to refuse others: minimum: {least}, maximum: {most}, out_of_range: error"
    if kind == "categorical":
        counts = known.astype(str).value_counts()
        shown = ", ".join(_scalar(c) for c in counts.index[:6])
        return f"   # {len(counts)} seen: {shown}{', ...' if len(counts) > 6 else ''}; unknown: error needs categories: [...]"
    return ""


def _round(value: float) -> str:
    digits = 2 - int(np.floor(np.log10(abs(value)))) if value else 0
    return f"{round(value, digits):g}"


def _scalar(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.casefold() not in _SPECIAL else json.dumps(text, ensure_ascii=False)


def _policies() -> list[str]:
    return [
        "",
        "labels:",
        "  delay: 1d            # how long after a prediction its truth is known: a duration, or '168 rows'",
        "segments: []            # categorical features by whose values performance is reported apart",
        "training:",
        "  budget: 30s            # or '12 fits', which chooses the same on every machine",
        "  window: all            # learn from the last 180d only, say",
        "watching:",
        "  every: 7d            # look this often, in the time of the data",
        "  window: 14d            # at the rows of this span",
        "retraining:",
        "  act: auto            # notify: decide and tell, but change nothing",
        "  schedule: null            # retrain every 30d, say, whatever the scores",
        "  on_performance: true            # retrain when live scores are worse than at training",
    ]
