"""The JSON of an answer to rows, objects for a few and text put together by columns for many; and the id and warnings beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from flask import Response

from service.predicting import Answer
from service.web.responses import FinishedResponse, json_response
from training.schema.prediction import Prediction

ID_HEADER = "X-Evergreen-Prediction-Id"
FEW = 16
"""Rows up to which dictionaries are written sooner than text is put together."""


def predictions_json(answer: Answer, request_id: str) -> bytes:
    """Return the body of an answer.

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


def predictions_response(answer: Answer) -> Response:
    """Return ``{"predictions": [...]}`` as KServe and MLflow have it: labels or values, and for classes their probabilities beside them."""
    prediction = answer.prediction
    content: dict[str, Any] = {"predictions": prediction.label.tolist()}
    if prediction.probability is not None:
        content |= {"probabilities": prediction.probability.tolist(), "classes": prediction.classes}
    content |= {"model_name": answer.deployment.model, "model_version": answer.deployment.version, "prediction_id": answer.prefix}
    return stamped(json_response(content), answer)


def predictions_as_objects(prefix: str, prediction: Prediction) -> list[dict[str, Any]]:
    """Return one object a row."""
    labels = prediction.label.tolist()
    if prediction.probability is None:
        return [{"id": f"{prefix}-{row}", "value": value if math.isfinite(value) else None} for row, value in enumerate(labels)]
    classes = prediction.classes or ()
    return [
        {"id": f"{prefix}-{row}", "label": label, "probabilities": dict(zip(classes, numbers, strict=True))}
        for row, (label, numbers) in enumerate(zip(labels, prediction.probability.tolist(), strict=True))
    ]


def predictions_as_text(prefix: str, prediction: Prediction) -> bytes:
    """Return the same as JSON text, without the brackets around it.

    Examples
    --------
    >>> prediction = Prediction(np.array(["a"], object), np.array([[0.75, 0.25]]), ("a", "b"))
    >>> predictions_as_text("p", prediction)
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


def stamped(response: Response, answer: Answer) -> Response:
    """Return a response with the prefix of its rows' ids in a header, for protocols that have no room for it."""
    if isinstance(response, FinishedResponse):
        response.add_headers([(ID_HEADER, answer.prefix)])
    else:
        response.headers[ID_HEADER] = answer.prefix
    return response


def warnings_of(answer: Answer) -> list[str]:
    """Return which columns the schema does not know and what may have been meant."""
    return [
        f"column {name[:100]!r} is not known and was ignored in {rows} rows{answer.deployment.reader.hint(name)}"
        for name, rows in list(answer.table.ignored.items())[:20]
    ]
