"""A fitted model as a fast predictor on plain numpy columns: what is stored and served; `training.compiling.compiling` makes it.

Neither this module nor what it imports needs scikit-learn, which takes a second and a hundred megabytes to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from training.compiled.calibration_map import Map, composed, mapped_values, refuse_intercept, remap
from training.compiled.linear import ConstantEngine, LinearEngine
from training.compiled.parity import ParityReport
from training.compiled.preparation import Floats
from training.compiled.trees import TreeEngine
from training.schema.costs import Table, decide
from training.schema.prediction import Prediction
from training.schema.rows import Columns, count_rows, object_column

_MAP_ABOVE = 1 << 16


class Engine(Protocol):
    """An estimator together with the preparation of its rows."""

    def answer(self, columns: Columns, count: int) -> Floats:
        """Return probabilities in the estimator's order of classes, shape (n, k), or values, shape (n,)."""


@dataclass(frozen=True)
class NotCompiled:
    """Why a model is served by its plain pipeline."""

    reason: str
    parity: ParityReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object for metadata."""
        return {"engine": "plain", "reason": self.reason, "parity": None if self.parity is None else self.parity.to_dict()}

    @property
    def sentence(self) -> str:
        """One sentence, for the card."""
        return f"served by the plain scikit-learn pipeline: {self.reason}"


@dataclass(frozen=True)
class CompiledModel:
    """A predictor on numpy columns; a drop-in for `training.fitting.fitted_model.FittedModel.predict`.

    Attributes
    ----------
    classes
        The classes in the order of the answers; None for regression.
    order
        The engine's column of each class; None when it has them in that order already.
    calibration
        Slope and intercept (of several classes perhaps one each) of the map of probabilities, or of values; None without.
    parity
        The proof that it says what scikit-learn says.
    costs
        What it costs to decide a class (column) where another is true (row); None where the most probable is decided.
    threshold
        Of two classes the last is decided where its probability reaches it; None where the most probable is.
    """

    engine: Engine
    classes: tuple[str, ...] | None
    order: tuple[int, ...] | None = None
    calibration: Map | None = None
    parity: ParityReport | None = None
    costs: Table | None = None
    threshold: float | None = None

    def predict(self, columns: Columns) -> Prediction:
        """Predict n rows given as columns; the values must already fit the schema."""
        answer = self.engine.answer(columns, count_rows(columns))
        if self.classes is None:
            return Prediction(answer if self.calibration is None else mapped_values(answer, *self.calibration))
        if self.calibration is not None:
            answer = remap(answer, *self.calibration)
        if self.order is not None:
            answer = answer[:, self.order]
        codes = decide(answer, self.costs, self.threshold)
        return Prediction(self._labels[codes], answer, self.classes, codes)

    def mapped(self, slope: float, intercept: float) -> CompiledModel:
        """Return a model with its answers mapped further: values, or probabilities, of which the intercept moves the last of two classes.

        What it does itself and this are one map then, so that it is as fast as without.

        Raises
        ------
        ValueError
            There is an intercept, and there are more than two classes.
        """
        if self.classes is not None:
            refuse_intercept(intercept, len(self.classes))
        more = slope, -intercept if self.order == (1, 0) else intercept
        return replace(self, calibration=more if self.calibration is None else composed(self.calibration, more))

    @cached_property
    def _labels(self) -> npt.NDArray[Any]:
        return object_column(self.classes or ())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object for metadata."""
        return {
            "engine": self.engine_name,
            "crossover": getattr(self.engine, "crossover", None),
            "parity": None if self.parity is None else self.parity.to_dict(),
        }

    @property
    def engine_name(self) -> str:
        """``linear``, ``constant`` or ``trees``."""
        return {LinearEngine: "linear", ConstantEngine: "constant", TreeEngine: "trees"}[type(self.engine)]

    @property
    def sentence(self) -> str:
        """One sentence, for the card."""
        return f"compiled ({self.engine_name}); {self.parity.sentence if self.parity else 'not proven'}"

    def to_pickle(self) -> dict[str, Any]:
        """Return what is pickled; its large arrays can be memory-mapped."""
        return {"compiled": replace(self)}

    @classmethod
    def from_pickle(cls, pickled: Mapping[str, Any]) -> CompiledModel:
        """Take what was unpickled, memory-mapped or not; only large arrays stay mapped, for small ones are faster in memory."""
        model: CompiledModel = pickled["compiled"]
        return replace(model, engine=_unmapped(model.engine))


def _unmapped(value: Any) -> Any:
    """Return the same value without ``np.memmap``: its arithmetic is slow, a plain view of the same memory is not."""
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray) if value.nbytes > _MAP_ABOVE else np.array(value)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_unmapped(v) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _unmapped(getattr(value, f.name)) for f in fields(value)})
    return value
