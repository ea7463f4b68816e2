"""Schema to unfitted scikit-learn Pipeline: derive, clip outliers, impute with indicator, scale, encode."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from training.schema.schema import Schema

Encoding = Literal["onehot", "ordinal"]
RARE = 10
MOST_ONEHOT, MOST_ORDINAL = 50, 200
MISSING = "(missing)"
MOST = 1e38
"""Beyond it a number is no float32, as trees take it, and its square soon no float64, as scaling needs it."""
_ATTRIBUTES = {"weekday": "day_of_week", "dayofyear": "day_of_year"}


class OutlierClipper(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Clip each column to its own 0.1 % and 99.9 % quantiles; missing values stay missing.

    A column whose fences are equal is left alone: it holds a rare flag, not an outlier. Where numbers beyond ±`MOST` were seen those
    are the widest fences.
    """

    def __init__(self, share: float = 0.001) -> None:
        self.share = share

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the fences from `X`, shape (n_rows, n_features)."""
        values = np.asarray(X, dtype=np.float64)
        self.n_features_in_ = values.shape[1]
        fences = [_fences(column[~np.isnan(column)], self.share) for column in values.T]
        self.low_, self.high_ = np.array(fences).reshape(-1, 2).T
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the clipped values, shape (n_rows, n_features)."""
        return np.clip(np.asarray(X, dtype=np.float64), self.low_, self.high_)


def _fences(known: npt.NDArray[np.float64], share: float) -> tuple[float, float]:
    inside = known.clip(-MOST, MOST)
    low, high = np.quantile(inside, [share, 1 - share]) if len(known) else (0.0, 0.0)
    if low < high:
        return float(low), float(high)
    return (-np.inf, np.inf) if np.array_equal(inside, known) else (-MOST, MOST)


class DateParts(TransformerMixin, BaseEstimator):
    """Turn epoch seconds (UTC) into calendar parts; a missing time gives missing parts."""

    def __init__(self, parts: tuple[str, ...] = ("hour", "weekday", "month")) -> None:
        self.parts = parts

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn nothing but the number of columns."""
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the parts of each column, shape (n_rows, n_columns * n_parts)."""
        values = np.asarray(X, dtype=np.float64)
        return np.column_stack([_part(column, part) for column in values.T for part in self.parts])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Name the parts ``<column>_<part>``."""
        names = [f"x{i}" for i in range(self.n_features_in_)] if input_features is None else input_features
        return np.array([f"{name}_{part}" for name in names for part in self.parts], dtype=object)


def _part(seconds: npt.NDArray[np.float64], part: str) -> npt.NDArray[np.float64]:
    known = np.isfinite(seconds) & (np.abs(seconds) < 2e11)
    stamps = pd.DatetimeIndex(np.where(known, seconds, 0.0).astype("int64").astype("datetime64[s]"))
    values = stamps.isocalendar().week.to_numpy() if part == "week" else np.asarray(getattr(stamps, _ATTRIBUTES.get(part, part)))
    return np.where(known, values.astype(np.float64), np.nan)


class CategoryFiller(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Make a missing category a category of its own."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn nothing but the number of columns."""
        self.n_features_in_ = np.asarray(X, dtype=object).shape[1]
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: Any) -> npt.NDArray[Any]:
        """Return the categories as objects, None and NaN replaced."""
        values = np.asarray(X, dtype=object)
        return np.where((values == None) | (values != values), MISSING, values)  # noqa: E711


def build_pipeline(schema: Schema, estimator: Any, *, scale: bool, encode: Encoding) -> Pipeline:
    """Return an unfitted Pipeline whose input is `training.schema.schema.frame`.

    Parameters
    ----------
    scale
        Whether numbers are standardised after imputation.
    encode
        ``onehot``, or ``ordinal`` codes. Categorical columns come first in the prepared matrix, so a tree learner can
        be told that the first ``len(schema.categorical_names)`` columns are codes.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from training.schema.feature import Feature
    >>> schema = Schema((Feature("x", "numeric"),), "y", "regression")
    >>> [name for name, _ in build_pipeline(schema, DummyRegressor(), scale=True, encode="onehot").steps]
    ['prepare', 'estimate']
    """
    categories = list(schema.categorical_names)
    times = [f for f in schema.features if f.kind == "datetime"]
    numbers = [f.name for f in schema.features if f.is_number and f.kind != "datetime"]
    branches: list[tuple[str, Any, list[str]]] = []
    if categories:
        branches.append(("categories", make_pipeline(CategoryFiller(), _encoder(encode)), categories))
    if numbers:
        branches.append(("numbers", make_pipeline(OutlierClipper(), *_numbers(scale)), numbers))
    branches += [(f"time_{f.name}", make_pipeline(DateParts(f.derive), *_numbers(scale)), [f.name]) for f in times]
    prepare = ColumnTransformer(branches, remainder="drop", sparse_threshold=0.0, verbose_feature_names_out=True)
    return Pipeline([("prepare", prepare), ("estimate", estimator)])


def monotonic_columns(prepare: ColumnTransformer, schema: Schema) -> list[int]:
    """Return which way the answer goes with each column of what a fitted preparation gives: 1, -1, or 0 for any.

    A flag that a value was missing has no direction, whatever its feature has.
    """
    places = prepare.output_indices_
    directions = [0] * max(place.stop for place in places.values())
    for name, _, columns in prepare.transformers_:
        for at, column in enumerate(columns if name == "numbers" else ()):
            directions[places[name].start + at] = schema.monotonic.get(column, 0)
    return directions


def _numbers(scale: bool) -> list[Any]:
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return [imputer, StandardScaler()] if scale else [imputer]


def _encoder(encode: Encoding) -> Any:
    if encode == "onehot":
        return OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE, max_categories=MOST_ONEHOT, sparse_output=False)
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=RARE, max_categories=MOST_ORDINAL)
