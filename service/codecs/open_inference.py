"""Requests and answers of the Open Inference Protocol: JSON, or JSON followed by raw tensors.

Which of the two, the header ``Inference-Header-Content-Length`` alone decides: clients send any content type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from service.codecs.json_bodies import MAX_DEPTH, parse_json
from service.codecs.tables import SentTable, typed_text
from service.codecs.tensors import Tensor, check_shape, from_bytes, from_json, to_bytes
from service.columns.feature_columns import as_booleans
from service.columns.values import OWN_ID, Values, shown, uncoded
from service.errors import UnreadableBodyError
from training.schema.prediction import Prediction
from training.schema.schema import Schema

LENGTH_HEADER = "Inference-Header-Content-Length"
PREDICT, PROBABILITY, IDS, ALIAS = "predict", "predict_proba", "prediction_id", "output-0"
_DATATYPES = {"numeric": "FP64", "integer": "INT64", "boolean": "BOOL", "categorical": "BYTES", "datetime": "BYTES"}


@dataclass(frozen=True, slots=True)
class InferRequest:
    """The columns of a request, and which outputs it wants: name to whether raw."""

    id: str | None
    table: SentTable
    outputs: dict[str, bool]


def datatypes_of(schema: Schema) -> dict[str, str]:
    """Return the datatype of each input by name; a whole number that may be missing is FP64, where NaN stands for it.

    Examples
    --------
    >>> from training.schema.feature import Feature
    >>> datatypes_of(Schema((Feature("n", "integer"), Feature("m", "integer", nullable=True)), target="y", task="regression"))
    {'n': 'INT64', 'm': 'FP64'}
    """
    kinds = {feature.name: "numeric" if feature.kind == "integer" and feature.nullable else feature.kind for feature in schema.features}
    time = schema.event_time
    if time is not None:
        kinds.setdefault(time.column, "datetime" if time.kind == "timestamp" else "numeric")
    return {name: _DATATYPES[kind] for name, kind in kinds.items()}


def tensors_of(schema: Schema, classes: Sequence[str] | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Describe inputs and outputs for the metadata of a model: a tensor a column.

    Examples
    --------
    >>> from training.schema.feature import Feature
    >>> tensors_of(Schema((Feature("x", "numeric"),), target="y", task="regression"), None)
    ([{'name': 'x', 'datatype': 'FP64', 'shape': [-1]}], [{'name': 'predict', 'datatype': 'FP64', 'shape': [-1]}])
    """
    inputs = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in datatypes_of(schema).items()]
    if classes is None:
        return inputs, [{"name": PREDICT, "datatype": "FP64", "shape": [-1]}]
    labels = {"name": PREDICT, "datatype": "BYTES", "shape": [-1]}
    return inputs, [labels, {"name": PROBABILITY, "datatype": "FP64", "shape": [-1, len(classes)]}]


def read_request(body: bytes, header: str | None, schema: Schema, max_rows: int, max_depth: int = MAX_DEPTH) -> InferRequest:
    """Read a request.

    Parameters
    ----------
    header
        How many bytes of the (decompressed) body are JSON; None when all are; 0 when the body is one raw tensor.

    Raises
    ------
    UnreadableBodyError
        The envelope, a name, a shape or a length is wrong.
    InvalidRowsError
        Some elements are not of their datatype.
    """
    if header is not None and header.strip() == "0":
        return InferRequest(None, _raw_table(body, schema, max_rows), _defaults(schema, is_binary=True))
    envelope, raw = _split(body, header)
    content = parse_json(envelope, max_depth)
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list) or not content["inputs"]:
        raise UnreadableBodyError('the body must be a JSON object with a list "inputs" of at least one tensor')
    sent_id = content.get("id")
    if sent_id is not None and not isinstance(sent_id, str):
        raise UnreadableBodyError(f'"id" must be text, got {shown(sent_id)}')
    table = _table(_tensors(content["inputs"], raw, schema, max_rows), schema, max_rows)
    return InferRequest(sent_id, table, _wanted(content, schema))


def write_answer(prediction: Prediction, wanted: Mapping[str, bool], head: Mapping[str, Any], prefix: str) -> tuple[bytes, int | None]:
    """Write an answer; give its bytes, and how many of them are JSON when raw tensors follow.

    Parameters
    ----------
    head
        What stands before the outputs: names, version, id, parameters.
    prefix
        Of the prediction ids: row i has ``<prefix>-<i>``.
    """
    outputs: list[dict[str, Any]] = []
    raws: list[bytes] = []
    for name, is_binary in wanted.items():
        values = _output(prediction, name, prefix)
        output: dict[str, Any] = {"name": name, "datatype": "BYTES" if values.dtype == object else "FP64", "shape": list(values.shape)}
        parameters: dict[str, Any] = {}
        if is_binary:
            raws.append(to_bytes(values))
            parameters["binary_data_size"] = len(raws[-1])
        else:
            output["data"] = values.ravel().tolist() if values.dtype == object else np.ascontiguousarray(values.ravel())
        outputs.append({**output, "parameters": parameters} if parameters else output)
    written = orjson.dumps({**head, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return written + b"".join(raws), len(written) if raws else None


def _split(body: bytes, header: str | None) -> tuple[bytes, memoryview]:
    if header is None:
        return body, memoryview(b"")
    text = header.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > len(body):
        raise UnreadableBodyError(f"{LENGTH_HEADER} is {text[:40]!r}, but the body has {len(body)} bytes")
    return body[: int(text)], memoryview(body)[int(text) :]


def _raw_table(body: bytes, schema: Schema, max_rows: int) -> SentTable:
    """Read a body that is nothing but FP64, row-major, in the order of the metadata's inputs."""
    names = schema.request_names
    if schema.categorical_names:
        raise UnreadableBodyError("a raw body is read only for models without categories; send a tensor a column")
    n_rows, rest = divmod(len(body), 8 * len(names))
    if rest or n_rows == 0:
        raise UnreadableBodyError(f"a raw body is FP64 of shape [rows, {len(names)}]; {len(body)} bytes are no such thing")
    tensor = from_bytes("raw", "FP64", [n_rows, len(names)], memoryview(body))
    return _table([tensor], schema, max_rows)


def _tensors(inputs: list[Any], raw: memoryview, schema: Schema, max_rows: int) -> list[Tensor]:
    names = schema.request_names
    tensors: list[Tensor] = []
    place = 0
    for entry in inputs:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise UnreadableBodyError(f"each of the inputs must be an object with a name, got {shown(entry)}")
        name: str = entry["name"]
        datatype: Any = entry.get("datatype")
        shape: Any = entry.get("shape")
        check_shape(name, datatype, shape, most=max_rows * (len(names) + 1))
        columns = names[: shape[1]] if _is_matrix(name, shape, schema) else [name]
        size = _parameters(entry).get("binary_data_size")
        if size is None:
            tensors.append(from_json(name, datatype, shape, entry.get("data"), columns))
            continue
        if type(size) is not int or not 0 <= size <= len(raw) - place or "data" in entry:
            raise UnreadableBodyError(f"input {name[:100]!r} has no binary_data_size that fits: {shown(size)}; {len(raw) - place} are left")
        tensors.append(from_bytes(name, datatype, shape, raw[place : place + size], columns))
        place += size
    if place != len(raw):
        raise UnreadableBodyError(f"{len(raw) - place} bytes after the JSON belong to no input")
    return tensors


def _table(tensors: list[Tensor], schema: Schema, max_rows: int) -> SentTable:
    columns: dict[str, Values] = {}
    for tensor in tensors:
        for name, values in _columns(tensor, schema):
            if name in columns:
                raise UnreadableBodyError(f"two inputs give the column {name[:100]!r}")
            columns[name] = values
    counts = {tensor.shape[0] for tensor in tensors}
    if len(counts) != 1:
        shapes = ", ".join(f"{tensor.name[:100]!r} {list(tensor.shape)}" for tensor in tensors[:20])
        raise UnreadableBodyError(f"all inputs must have the same first dimension: {shapes}")
    n_rows = counts.pop()
    if not 0 < n_rows <= max_rows:
        raise UnreadableBodyError(f"{n_rows} rows in one request; from 1 to {max_rows} are read")
    return SentTable(columns, n_rows)


def _columns(tensor: Tensor, schema: Schema) -> list[tuple[str, Values]]:
    """Return the columns in a tensor: one, or as many as there are features, in their order."""
    if not _is_matrix(tensor.name, tensor.shape, schema):
        if len(tensor.shape) == 2 and tensor.shape[1] != 1:
            width = len(schema.request_names)
            raise UnreadableBodyError(
                f"input {tensor.name[:100]!r} has shape {list(tensor.shape)}; want [rows] or [rows, 1] for one column, "
                f"or [rows, {width}]: {', '.join(schema.request_names)[:300]}"
            )
        return [(tensor.name, _as_booleans(tensor.values, tensor.name, schema))]
    n_rows, width = tensor.shape
    names = schema.request_names[:width]
    values = uncoded(tensor.values)
    if isinstance(values, list):
        is_text = tensor.datatype == "BYTES"
        parts = [(name, values[place::width]) for place, name in enumerate(names)]
        return [(name, typed_text(part, name, schema) if is_text else _as_booleans(part, name, schema)) for name, part in parts]
    matrix: npt.NDArray[Any] = values.reshape(n_rows, width)
    return [(name, _as_booleans(matrix[:, place], name, schema)) for place, name in enumerate(names)]


def _is_matrix(name: str, shape: Sequence[int], schema: Schema) -> bool:
    is_wide = len(shape) == 2 and shape[1] in (len(schema.features), len(schema.request_names))
    return is_wide and name not in schema.request_names and name != OWN_ID


def _as_booleans(values: Values, name: str, schema: Schema) -> Values:
    """Read booleans where they are wanted; only categories stay coded."""
    kind = schema.feature(name).kind if name in schema.by_name else None
    if kind == "categorical":
        return values
    return as_booleans(uncoded(values)) if kind == "boolean" else uncoded(values)


def _wanted(content: Mapping[str, Any], schema: Schema) -> dict[str, bool]:
    is_binary = _flag(_parameters(content), "binary_data_output", default=False)
    entries = content.get("outputs")
    if not entries and (entries is None or isinstance(entries, list)):
        return _defaults(schema, is_binary)
    known = [*_defaults(schema, is_binary), ALIAS, IDS]
    wanted: dict[str, bool] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        name = entry.get("name") if isinstance(entry, dict) else None
        if name not in known:
            raise UnreadableBodyError(f"there is no output {shown(name)}; known are {', '.join(known)}")
        wanted[name] = _flag(_parameters(entry), "binary_data", is_binary)
    return wanted


def _defaults(schema: Schema, is_binary: bool) -> dict[str, bool]:
    return {PREDICT: is_binary, PROBABILITY: is_binary} if schema.is_classification else {PREDICT: is_binary}


def _parameters(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise UnreadableBodyError(f'"parameters" must be an object, got {shown(parameters)}')
    return parameters or {}


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise UnreadableBodyError(f"{name!r} must be true or false, got {shown(value)}")
    return value


def _output(prediction: Prediction, name: str, prefix: str) -> npt.NDArray[Any]:
    if name == PROBABILITY and prediction.probability is not None:
        return prediction.probability
    if name != IDS:
        return prediction.label
    return np.array([f"{prefix}-{row}" for row in range(len(prediction))], dtype=object)
