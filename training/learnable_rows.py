"""The rows a version is made of: read, mature, labelled, of the window; and those of its range that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.clock import duration_us
from training.dataset.dataset import read_table, rows_from_columns, shuffled
from training.dataset.maturity import LabelledShare, covered_rows, labelled_shares, mature_rows
from training.dataset.report import LEAST_ROWS, DataReport, check
from training.errors import DataError, TooFewRowsError
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows
from training.schema.sources import Query


@dataclass(frozen=True, slots=True)
class LearnableRows:
    """The rows a version is made of.

    Attributes
    ----------
    rows, report
        Those to learn from, and what they look like.
    seen, places
        All mature rows up to the newest of them, labelled or not, also from before the window: what rows looked like through all the
        seasons there are; and where the former stand among them.
    calm
        The table inputs are compared with, where the model file names one.
    """

    rows: Rows
    report: DataReport
    seen: Rows
    places: npt.NDArray[np.intp]
    calm: Rows | None


def learnable_rows(rows: Rows | pd.DataFrame | Path | str | Query, spec: ModelSpec, *, is_by_hand: bool = True) -> LearnableRows:
    """Return the rows to learn from (mature, labelled, of the window), and what they look like.

    Parameters
    ----------
    is_by_hand
        Not a run of the loop, which hands over what is mature and has its reference.

    Raises
    ------
    DataError, TooFewRowsError
        The rows do not fit the schema or are too few to learn from.
    """
    table = spec.watching.drift.reference
    calm = _calm(table, spec) if isinstance(table, Path) and is_by_hand else None
    whole = rows if isinstance(rows, Rows) else _read(rows, spec)
    if whole.target is None:
        raise TooFewRowsError(f"the rows have no column {spec.schema.target!r} to learn from")
    has_time = spec.schema.time is not None
    mature = mature_rows(whole, spec.labels, has_time=has_time) if is_by_hand else whole
    shares: tuple[LabelledShare, ...] = ()
    if has_time and is_by_hand:
        shares, mature = labelled_shares(mature), covered_rows(mature, spec.labels, spec.watching.bucket)
    too_new = len(whole) - len(mature)
    places = np.flatnonzero(mature.is_labelled)
    if spec.training.window is not None and len(places):
        first_us = int(mature.time_us[places[-1]]) - duration_us(spec.training.window) + 1
        places = places[mature.time_us[places] >= first_us]
    if len(places) < LEAST_ROWS:
        left_out = f" ({too_new} newer ones are left out: by labels.delay their labels may still come)" if too_new else ""
        raise TooFewRowsError(f"{len(places)} labelled rows are too few to learn from; {LEAST_ROWS} are the least{left_out}")
    learned = mature.take(places)
    report = check(learned, spec.schema, too_new=too_new, shares=shares)
    if not isinstance(rows, Rows) and spec.training.split == "random":
        learned = shuffled(learned, spec.training.seed)
        return LearnableRows(learned, report, learned, np.arange(len(learned)), calm)
    return LearnableRows(learned, report, mature.slice(0, int(places[-1]) + 1), places, calm)


def _calm(table: Path, spec: ModelSpec) -> Rows:
    """Read the table of a reference; whatever is wrong with it is said with the field that names it."""
    field = "watching.drift.reference"
    try:
        rows = read_table(table, spec.schema, spec.read)
    except DataError as error:
        error.args = (f"{field}: {error}",)
        raise
    if len(rows) < LEAST_ROWS:
        raise TooFewRowsError(f"{field}: {table}: got {len(rows)} rows, wanted at least {LEAST_ROWS}")
    return rows


def _read(table: pd.DataFrame | Path | str | Query, spec: ModelSpec) -> Rows:
    if isinstance(table, pd.DataFrame):
        return rows_from_columns(table, spec.schema)
    if not isinstance(table, str | Path | Query):
        raise TypeError(f"rows are a {type(table).__name__}, wanted a DataFrame, a path or an address")
    return read_table(table, spec.schema, spec.read)
