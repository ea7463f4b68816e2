"""The three models everybody serves: plain scikit-learn, so that a peer needs nothing of ours to load them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: LogisticRegression(max_iter=500),
    "forest": lambda: RandomForestClassifier(100, random_state=0),
    "boosting": lambda: HistGradientBoostingClassifier(random_state=0),
}


def fitted(estimator: Any, table: pd.DataFrame, labels: Any) -> Pipeline:
    """Return the pipeline of the textbooks, fitted: median and scale the numbers, one column a category, then the estimator."""
    numbers = [name for name in table if name.startswith("number")]
    categories = [name for name in table if name.startswith("category")]
    branches: list[tuple[str, Any, list[str]]] = [("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers)]
    if categories:
        branches.append(("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories))
    return Pipeline([("prepare", ColumnTransformer(branches)), ("estimate", estimator)]).fit(table, labels)
