"""A user's own pipeline: nothing Evergreen can compile, and it raises on rows that the schema takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

BREAKS = 1000.0
SPEC = """
model: rides
schema:
  target: late
  task: binary
  positive: "yes"
  extra: error
  features:
    distance: {kind: numeric, minimum: 0}
    hour: {kind: integer, minimum: 0, maximum: 23}
    district: {kind: categorical}
"""
DISTRICTS = ("campus", "harbour", "north")


class Brittle(TransformerMixin, BaseEstimator):
    """Makes numbers of a ride; a distance from `BREAKS` on is more than it can take."""

    def fit(self, _table: Any, _target: Any = None) -> Brittle:
        return self

    def transform(self, table: pd.DataFrame) -> npt.NDArray[np.float64]:
        if (table["distance"] >= BREAKS).any():
            raise ArithmeticError("so far nobody rides")
        district = table["district"].map(DISTRICTS.index)
        return np.column_stack([np.log1p(table["distance"]), np.sin(table["hour"]), district]).astype(np.float64)


def rides(n_rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return rides, and whether they came late."""
    rng = np.random.default_rng(seed)
    distance, hour = rng.gamma(2, 4, n_rows).round(3), rng.integers(0, 24, n_rows)
    late = np.where(distance + rng.normal(0, 3, n_rows) > 8, "yes", "no")
    return pd.DataFrame({"distance": distance, "hour": hour, "district": rng.choice(DISTRICTS, n_rows), "late": late})


def brittle_pipeline() -> Pipeline:
    """Return it fitted."""
    table = rides()
    return make_pipeline(Brittle(), RandomForestClassifier(30, random_state=0)).fit(table[["distance", "hour", "district"]], table["late"])
