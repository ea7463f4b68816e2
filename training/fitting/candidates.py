"""Which algorithms compete for a task, with which settings; and the baseline they all must beat."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
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

from training.errors import CandidateError
from training.fitting.imported import kind_of
from training.fitting.original import labels_as_known, unfitted
from training.fitting.own_estimator import OwnEstimator, build_own, named
from training.fitting.preprocessing import Encoding, build_pipeline, monotonic_columns
from training.fitting.weights import Floats, Weights, weigh, weight_argument
from training.policies import MONOTONIC, ORIGINAL, CandidateName, Original, OwnCandidate, Weighing
from training.schema.costs import Costs
from training.schema.rows import Rows
from training.schema.schema import Schema

BASELINE = "baseline"
TREES = 60
PER_FAMILY = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """One algorithm with its settings: enough to make it again.

    Attributes
    ----------
    family
        ``linear``, ``forest``, ``boosting``, ``baseline``, or the name of one of a user's own.
    params
        Plain JSON values; ``algorithm`` picks the variant of a family of ours.
    factory
        What builds a user's own; None for a family of ours.
    original
        What was imported, for a refit of that.
    weighing
        How much each row counts in its fits; None where all count the same.
    costs
        What its wrong decisions cost; None where all cost the same.
    """

    family: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    factory: str | None = None
    original: Original | None = field(default=None, compare=False, repr=False)
    weighing: Weighing | None = None
    costs: Costs | None = None

    @property
    def foreign(self) -> str | None:
        """What to call it where its code is not ours; None where it is."""
        return self.factory if self.original is None else f"the imported {kind_of(self.original.estimator)}"

    @property
    def undoes_weights(self) -> bool:
        """Whether its probabilities are freed of the weights of classes."""
        return self.weighing is not None and self.weighing.class_weight is not None and self.weighing.is_undone

    @property
    def name(self) -> str:
        """The family and its settings in one line."""
        inside = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.params.items())
        return f"{self.family}({inside})"

    def build(self, schema: Schema, classes: Iterable[str] = ()) -> Pipeline | OwnEstimator:
        """Return the unfitted Pipeline of this candidate for a schema, or a user's own for these `classes`.

        Raises
        ------
        CandidateError
            A user's own cannot be built.
        """
        if self.original is not None:
            with self.doing("cloning"):
                return unfitted(self.original)
        if self.factory is not None:
            order = schema.order_classes(tuple(classes)) if schema.is_classification else None
            return OwnEstimator(build_own(self.factory, schema, self.seed, self.params), order)
        scale, encode = (True, "onehot") if self.family == "linear" else (False, "ordinal")
        return build_pipeline(schema, self._estimator(schema), scale=scale, encode=_ENCODING[encode])

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Let it do something: a user's own leaves the process as it was, and what it raises names it.

        Raises
        ------
        CandidateError
            A user's own raises, or would end the process.
        """
        if self.foreign is None:
            yield
            return
        with named(self.foreign, what, self.seed):
            yield

    def weights(self, rows: Rows, pipeline: Any) -> tuple[Weights | None, dict[str, Floats]]:
        """Return the weights of rows, and how the ``fit`` of what `build` made is told them.

        Raises
        ------
        CandidateError
            A user's own takes none.
        """
        if self.weighing is None:
            return None, {}
        name = weight_argument(pipeline)
        if name is None or (type(pipeline) is OwnEstimator and weight_argument(pipeline.estimator) is None):
            raise CandidateError(
                f"{self.foreign} takes no sample_weight where it is fitted; training.class_weight and training.half_life need one that does"
            )
        weights = weigh(rows, self.weighing)
        return weights, {name: weights.rows}

    def constrain(self, pipeline: Any, table: Any, schema: Schema, classes: Iterable[str]) -> None:
        """Hold a pipeline that is about to be fitted on a table to the directions of the schema's features, where there are any."""
        if not schema.monotonic or self.family not in MONOTONIC or self.foreign is not None:
            return
        directions = monotonic_columns(pipeline[0].fit(table), schema)
        if schema.is_classification and schema.order_classes(tuple(classes))[-1] != max(classes):
            directions = [-each for each in directions]  # scikit-learn means its last class, which is not ours
        pipeline.set_params(estimate__monotonic_cst=directions)

    def labels(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return labels in the type it knows; raises CandidateError where what was imported does not know one."""
        return labels if self.original is None else labels_as_known(self.original, labels)

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


def candidates_for(task: str, names: Sequence[CandidateName | OwnCandidate | Original], seed: int) -> list[Candidate]:
    """Return the candidates of a task, the families in turn: the first of each, the second of each, and so on; a user's own first.

    The first of a family is its proven setting, or its written one; the others are drawn around it with `seed`.

    Examples
    --------
    >>> [c.family for c in candidates_for("binary", ["linear", "boosting"], seed=0)][:3]
    ['linear', 'boosting', 'linear']
    """
    rng = np.random.default_rng(seed)
    ranges = {"linear": _linear, "forest": _forest, "boosting": _boosting}
    drawn = {name: ranges[name](rng, task) for name in ranges}
    families = [
        [Candidate(c.name, params, seed, c.factory) for params in settings_of(c, seed)] for c in names if isinstance(c, OwnCandidate)
    ]
    families += [[original_candidate(c, seed)] for c in names if isinstance(c, Original)]
    families += [[Candidate(name, params, seed) for params in drawn[name]] for name in ranges if name in names]
    return [family[turn] for turn in range(PER_FAMILY) for family in families if turn < len(family)]


def original_candidate(original: Original, seed: int, weighing: Weighing | None = None) -> Candidate:
    """Return the one candidate of a model that was imported."""
    return Candidate(ORIGINAL, {}, seed, original=original, weighing=weighing)


def settings_of(own: OwnCandidate, seed: int) -> list[dict[str, Any]]:
    """Return what a user's own is called with: its `params`, then at most three with values of `tune`, drawn by `seed`.

    Examples
    --------
    >>> len(settings_of(OwnCandidate("mine", "a:b", {"depth": 4}, {"depth": [4, 6, 8, 10, 12]}), seed=0))
    4
    >>> settings_of(OwnCandidate("mine", "a:b", {"depth": 4}, {"depth": [4, 6]}), seed=0)
    [{'depth': 4}, {'depth': 6}]
    """
    settings = [dict(own.params)]
    values = [list(own.tune[name]) for name in own.tune]
    total = min(math.prod(map(len, values)), 1 << 60) if values else 0
    order = random.Random(seed)
    for place in order.sample(range(total), min(total, 100)):
        drawn = dict(own.params)
        for name, some in zip(own.tune, values, strict=True):
            place, at = divmod(place, len(some))
            drawn[name] = some[at]
        if drawn not in settings and len(settings) < PER_FAMILY:
            settings.append(drawn)
    return settings


def baseline(seed: int, costs: Costs | None = None) -> Candidate:
    """Return the constant guess (class shares, or the median) all others must beat."""
    return Candidate(BASELINE, {}, seed, costs=costs)


def values_of(family: str, task: str) -> Mapping[str, Sequence[Any]]:
    """Return the values that the settings of a family of ours are drawn from.

    Examples
    --------
    >>> values_of("linear", "regression")
    {'alpha': (1.0, 30.0, 1000.0, 0.01)}
    """
    if family == "linear":
        return {"alpha": (1.0, 30.0, 1000.0, 0.01)} if task == "regression" else {"C": (1.0, 0.03, 0.001, 30.0)}
    return {"forest": _FOREST, "boosting": _BOOSTING}[family]


_FOREST: dict[str, Sequence[Any]] = {
    "algorithm": ("random", "extra"),
    "max_leaf_nodes": (64, 256, 512),
    "min_samples_leaf": (2, 5, 20),
    "max_features": (0.3, 0.5, 0.8),
}
_BOOSTING: dict[str, Sequence[Any]] = {
    "max_iter": (50, 80, 120),
    "max_leaf_nodes": (7, 15, 31),
    "learning_rate": (0.05, 0.1, 0.15),
    "min_samples_leaf": (10, 20, 50),
    "l2_regularization": (0.0, 1.0, 10.0),
}


def _linear(rng: np.random.Generator, task: str) -> list[dict[str, Any]]:
    return [{name: value} for name, values in values_of("linear", task).items() for value in values]


def _forest(rng: np.random.Generator, task: str) -> list[dict[str, Any]]:
    first = {"algorithm": "random", "max_leaf_nodes": 256, "min_samples_leaf": 5, "max_features": 0.5}
    return [first, *(_draw(rng, _FOREST) for _ in range(PER_FAMILY - 1))]


def _boosting(rng: np.random.Generator, task: str) -> list[dict[str, Any]]:
    first = {"max_iter": 80, "max_leaf_nodes": 15, "learning_rate": 0.1, "min_samples_leaf": 20, "l2_regularization": 0.0}
    return [first, *(_draw(rng, _BOOSTING) for _ in range(PER_FAMILY - 1))]


def _draw(rng: np.random.Generator, values: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {name: rng.choice(some).item() for name, some in values.items()}
