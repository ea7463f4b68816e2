"""Make the fast predictor of a fitted model, and prove it equal to scikit-learn before it is used."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from training.compiled.compiled_model import CompiledModel, Engine, NotCompiled
from training.compiled.cost import Cost, measure_cost
from training.compiled.parity import ParityReport, prove_parts
from training.compiled.preparation import Floats, Preparation
from training.compiled.trees import CROSSOVER, TreeEngine
from training.compiling.edge_rows import edge_rows
from training.compiling.read_linear import LINEAR, compile_constant, compile_linear
from training.compiling.read_preparation import UnknownStepError, read_preparation
from training.compiling.read_trees import BOOSTING, FORESTS, compile_boosting, compile_forest
from training.fitting.calibration import CalibratedPipeline
from training.fitting.fitted_model import FittedModel
from training.fitting.own_estimator import OwnEstimator
from training.schema.rows import Columns, Rows, count_rows
from training.schema.schema import normalise_label

_SIZES = (8, 16, 32, 64, 128, 256, 512)
Extremes = tuple[Preparation, dict[int, Floats]]


@dataclass(frozen=True, slots=True)
class Serving:
    """How a version answers, and what that costs."""

    how: CompiledModel | NotCompiled
    cost: Cost

    @property
    def compiled(self) -> CompiledModel | None:
        """The fast predictor; None where the plain pipeline serves."""
        return self.how if isinstance(self.how, CompiledModel) else None

    @property
    def sentence(self) -> str:
        """One sentence, for the card."""
        return f"{self.how.sentence}; {self.cost.sentence}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object for metadata."""
        return {**self.how.to_dict(), "cost": self.cost.to_dict()}


def prepare_serving(model: FittedModel, rows: Rows, *, seed: int = 0) -> Serving:
    """Compile a fitted model if that can be done, and time whatever will answer, on `rows` (the hold-out)."""
    how = compile_model(model, rows, seed=seed)
    return Serving(how, measure_cost((how if isinstance(how, CompiledModel) else model).predict, rows.columns))


def compile_model(model: FittedModel, rows: Rows | None = None, *, seed: int = 0) -> CompiledModel | NotCompiled:
    """Compile a fitted model and prove the result on `rows` (the hold-out) and on edge rows.

    Parameters
    ----------
    rows
        Rows to prove it on and to time it with; without any, edge rows alone are taken and nothing is timed.

    Returns
    -------
    The compiled model; the reason why there is none, when a step is not known or the answers are not the same.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from training.fitting.preprocessing import build_pipeline
    >>> from training.schema.feature import Feature
    >>> from training.schema.schema import Schema, frame
    >>> schema = Schema((Feature("x", "numeric"),), "y", "regression")
    >>> x = {"x": np.arange(50.0)}
    >>> pipeline = build_pipeline(schema, RandomForestRegressor(5, random_state=0), scale=False, encode="ordinal")
    >>> model = FittedModel.of(pipeline.fit(frame(x, schema), x["x"]), schema)
    >>> compile_model(model).engine_name
    'trees'
    """
    with _quiet():
        try:
            compiled, extremes = read_pipeline(model)
        except UnknownStepError as error:
            return NotCompiled(str(error))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            return NotCompiled(f"the pipeline could not be read: {type(error).__name__}: {error}")
        report = prove(compiled, model, rows, extremes, seed)
        if report.reason is not None:
            return NotCompiled(report.reason, report)
        if rows is not None and len(rows) and isinstance(compiled.engine, TreeEngine):
            compiled = replace(compiled, engine=time_crossover(compiled.engine, rows.columns))
        return replace(compiled, parity=report)


def prove(compiled: CompiledModel, model: FittedModel, rows: Rows | None, extremes: Extremes, seed: int = 0) -> ParityReport:
    """Compare a compiled model with scikit-learn's on `rows` and on edge rows, in calls of several sizes.

    Edge rows come from the schema and from the fitted pipeline (`extremes`, by `read_pipeline`): missing and unknown values,
    bounds and fences, the neighbours of tree thresholds in float32 and float64, huge values.
    """
    parts = [] if rows is None or not len(rows) else [("hold-out", rows.columns)]
    crossover = getattr(compiled.engine, "crossover", CROSSOVER)
    with _quiet():
        parts += edge_rows(model.schema, *extremes, None if rows is None else rows.columns, seed)
        return prove_parts(compiled.predict, model.predict, parts, block=crossover)


@contextmanager
def _quiet() -> Iterator[None]:
    """One thread, and no warnings of overflows and unknown categories, which edge rows are made of."""
    with threadpool_limits(1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def time_crossover(engine: TreeEngine, columns: Columns, clock: Callable[[], float] = time.thread_time) -> TreeEngine:
    """Return the engine with the number of rows up to which walking all trees in one call was measured to be faster."""
    present = count_rows(columns)
    best = 1
    for size in _SIZES:
        batch = {name: np.resize(values, size) if present < size else values[-size:] for name, values in columns.items()}
        once, often = (_seconds(replace(engine, crossover=c), batch, size, clock) for c in (size, 0))
        if once > often:
            break
        best = size
    return replace(engine, crossover=best)


def _seconds(engine: TreeEngine, columns: Columns, count: int, clock: Callable[[], float]) -> float:
    taken = []
    for _ in range(4):
        began = clock()
        engine.answer(columns, count)
        taken.append(clock() - began)
    return min(taken)


def read_pipeline(model: FittedModel) -> tuple[CompiledModel, Extremes]:
    """Read a fitted pipeline into a compiled model, not proven yet, with the values near which its answers change.

    Raises
    ------
    UnknownStepError
        It has a step or an estimator that is not known.
    """
    pipeline, calibration = model.pipeline, None
    if type(pipeline) is CalibratedPipeline:
        calibration = pipeline.map
        pipeline = pipeline.pipeline
    named: Any = pipeline
    if type(pipeline) is OwnEstimator:
        pipeline = pipeline.estimator
    if type(pipeline) is not Pipeline or len(pipeline.steps) != 2:
        raise UnknownStepError(f"a {type(pipeline).__name__} is not known; a Pipeline of preparation and estimator is")
    preparation = read_preparation(pipeline.steps[0][1], model.schema)
    engine, thresholds = _engine(pipeline.steps[1][1], preparation)
    extremes = (preparation, thresholds)
    if model.classes is None:
        return CompiledModel(engine, None), extremes
    own = [normalise_label(c) for c in named.classes_]
    order = tuple(own.index(c) for c in model.classes)
    in_order = order == tuple(range(len(own)))
    places = None if in_order else order
    return CompiledModel(engine, model.classes, places, calibration, costs=model.costs, threshold=model.threshold), extremes


def _engine(estimator: Any, preparation: Preparation) -> tuple[Engine, dict[int, Floats]]:
    kind = type(estimator)
    if kind in LINEAR:
        return compile_linear(estimator, preparation), {}
    if kind in FORESTS:
        return compile_forest(estimator, preparation)
    if kind in BOOSTING:
        return compile_boosting(estimator, preparation)
    if kind in (DummyClassifier, DummyRegressor):
        return compile_constant(estimator), {}
    raise UnknownStepError(f"the estimator {kind.__name__} is not known")
