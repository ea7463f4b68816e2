"""Predictions for a whole table without a server; nothing is logged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from monitoring.errors import OfflineError
from monitoring.status import resolve
from monitoring.workbench import Workbench
from training.artifact import load_verified
from training.dataset import read_table
from training.prediction import Prediction
from training.schema import frame


@dataclass(frozen=True, slots=True)
class Predicted:
    """What was written, by which version."""

    model: str
    version: str
    rows: int
    out: Path


def predict_table(bench: Workbench, model: str, version: str | None, table: Path, out: Path) -> Predicted:
    """Predict the rows of a CSV or Parquet file and write `out`: time, features, prediction, in the order of time.

    Raises
    ------
    OfflineError
        `out` is no kind of file we write, or the table has no rows.
    """
    if not out.name.endswith((".parquet", ".csv", ".csv.gz")):
        raise OfflineError(f"{out} should end in .parquet, .csv or .csv.gz")
    record = resolve(bench, model, version)
    loaded = load_verified(bench.home.artifacts / record.path, bench.home.cache, bench.key, expected_digest=record.digest)
    rows = read_table(table, loaded.schema)
    if not len(rows):
        raise OfflineError(f"{table} has no rows; there is nothing to predict")
    known = frame(rows.columns, loaded.schema)
    known.insert(0, "@time", pd.to_datetime(rows.time_us, unit="us", utc=True))
    answered = pd.concat([known, as_table(loaded.predictor.predict(rows.columns))], axis=1)
    if out.suffix == ".parquet":
        answered.to_parquet(out, index=False)
    else:
        answered.to_csv(out, index=False)
    return Predicted(model, record.version, len(rows), out)


def as_table(prediction: Prediction) -> pd.DataFrame:
    """Lay a prediction out in columns: `prediction`, and `probability_<class>` for each class."""
    columns = {"prediction": prediction.label}
    if prediction.probability is not None:
        for index, name in enumerate(prediction.classes or ()):
            columns[f"probability_{name}"] = prediction.probability[:, index]
    return pd.DataFrame(columns)
