"""A pipeline that was fitted elsewhere: what it must be before it may answer for a contract."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.errors import SchemaError
from training.fitting.fitted_model import FittedModel
from training.schema.costs import Costs
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.schema.schema import Schema, frame, normalise_label

IMPORTED = "imported "
"""How the algorithm of an imported version begins."""


def take_imported(pipeline: Any, rows: Rows, schema: Schema, costs: Costs | None = None) -> tuple[FittedModel, Prediction]:
    """Return a pipeline as a model of the schema, and its answers to some labelled rows.

    Raises
    ------
    SchemaError
        It is no fitted estimator, knows other classes than the contract, raises, or answers with another shape, with what is not finite
        or with no probabilities.
    """
    try:
        why = _unfit(pipeline, schema) or (_other_classes(pipeline, rows, schema) if schema.is_classification else None)
        why = why or _wrong_answer(pipeline, rows, schema)
        if why is not None:
            raise SchemaError(f"the pipeline cannot answer rows of this schema: {why}")
        model = FittedModel.of(pipeline, schema, costs)
        answers = model.predict(rows.columns)
    except SchemaError:
        raise
    except (Exception, SystemExit) as error:
        raise SchemaError(f"the pipeline cannot answer rows of this schema: {type(error).__name__}: {error}") from error
    if fault := answers.fault(len(rows)):
        raise SchemaError(f"the pipeline cannot answer rows of this schema: it {fault}")
    return model, answers


def kind_of(pipeline: Any) -> str:
    """Return the class of an estimator, or of the last step of a pipeline."""
    last = pipeline.steps[-1][1] if hasattr(pipeline, "steps") else pipeline
    return type(last).__name__


def _unfit(pipeline: Any, schema: Schema) -> str | None:
    kind = f"the class {pipeline.__name__}" if isinstance(pipeline, type) else kind_of(pipeline)
    if isinstance(pipeline, type) or not callable(getattr(pipeline, "predict", None)):
        return f"it is {kind}, wanted a fitted estimator"
    task, wanted = ("classifier", "classes") if schema.is_classification else ("regressor", "numbers")
    if (own := _task_of(pipeline)) not in (None, task):
        return f"{kind} is no {task} (to scikit-learn: {own}); one is wanted that answers with {wanted}"
    if not schema.is_classification:
        return None
    if not hasattr(pipeline, "predict_proba"):
        return f"{kind} has no predict_proba; scikit-learn's CalibratedClassifierCV(...) around it has, fitted on labelled rows"
    if not hasattr(pipeline, "classes_"):
        return f"{kind} has no classes_; wanted a fitted classifier"
    return None


def _task_of(pipeline: Any) -> str | None:
    """Return what scikit-learn takes an estimator for, such as classifier or clusterer; None where it does not say."""
    from sklearn.utils import get_tags  # here, since the service reads this module and answers compiled models without scikit-learn

    try:
        kind = get_tags(pipeline).estimator_type
    except Exception:  # noqa: BLE001 - what is no estimator of scikit-learn says it in no way or another
        return None
    return None if kind is None else str(kind)


def _other_classes(pipeline: Any, rows: Rows, schema: Schema) -> str | None:
    own = [normalise_label(name) for name in pipeline.classes_]
    if schema.classes is not None and set(own) != set(schema.classes):
        return f"its classes are {', '.join(own)}; the contract's are {', '.join(schema.classes)}"
    if unknown := sorted(set(rows.labels.tolist()) - set(own)):
        return f"its classes are {', '.join(own)}; the rows have {', '.join(unknown)}"
    if schema.task == "binary" and len(own) != 2:
        return f"its classes are {', '.join(own)}; a binary task has two"
    if schema.positive is not None and schema.positive not in own:
        return f"its classes are {', '.join(own)}; the positive one of the contract is {schema.positive}"
    return None


def _wrong_answer(pipeline: Any, rows: Rows, schema: Schema) -> str | None:
    """Return why what it answers is no answer to these rows: another shape, or another one each time."""
    table, name = frame(rows.columns, schema), "predict_proba" if schema.is_classification else "predict"
    answer = np.asarray(getattr(pipeline, name)(table))
    wanted = (len(rows), len(pipeline.classes_)) if schema.is_classification else (len(rows),)
    if answer.shape != wanted:
        return f"{name} gives shape {answer.shape}, wanted {wanted}"
    again = np.asarray(getattr(pipeline, name)(frame(rows.columns, schema)))
    close = np.allclose(answer.astype(np.float64), again.astype(np.float64), rtol=1e-9, atol=1e-9, equal_nan=True)
    return None if close else f"{name} answers the same rows in another way each time it is asked"
