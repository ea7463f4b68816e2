"""Which reader reads which content type; and columns, once read, judged by the schema of the version that answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Request, Response

from service.answering import Answer
from service.answers import Finished
from service.arrow import from_arrow, from_parquet
from service.bodies import ARROW, CSV, PARQUET, body_of
from service.columns import ColumnReader, Table
from service.nesting import MAX_DEPTH
from service.payloads import parse_json
from service.tables import SentTable, from_csv
from training.schema import Schema

ID_HEADER = "X-Evergreen-Prediction-Id"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may bring: bytes as sent and when decompressed (None: the same), rows, nesting of JSON.

    The longest text is a limit of `service.columns.ColumnReader`.
    """

    max_bytes: int
    max_rows: int
    max_depth: int = MAX_DEPTH
    max_decompressed_bytes: int | None = None

    def body(self, request: Request) -> bytes:
        """Give the body of a request, decompressed; errors as `service.bodies.body_of`."""
        return body_of(request, self.max_bytes, self.max_decompressed_bytes)

    def json(self, body: bytes) -> Any:
        """Read JSON; errors as `service.payloads.parse_json`."""
        return parse_json(body, self.max_depth)


def read_encoded(kind: str, body: bytes, schema: Schema, limits: Limits) -> SentTable | None:
    """Read a table by its content type; None when that is none of CSV, Arrow and Parquet."""
    if kind == CSV:
        return from_csv(body, schema, limits.max_rows)
    if kind == ARROW:
        return from_arrow(body, schema, limits.max_rows)
    return from_parquet(body, schema, limits.max_rows, limits.max_decompressed_bytes or limits.max_bytes) if kind == PARQUET else None


def judge(reader: ColumnReader, sent: SentTable | list[Any]) -> Table:
    """Validate columns, or rows as objects; InvalidRowsError names every bad value."""
    return reader.read_columns(sent.columns, sent.n_rows) if isinstance(sent, SentTable) else reader.read(sent)


def stamped(response: Response, answer: Answer) -> Response:
    """Tell the ids of the rows, ``<prefix>-<row>``, where the protocol has no room for them."""
    if isinstance(response, Finished):
        response.tell([(ID_HEADER, answer.prefix)])
    else:
        response.headers[ID_HEADER] = answer.prefix
    return response


def warnings_of(answer: Answer) -> list[str]:
    """Say which columns the schema does not know and what may have been meant."""
    return [
        f"column {name[:100]!r} is not known and was ignored in {rows} rows{answer.deployment.reader.hint(name)}"
        for name, rows in list(answer.table.ignored.items())[:20]
    ]
