"""The record of one answered request: what the spool keeps and the prediction log stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request, columnar.

    ``features`` maps each feature of the version's schema, in order, to its values; ``outputs`` are class
    labels or numbers; ``probabilities`` is ``(n_rows, n_classes)`` or None. Times are microseconds since 1970.
    """

    prefix: str
    model: str
    version: str
    bins_id: str
    arrived_us: int
    event_us: Sequence[int]
    own_ids: Sequence[str | None] | None
    features: Mapping[str, Sequence[Any]]
    outputs: Sequence[Any]
    probabilities: Sequence[Sequence[float]] | None
    classes: Sequence[str] | None

    def __len__(self) -> int:
        return len(self.outputs)


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
) -> bytes:
    """Encode all of a record but its id, which is only known under the spool's lock (see `with_prefix`)."""
    content = {
        "m": model,
        "v": version,
        "b": bins_id,
        "t": arrived_us,
        "e": event_us,
        "own": own_ids,
        "x": {name: _plain(values) for name, values in columns.items()},
        "y": _plain(outputs),
        "p": None if probabilities is None else np.ascontiguousarray(probabilities),
        "c": classes,
    }
    return orjson.dumps(content, option=_OPTIONS)


def with_prefix(prefix: str, body: bytes) -> bytes:
    """Put the id into an encoded body.

    Examples
    --------
    >>> with_prefix("0a", b'{"m":"bikes"}')
    b'{"id":"0a","m":"bikes"}'
    """
    return b'{"id":"' + prefix.encode("ascii") + b'",' + body[1:]


def decode(payload: bytes) -> Record:
    """Read a record back."""
    content = orjson.loads(payload)
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
    )


def _plain(values: np.ndarray) -> Any:
    if values.dtype == object:
        return values.tolist()
    return np.ascontiguousarray(values)
