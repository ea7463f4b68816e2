"""The record of one answered request: what the spool keeps and the prediction log stores.

Few rows are kept as JSON text, more as packed arrays (`service.prediction_log.packing`); the first byte says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from service.prediction_log.packing import MAGIC, pack, unpack
from training.schema.prediction import Prediction
from training.schema.rows import Columns

FEW = 24  # rows up to which text is made sooner than packed arrays
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY

Values = list[Any] | npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request, columnar.

    ``features`` maps each feature of the version's schema, in order, to its values; ``outputs`` are class
    labels or numbers; ``probabilities`` is ``(n_rows, n_classes)`` or None. Times are microseconds since 1970. Request and
    trace id, and the name of the key it came with, are None in records that were made without.

    The values of rows are lists all, with None for a missing one, in a record that was text; arrays all, with NaN for a
    missing number, in one that was packed.
    """

    prefix: str
    model: str
    version: str
    bins_id: str
    arrived_us: int
    event_us: Sequence[int] | npt.NDArray[np.int64]
    own_ids: Sequence[str | None] | None
    features: Mapping[str, Values]
    outputs: Values
    probabilities: Sequence[Sequence[float]] | npt.NDArray[np.float64] | None
    classes: Sequence[str] | None
    request_id: str | None = None
    trace_id: str | None = None
    key: str | None = None

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def is_packed(self) -> bool:
        """Return whether the values of rows are arrays, not lists."""
        return type(self.outputs) is np.ndarray


class AnsweredRequest(NamedTuple):
    """What is known of a request whose rows were answered, before it has an id.

    Attributes
    ----------
    arrived_us
        Machine time, microseconds since 1970.
    event_us
        Model time of each row, shape (n_rows,), microseconds since 1970; None where it is the time of arrival.
    own_ids
        The caller's names of the rows, where they have any.
    columns
        The features in the order of the version's schema, shape (n_rows,) each.
    request_id, trace_id, key
        Empty where there is none; an empty one takes no room in the record. `key` is the name of the key it came with.
    """

    model: str
    version: str
    bins_id: str
    arrived_us: int
    event_us: npt.NDArray[np.int64] | None
    own_ids: Sequence[str | None] | None
    columns: Columns
    prediction: Prediction
    request_id: str = ""
    trace_id: str = ""
    key: str = ""


def encode_body(request: AnsweredRequest) -> bytes:
    """Encode all of a record but its id, which is only known under the spool's lock (see `with_prefix`)."""
    prediction = request.prediction
    n_rows = len(prediction)
    content: dict[str, Any] = {
        "m": request.model,
        "v": request.version,
        "b": request.bins_id,
        "t": request.arrived_us,
        "e": request.event_us,
        "own": request.own_ids,
        "x": None,
        "y": prediction.label,
        "p": prediction.probability,
        "c": prediction.classes,
    }
    if request.request_id:
        content["r"] = request.request_id
    if request.trace_id:
        content["w"] = request.trace_id
    if request.key:
        content["k"] = request.key
    if n_rows > FEW:
        if request.event_us is None:
            content["e"] = np.full(n_rows, request.arrived_us, dtype=np.int64)
        return pack(content, request.columns, prediction.codes)
    if request.event_us is None:
        content["e"] = [request.arrived_us] * n_rows
    content["x"] = {name: values.tolist() for name, values in request.columns.items()}
    content["y"] = prediction.label.tolist()
    content["p"] = None if prediction.probability is None else np.ascontiguousarray(prediction.probability)
    return orjson.dumps(content, option=_OPTIONS)


def with_prefix(prefix: str, body: bytes) -> tuple[bytes, bytes]:
    """Put the id into an encoded body: return what stands before it and what of it follows, so that megabytes are not copied.

    Examples
    --------
    >>> with_prefix("0a", b'{"m":"bikes"}')
    (b'{"id":"0a",', b'"m":"bikes"}')
    """
    if body.startswith(MAGIC):
        return MAGIC + len(prefix).to_bytes(1) + prefix.encode("ascii"), body
    return b'{"id":"' + prefix.encode("ascii") + b'",', body[1:]


def decode(payload: bytes) -> Record:
    """Read a record back.

    Raises
    ------
    ValueError, KeyError, TypeError
        The bytes are not those of a whole record.
    """
    content = _unpacked(payload) if payload.startswith(MAGIC) else orjson.loads(payload)
    return Record(
        prefix=content["id"],
        model=content["m"],
        version=content["v"],
        bins_id=content["b"],
        arrived_us=content["t"],
        event_us=content["e"],
        own_ids=content["own"],
        features=content["x"],
        outputs=content["y"],
        probabilities=content["p"],
        classes=content["c"],
        request_id=content.get("r"),
        trace_id=content.get("w"),
        key=content.get("k"),
    )


def _unpacked(payload: bytes) -> dict[str, Any]:
    start = len(MAGIC) + 1
    stop = start + int.from_bytes(payload[start - 1 : start])
    return {"id": payload[start:stop].decode("ascii"), **unpack(payload, stop)}
