"""What an imported pipeline was before it was fitted: refits clone it, with labels of the type it knows."""

from __future__ import annotations

import copy
from io import BytesIO
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from training.errors import CandidateError
from training.fitting.fitted_model import FittedModel
from training.fitting.own_estimator import on_one_thread
from training.policies import Original
from training.schema.schema import normalise_label


def original_of(model: FittedModel) -> Original:
    """Return what refits of an imported model clone.

    Raises
    ------
    CandidateError
        It can be neither cloned nor copied nor pickled.
    """
    pipeline = model.pipeline
    known = None if model.classes is None else np.asarray(pipeline.classes_)
    classes, dtype = (None, "<f8") if known is None else (tuple(known.tolist()), known.dtype.str)
    try:
        estimator = clone(pipeline) if hasattr(pipeline, "get_params") else copy.deepcopy(pipeline)
        content = BytesIO()
        joblib.dump({"estimator": estimator, "classes": classes, "dtype": dtype}, content)
    except Exception as error:
        raise CandidateError(f"it cannot be cloned: {type(error).__name__}: {error}") from error
    return Original(estimator, classes, dtype, content.getvalue())


def unfitted(original: Original) -> Any:
    """Return a fresh clone, on one thread."""
    estimator = original.estimator
    fresh = clone(estimator) if hasattr(estimator, "get_params") else copy.deepcopy(estimator)
    on_one_thread(fresh)
    return fresh


def labels_as_known(original: Original, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels in the type of the original's classes; numbers stay.

    Raises
    ------
    CandidateError
        A label is none of its classes.

    Examples
    --------
    >>> labels_as_known(Original(None, (False, True), "|b1", b""), np.array(["true", "false"], object))
    array([ True, False])
    """
    if original.classes is None:
        return np.asarray(labels, np.float64)
    known = {normalise_label(value): value for value in original.classes}
    if unknown := sorted(set(labels.tolist()) - known.keys()):
        raise CandidateError(f"the imported model does not know the label {unknown[0]!r}; its classes are {', '.join(known)}")
    return np.array([known[label] for label in labels.tolist()], dtype=np.dtype(original.dtype))
