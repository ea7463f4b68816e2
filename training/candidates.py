"""Which algorithms compete for a task, with which settings; and the baseline they all must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from training.preprocessing import Encoding, build_pipeline
from training.schema import Schema

BASELINE = "baseline"
TREES = 60
PER_FAMILY = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """One algorithm with its settings: enough to make it again.

    Parameters
    ----------
    family
        ``linear``, ``forest``, ``boosting`` or ``baseline``.
    params
        Plain JSON values; ``algorithm`` picks the variant of a family.
    """

    family: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def name(self) -> str:
        """The family and its settings in one line."""
        inside = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.params.items())
        return f"{self.family}({inside})"

    def build(self, schema: Schema) -> Pipeline:
        """Return the unfitted Pipeline of this candidate for a schema."""
        scale, encode = (True, "onehot") if self.family == "linear" else (False, "ordinal")
        return build_pipeline(schema, self._estimator(schema), scale=scale, encode=_ENCODING[encode])

    def _estimator(self, schema: Schema) -> Any:
        classify = schema.is_classification
        params = {k: v for k, v in self.params.items() if k != "algorithm"}
        if self.family == BASELINE:
            return DummyClassifier(strategy="prior") if classify else DummyRegressor(strategy="median")
        if self.family == "linear":
            return LogisticRegression(max_iter=300, tol=1e-3, **params) if classify else Ridge(**params)
        if self.family == "forest":
            return _FORESTS[classify, self.params["algorithm"]](n_estimators=TREES, random_state=self.seed, n_jobs=1, **params)
        codes = list(range(len(schema.categorical_names))) or None
        boosting = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
        return boosting(categorical_features=codes, early_stopping=False, random_state=self.seed, **params)


_ENCODING: dict[str, Encoding] = {"onehot": "onehot", "ordinal": "ordinal"}
_FORESTS = {
    (True, "random"): RandomForestClassifier,
    (True, "extra"): ExtraTreesClassifier,
    (False, "random"): RandomForestRegressor,
    (False, "extra"): ExtraTreesRegressor,
}


def candidates_for(task: str, names: Sequence[str], seed: int) -> list[Candidate]:
    """Return the candidates of a task, the families in turn: the first of each, the second of each, and so on.

    The first of a family is its proven setting; the others are drawn around it with `seed`.

    Examples
    --------
    >>> [c.family for c in candidates_for("binary", ["linear", "boosting"], seed=0)][:3]
    ['linear', 'boosting', 'linear']
    """
    rng = np.random.default_rng(seed)
    ranges = {"linear": _linear, "forest": _forest, "boosting": _boosting}
    drawn = {name: ranges[name](rng, task) for name in ranges}
    return [Candidate(name, drawn[name][turn], seed) for turn in range(PER_FAMILY) for name in ranges if name in names]


def baseline(seed: int) -> Candidate:
    """Return the constant guess (class shares, or the median) all others must beat."""
    return Candidate(BASELINE, {}, seed)


def _linear(rng: np.random.Generator, task: str) -> list[dict[str, Any]]:
    if task == "regression":
        return [{"alpha": 1.0}, {"alpha": 30.0}, {"alpha": 1000.0}, {"alpha": 0.01}]
    return [{"C": 1.0}, {"C": 0.03}, {"C": 0.001}, {"C": 30.0}]


def _forest(rng: np.random.Generator, task: str) -> list[dict[str, Any]]:
    first = {"algorithm": "random", "max_leaf_nodes": 256, "min_samples_leaf": 5, "max_features": 0.5}
    return [
        first,
        *(
            {
                "algorithm": str(rng.choice(["random", "extra"])),
                "max_leaf_nodes": int(rng.choice([64, 256, 512])),
                "min_samples_leaf": int(rng.choice([2, 5, 20])),
                "max_features": float(rng.choice([0.3, 0.5, 0.8])),
            }
            for _ in range(PER_FAMILY - 1)
        ),
    ]


def _boosting(rng: np.random.Generator, task: str) -> list[dict[str, Any]]:
    first = {"max_iter": 80, "max_leaf_nodes": 15, "learning_rate": 0.1, "min_samples_leaf": 20, "l2_regularization": 0.0}
    return [
        first,
        *(
            {
                "max_iter": int(rng.choice([50, 80, 120])),
                "max_leaf_nodes": int(rng.choice([7, 15, 31])),
                "learning_rate": float(rng.choice([0.05, 0.1, 0.15])),
                "min_samples_leaf": int(rng.choice([10, 20, 50])),
                "l2_regularization": float(rng.choice([0.0, 1.0, 10.0])),
            }
            for _ in range(PER_FAMILY - 1)
        ),
    ]
