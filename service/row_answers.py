"""The JSON of an answer to rows: objects for a few of them, text put together column by column for many."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from service.answering import Answer
from service.encodings import warnings_of
from training.prediction import Prediction

FEW = 16
"""Rows up to which dictionaries are written sooner than text is put together."""


def json_answer_of(answer: Answer, request_id: str) -> bytes:
    """Give the JSON answer.

    Notes
    -----
    For many rows each column is written by orjson in one go, as a list of numbers or texts, split at its commas and put together
    again row by row: the same bytes for a third of the time, since no object is made for a row.
    """
    own_ids = answer.table.own_ids
    content: dict[str, Any] = {"model": answer.deployment.model, "version": answer.deployment.version}
    rest = {"request_id": request_id, "warnings": warnings_of(answer)}
    if len(answer.prediction) <= FEW or own_ids is not None:
        content["predictions"] = _with_own_ids(predictions_as_objects(answer.prefix, answer.prediction), own_ids)
        return orjson.dumps(content | rest)
    parts = (orjson.dumps(content)[:-1], b',"predictions":[', predictions_as_text(answer.prefix, answer.prediction), b"],")
    return b"".join((*parts, orjson.dumps(rest)[1:]))


def predictions_as_objects(prefix: str, prediction: Prediction) -> list[dict[str, Any]]:
    """Give one object a row."""
    labels = prediction.label.tolist()
    if prediction.probability is None:
        return [{"id": f"{prefix}-{row}", "value": value if math.isfinite(value) else None} for row, value in enumerate(labels)]
    classes = prediction.classes or ()
    return [
        {"id": f"{prefix}-{row}", "label": label, "probabilities": dict(zip(classes, numbers, strict=True))}
        for row, (label, numbers) in enumerate(zip(labels, prediction.probability.tolist(), strict=True))
    ]


def predictions_as_text(prefix: str, prediction: Prediction) -> bytes:
    """Give the same as JSON text, without the brackets around it.

    Examples
    --------
    >>> said = Prediction(np.array(["a"], object), np.array([[0.75, 0.25]]), ("a", "b"))
    >>> predictions_as_text("p", said)
    b'{"id":"p-0","label":"a","probabilities":{"a":0.75,"b":0.25}}'
    """
    n_rows = len(prediction)
    pieces: list[Iterable[bytes]] = [repeat(b',{"id":"%b-' % prefix.encode()), _numbers(np.arange(n_rows))]
    if prediction.probability is None:
        pieces += [repeat(b'","value":'), _numbers(prediction.label.astype(np.float64))]
    else:
        classes = prediction.classes or ()
        names = {name: orjson.dumps(name) for name in classes}
        labels = prediction.label.tolist()
        written = names if names.keys() >= set(labels) else names | {name: orjson.dumps(name) for name in set(labels)}
        pieces += [repeat(b'","label":'), map(written.__getitem__, labels)]
        opening = b',"probabilities":{'
        for column, name in enumerate(classes):
            pieces += [repeat(opening + names[name] + b":"), _numbers(prediction.probability[:, column])]
            opening = b","
        pieces.append(repeat(b"}"))
    pieces.append(repeat(b"}"))
    rows = zip(*pieces, strict=False)  # as long as the columns: what repeats has no end
    return b"".join(chain.from_iterable(rows))[1:]


def _numbers(values: npt.NDArray[Any]) -> list[bytes]:
    """Write each number as JSON; what is no number becomes null."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def _with_own_ids(predictions: list[dict[str, Any]], own_ids: list[str | None] | None) -> list[dict[str, Any]]:
    for prediction, own_id in zip(predictions, own_ids or (), strict=bool(own_ids)):
        if own_id is not None:
            prediction["own_id"] = own_id
    return predictions
