"""A fitted model: columns in, prediction out. What is pickled is a plain dict that any scikit-learn user can load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import SchemaError
from training.schema.costs import Costs, Table, decide
from training.schema.prediction import Prediction
from training.schema.rows import Columns, object_column
from training.schema.schema import Schema, frame, normalise_label


@dataclass(frozen=True)
class FittedModel:
    """A fitted pipeline with the schema of its requests.

    Attributes
    ----------
    pipeline
        Anything with scikit-learn's ``predict`` (and ``predict_proba`` for classes) on `training.schema.schema.frame`.
    classes
        The classes in the order of the answers (of a binary model the positive one is last); None for regression.
    costs
        What it costs to decide one of them (column) where another is true (row); None where the most probable is decided.
    threshold
        Of two classes the last is decided where its probability reaches it; None where the most probable is.

    Notes
    -----
    The labels of the pipeline may be of any type; they are matched by `training.schema.schema.normalise_label`.
    """

    pipeline: Any
    schema: Schema
    classes: tuple[str, ...] | None = None
    costs: Table | None = None
    threshold: float | None = None

    def predict(self, columns: Columns) -> Prediction:
        """Predict n rows given as columns; the values must already fit the schema."""
        table = frame(columns, self.schema)
        if self.classes is None:
            return Prediction(np.asarray(self.pipeline.predict(table), dtype=np.float64))
        raw = np.asarray(self.pipeline.predict_proba(table), dtype=np.float64)
        probability = raw[:, self._places()]
        codes = decide(probability, self.costs, self.threshold)
        return Prediction(_names(self.classes)[codes], probability, self.classes, codes)

    def _places(self) -> list[int]:
        own = [normalise_label(c) for c in self.pipeline.classes_]
        return [own.index(c) for c in self.classes or ()]

    def to_pickle(self) -> dict[str, Any]:
        """Return what goes into ``model.joblib``: ``{"pipeline", "classes"}``, and ``"costs"`` and ``"threshold"`` where there are any."""
        deciding: dict[str, Any] = {} if self.costs is None else {"costs": [list(row) for row in self.costs]}
        deciding |= {} if self.threshold is None else {"threshold": self.threshold}
        return {"pipeline": self.pipeline, "classes": None if self.classes is None else list(self.classes), **deciding}

    @classmethod
    def from_pickle(cls, pickled: Mapping[str, Any], schema: Schema) -> FittedModel:
        """Join what was unpickled to its schema; raises SchemaError when it is something else."""
        if not isinstance(pickled, Mapping) or not {"pipeline", "classes"} <= pickled.keys():
            raise SchemaError("a pickled model is a mapping with 'pipeline' and 'classes'")
        classes = pickled["classes"]
        costs = pickled.get("costs")
        table = None if costs is None else tuple(map(tuple, costs))
        return cls(pickled["pipeline"], schema, None if classes is None else tuple(classes), table, pickled.get("threshold"))

    @classmethod
    def of(cls, pipeline: Any, schema: Schema, costs: Costs | None = None) -> FittedModel:
        """Wrap a fitted pipeline; the classes and their order come from it and the schema."""
        if not schema.is_classification:
            return cls(pipeline, schema, None)
        own = tuple(normalise_label(c) for c in pipeline.classes_)
        classes = tuple(c for c in schema.order_classes(own) if c in own)
        return cls(pipeline, schema, classes, None if costs is None else costs.ordered(classes))


def _names(classes: tuple[str, ...]) -> npt.NDArray[Any]:
    return object_column(classes)
