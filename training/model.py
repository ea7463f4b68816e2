"""A fitted model: columns in, prediction out. What is pickled is a plain dict that any scikit-learn user can load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import SchemaError
from training.prediction import Prediction
from training.rows import Columns
from training.schema import Schema, frame, normalise_label


@dataclass(frozen=True)
class FittedModel:
    """A fitted pipeline with the schema of its requests.

    Parameters
    ----------
    pipeline
        Anything with scikit-learn's ``predict`` (and ``predict_proba`` for classes) on :func:`training.schema.frame`.
    classes
        The classes in the order of the answers (of a binary model the positive one is last); None for regression.

    Notes
    -----
    The labels of the pipeline may be of any type; they are matched by :func:`training.schema.normalise_label`.
    """

    pipeline: Any
    schema: Schema
    classes: tuple[str, ...] | None = None

    def predict(self, columns: Columns) -> Prediction:
        """Predict n rows given as columns; the values must already fit the schema."""
        table = frame(columns, self.schema)
        if self.classes is None:
            return Prediction(np.asarray(self.pipeline.predict(table), dtype=np.float64))
        raw = np.asarray(self.pipeline.predict_proba(table), dtype=np.float64)
        probability = raw[:, self._places()]
        codes = probability.argmax(axis=1)
        return Prediction(_names(self.classes)[codes], probability, self.classes, codes)

    def _places(self) -> list[int]:
        own = [normalise_label(c) for c in self.pipeline.classes_]
        return [own.index(c) for c in self.classes or ()]

    def payload(self) -> dict[str, Any]:
        """Return what goes into ``model.joblib``: ``{"pipeline", "classes"}``."""
        return {"pipeline": self.pipeline, "classes": None if self.classes is None else list(self.classes)}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], schema: Schema) -> FittedModel:
        """Join a loaded payload to its schema; raises SchemaError when it is something else."""
        if not isinstance(payload, Mapping) or not {"pipeline", "classes"} <= payload.keys():
            raise SchemaError("the payload of a model is a mapping with 'pipeline' and 'classes'")
        classes = payload["classes"]
        return cls(payload["pipeline"], schema, None if classes is None else tuple(classes))

    @classmethod
    def of(cls, pipeline: Any, schema: Schema) -> FittedModel:
        """Wrap a fitted pipeline; the classes and their order come from it and the schema."""
        if not schema.is_classification:
            return cls(pipeline, schema, None)
        own = tuple(normalise_label(c) for c in pipeline.classes_)
        return cls(pipeline, schema, tuple(c for c in schema.order_classes(own) if c in own))


def _names(classes: tuple[str, ...]) -> npt.NDArray[Any]:
    names = np.empty(len(classes), dtype=object)
    names[:] = classes
    return names
