"""A fitted model as a fast predictor on plain numpy columns: what is stored and served; `training.compiling` makes it.

Neither this module nor what it imports needs scikit-learn, which takes a second and a hundred megabytes to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from training.compiled_linear import ConstantEngine, LinearEngine
from training.compiled_preparation import Floats
from training.compiled_trees import TreeEngine
from training.parity import ParityReport
from training.prediction import Prediction
from training.remapping import remap
from training.rows import Columns

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
        """Say it in a sentence, for the card."""
        return f"served by the plain scikit-learn pipeline: {self.reason}"


@dataclass(frozen=True)
class CompiledModel:
    """A predictor on numpy columns; a drop-in for :meth:`training.model.FittedModel.predict`.

    Parameters
    ----------
    classes
        The classes in the order of the answers; None for regression.
    order
        The engine's column of each class; None when it has them in that order already.
    calibration
        Slope and intercept of the map of probabilities; None without.
    parity
        The proof that it says what scikit-learn says.
    """

    engine: Engine
    classes: tuple[str, ...] | None
    order: tuple[int, ...] | None = None
    calibration: tuple[float, float] | None = None
    parity: ParityReport | None = None

    def predict(self, columns: Columns) -> Prediction:
        """Predict n rows given as columns; the values must already fit the schema."""
        said = self.engine.answer(columns, len(next(iter(columns.values()))))
        if self.classes is None:
            return Prediction(said)
        if self.calibration is not None:
            said = remap(said, *self.calibration)
        if self.order is not None:
            said = said[:, self.order]
        codes = said.argmax(axis=1)
        return Prediction(self._labels[codes], said, self.classes, codes)

    @cached_property
    def _labels(self) -> npt.NDArray[Any]:
        names = np.empty(len(self.classes or ()), dtype=object)
        names[:] = self.classes
        return names

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
        """Say it in a sentence, for the card."""
        return f"compiled ({self.engine_name}); {self.parity.sentence if self.parity else 'not proven'}"

    def payload(self) -> dict[str, Any]:
        """Return what is pickled; its large arrays can be memory-mapped."""
        return {"compiled": replace(self)}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> CompiledModel:
        """Take what was unpickled, memory-mapped or not; only large arrays stay mapped, for small ones are faster in memory."""
        model: CompiledModel = payload["compiled"]
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
