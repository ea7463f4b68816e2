"""The record of one answered request: what the spool keeps and the prediction log stores.

Few rows are kept as JSON text, more as packed arrays (`service.packing`); the first byte tells which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from service.packing import MARK, pack, unpack

FEW = 24  # rows up to which text is made sooner than packed arrays
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY

Values = list[Any] | npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request, columnar.

    ``features`` maps each feature of the version's schema, in order, to its values; ``outputs`` are class
    labels or numbers; ``probabilities`` is ``(n_rows, n_classes)`` or None. Times are microseconds since 1970. Request and
    trace id are None in records that were made without.

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

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def is_packed(self) -> bool:
        """Whether the values of rows are arrays, not lists."""
        return type(self.outputs) is np.ndarray


def encode_body(
    *,
    model: str,
    version: str,
    bins_id: str,
    arrived_us: int,
    event_us: np.ndarray,
    own_ids: Sequence[str | None] | None,
    columns: Mapping[str, np.ndarray],
    outputs: np.ndarray,
    probabilities: np.ndarray | None,
    classes: Sequence[str] | None,
    codes: np.ndarray | None = None,
    request_id: str = "",
    trace_id: str = "",
) -> bytes:
    """Encode all of a record but its id, which is only known under the spool's lock (see `with_prefix`)."""
    content: dict[str, Any] = {
        "m": model,
        "v": version,
        "b": bins_id,
        "t": arrived_us,
        "e": event_us,
        "own": own_ids,
        "x": None,
        "y": outputs,
        "p": probabilities,
        "c": classes,
    }
    if request_id:
        content["r"] = request_id
    if trace_id:
        content["w"] = trace_id
    if len(outputs) > FEW:
        return pack(content, columns, codes)
    content["x"] = {name: values.tolist() for name, values in columns.items()}
    content["y"] = outputs.tolist()
    content["p"] = None if probabilities is None else np.ascontiguousarray(probabilities)
    return orjson.dumps(content, option=_OPTIONS)


def with_prefix(prefix: str, body: bytes) -> tuple[bytes, bytes]:
    """Put the id into an encoded body: give what stands before it, and what of it follows, without a copy of what may be megabytes.

    Examples
    --------
    >>> with_prefix("0a", b'{"m":"bikes"}')
    (b'{"id":"0a",', b'"m":"bikes"}')
    """
    if body.startswith(MARK):
        return MARK + len(prefix).to_bytes(1) + prefix.encode("ascii"), body
    return b'{"id":"' + prefix.encode("ascii") + b'",', body[1:]


def decode(payload: bytes) -> Record:
    """Read a record back.

    Raises
    ------
    ValueError, KeyError, TypeError
        The bytes are not those of a whole record.
    """
    content = _unpacked(payload) if payload.startswith(MARK) else orjson.loads(payload)
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
    )


def _unpacked(payload: bytes) -> dict[str, Any]:
    start = len(MARK) + 1
    stop = start + int.from_bytes(payload[start - 1 : start])
    return {"id": payload[start:stop].decode("ascii"), **unpack(payload, stop)}
