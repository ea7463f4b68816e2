"""The streams: tables in the order of time, cut into a first part and ticks; how late labels come, and what may be wrong with rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from benchmarks.serving.places import say
from training.clock import duration_us
from training.fitting.candidates import Candidate, candidates_for
from training.fitting.search import fit
from training.model_file.model_spec import ModelSpec, parse_spec
from training.schema.prediction import Prediction
from training.schema.rows import Rows

TICKS = 60
MOST_ROWS = 45_500  # of longer streams each k-th row is taken, so that a run takes minutes
LEAST_TICK = 50
TICK_US = duration_us(timedelta(days=7))  # a tick is a slot: `watching.every` is left as it is
BEGIN_US = 100 * TICK_US  # model time of the first tick
LEAST_PROBABILITY = 1e-3  # what the log-loss takes for a class that was thought impossible
BAD_PARTS = (0.35, 0.60, 0.80)  # where labels or a column go wrong
MOST_BAD, SHARE_BAD, FLIPPED = 2000, 12, 0.4
NOT_FEATURES = ("event_time", "label_time", "target")
FAULTS = ("flip", "constant", "stuck")
LEARNERS = ("boosting", "linear")
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Case:
    """How a stream is lived through.

    Attributes
    ----------
    start
        The share of the rows that the first version is trained on.
    delay_factor
        How many times as late labels come.
    is_shuffled
        Whether the rows are in an order that means nothing.
    fault
        What is wrong with some rows: a key of `FAULTS`, or nothing.
    ticks
        So many; fewer to see that it works.
    """

    learner: str = "boosting"
    start: float = 0.15
    delay_factor: float = 1.0
    is_shuffled: bool = False
    fault: str = ""
    ticks: int = TICKS

    def __str__(self) -> str:
        words = [self.learner, f"from {self.start:g}", *(["shuffled"] if self.is_shuffled else []), *([self.fault] if self.fault else [])]
        words += [f"delay x{self.delay_factor:g}"] if self.delay_factor != 1 else []
        return " ".join([*words, *([f"{self.ticks} ticks"] if self.ticks != TICKS else [])])


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Rows as the loop sees them, what is true of them, and where the ticks begin.

    Attributes
    ----------
    rows
        All of them, with the labels that are handed in.
    true_labels
        The labels by which answers are judged, shape (n,).
    is_faulty
        Which rows have something wrong with them, shape (n,).
    n_first
        How many rows the first version is trained on.
    delay
        How many rows later a label is in.
    edges
        The row each tick begins with, and behind the last one; shape (ticks + 1,). The first tick begins when all first labels are in.
    text
        The model file, but for what a policy says.
    """

    name: str
    rows: Rows
    true_labels: npt.NDArray[Any]
    is_faulty: Mask
    n_first: int
    delay: int
    edges: Places
    text: str
    learner: str = "boosting"

    def spec(self, training: Mapping[str, Any] | None = None, retraining: Mapping[str, Any] | None = None) -> ModelSpec:
        """Return the model file with what a policy says of training and retraining."""
        keys = yaml.safe_load(self.text)
        keys["training"] |= training or {}
        return parse_spec(yaml.safe_dump(keys | {"retraining": dict(retraining or {})}, sort_keys=False))

    @property
    def candidate(self) -> Candidate:
        """What all policies and the reference fit: the first setting of the learner, which a search of one fit chooses."""
        spec = self.spec()
        return candidates_for(spec.schema.task, [self.learner], spec.training.seed)[0]  # type: ignore[list-item]

    def losses(self, answers: Prediction, start: int, stop: int) -> Floats:
        """Return the loss of each of the rows [start, stop): log-loss, or absolute error."""
        return row_losses(answers, self.true_labels[start:stop])

    def by_tick(self, losses: Floats) -> list[float]:
        """Return the mean of each tick of the losses of all rows from the first tick on."""
        edges = self.edges - self.edges[0]
        return [float(losses[a:b].mean()) for a, b in pairwise(edges.tolist())]


def row_losses(answers: Prediction, true_labels: npt.NDArray[Any]) -> Floats:
    """Return the log-loss (of a class thought impossible, that of one in a thousand) or the absolute error of each row.

    Examples
    --------
    >>> row_losses(Prediction(np.array([1.0, 5.0])), np.array([2.0, 5.0])).tolist()
    [1.0, 0.0]
    """
    if answers.probability is None or answers.classes is None:
        return np.abs(np.asarray(answers.label, np.float64) - np.asarray(true_labels, np.float64))
    place = {name: i for i, name in enumerate(answers.classes)}
    column = np.array([place.get(name, -1) for name in true_labels.tolist()])
    given = np.where(column >= 0, answers.probability[np.arange(len(true_labels)), column], 0.0)
    return np.asarray(-np.log(np.clip(given, LEAST_PROBABILITY, 1.0)))


def names() -> list[str]:
    """Return the streams that are there (EVERGREEN_TEST_DATA); says so where none is."""
    root = os.environ.get("EVERGREEN_TEST_DATA", "")
    there = sorted(path.parent.name for path in Path(root).glob("*/meta.json")) if root else []
    if not there:
        say(f"SKIPPED: no stream in {root or 'no folder'}; set EVERGREEN_TEST_DATA to one of NAME/meta.json and NAME/NAME.csv.gz")
    return there


def load(name: str, case: Case) -> Stream | None:
    """Return a stream; None, and says so, where its table is not there."""
    folder = Path(os.environ.get("EVERGREEN_TEST_DATA", "")) / name
    table = next((path for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz") if path.exists()), None)
    if table is None or not (folder / "meta.json").exists():
        say(f"SKIPPED {name}: its table or its meta.json is not in {folder}; set EVERGREEN_TEST_DATA")
        return None
    return make_stream(name, pd.read_csv(table, low_memory=False), json.loads((folder / "meta.json").read_text()), case)


def make_stream(name: str, table: pd.DataFrame, meta: Mapping[str, Any], case: Case) -> Stream:
    """Cut a table in the order of time into a first part and ticks.

    Parameters
    ----------
    table
        Features and `target`; times of its own are not looked at, for ticks count rows.
    meta
        `task`, `cat` (names of the categories) and `delay_rows` of the whole table.
    """
    every = max(1, -(-len(table) // MOST_ROWS))
    table = table.iloc[::every].reset_index(drop=True)
    delay = max(1, round(meta["delay_rows"] * case.delay_factor / every))
    if case.is_shuffled:
        table = table.iloc[np.random.default_rng(0).permutation(len(table))].reset_index(drop=True)
    n, is_classes = len(table), meta["task"] != "regression"
    columns = {c: _category(table[c]) if c in meta["cat"] else _number(table[c]) for c in table if c not in NOT_FEATURES}
    true_labels = table["target"].astype(str).to_numpy(dtype=object) if is_classes else table["target"].to_numpy(np.float64)
    first, size = int(n * case.start), max(LEAST_TICK, int(n * (1 - case.start) / TICKS))
    edges = [*range(first + delay, n, size), n]
    if len(edges) > 2 and edges[-1] - edges[-2] < size // 2:
        edges.pop(-2)
    edges = edges[: case.ticks + 1]
    time_us = BEGIN_US + (np.arange(n) - edges[0]) * (TICK_US // size)
    text = _model_file(name, columns, sorted(set(true_labels.tolist())) if is_classes else [], delay, case.learner)
    is_faulty = np.zeros(n, dtype=np.bool_)
    stream = Stream(name, Rows(columns, true_labels, time_us), true_labels, is_faulty, first, delay, np.array(edges), text, case.learner)
    return with_fault(stream, case.fault) if case.fault else stream


def with_fault(stream: Stream, fault: str) -> Stream:
    """Return a stream of which three stretches have wrong labels or a column that is stuck.

    `flip`: two labels in five are another class, or another row's number. `constant`: all are the first class, or 0. `stuck`: the number
    that answers hang on most is 0.
    """
    n, rng = len(stream.rows), np.random.default_rng(1)
    columns, labels = dict(stream.rows.columns), stream.true_labels.copy()
    is_faulty = np.zeros(n, dtype=np.bool_)
    for part in BAD_PARTS:
        is_faulty[int(part * n) : int(part * n) + min(MOST_BAD, n // SHARE_BAD)] = True
    bad = np.flatnonzero(is_faulty)
    if fault == "stuck":
        name = strongest_number(stream)
        columns[name] = np.where(is_faulty, 0.0, columns[name])
    elif labels.dtype == object:
        classes = np.array(sorted(set(labels.tolist())), dtype=object)
        codes = np.searchsorted(classes.astype(str), labels[bad].astype(str))
        other = (codes + rng.integers(1, len(classes), len(bad))) % len(classes)
        labels[bad] = classes[np.where(rng.random(len(bad)) < FLIPPED, other, codes)] if fault == "flip" else classes[0]
    else:
        mixed = np.where(rng.random(len(bad)) < FLIPPED, rng.permutation(labels[bad]), labels[bad])
        labels[bad] = mixed if fault == "flip" else 0.0
    return replace(stream, rows=Rows(columns, labels, stream.rows.time_us), is_faulty=is_faulty)


def strongest_number(stream: Stream) -> str:
    """Return the number whose values, shuffled, cost the answers of a fit most."""
    rng = np.random.default_rng(0)
    some = stream.rows.take(np.sort(rng.permutation(int(0.4 * len(stream.rows)))[:3000]))
    model = fit(stream.candidate, some, stream.spec().schema)
    numbers = [name for name, values in some.columns.items() if values.dtype != object]
    costs = {}
    for name in numbers:
        shuffled = {**some.columns, name: np.random.default_rng(1).permutation(some.columns[name])}
        costs[name] = float(row_losses(model.predict(shuffled), some.labels).mean())
    return max(costs, key=lambda name: costs[name])


def _model_file(name: str, columns: Mapping[str, npt.NDArray[Any]], classes: list[str], delay: int, learner: str) -> str:
    features = {c: {"kind": "categorical" if v.dtype == object else "numeric", "nullable": True} for c, v in columns.items()}
    of_classes: dict[str, Any] = {"task": "regression"}
    if classes:
        of_classes = {"task": "multiclass" if len(classes) > 2 else "binary", "classes": classes}
        of_classes |= {"positive": classes[1]} if len(classes) == 2 else {}
    keys = {
        "model": name,
        "metric": "log_loss" if classes else "mae",
        "schema": {
            "target": "target",
            **of_classes,
            "time": {"column": "event_time__", "kind": "ordinal", "origin": "1970-01-01", "step": "1s"},
            "features": features,
        },
        "labels": {"delay": f"{delay} rows", "too_late": "4000d"},
        "training": {"candidates": [learner], "budget": "1 fits"},
        "watching": {"every": "7d", "window": "14d", "bucket": "1d", "clock_bound": "4000d"},
        "retention": {"log": "4000d"},
    }
    return yaml.safe_dump(keys, sort_keys=False)


def _category(values: pd.Series) -> npt.NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = [None if value is None or value != value else str(value) for value in values.tolist()]
    return column


def _number(values: pd.Series) -> Floats:
    return pd.to_numeric(values).to_numpy(np.float64)
