"""Odd headers at every route, columns of every type, bodies in odd compressed pieces: an answer or a refusal, no error of ours."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from flask import Flask

JSON = "application/json"
GETS = ("/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/models", "/models/bikes", "/v2", "/v2/models/bikes", "/v1/models")
POSTS = ("/models/bikes/predict", "/models/bikes/labels", "/v2/models/bikes/infer", "/v1/models/bikes:predict", "/invocations")
HEADERS = (
    "Range: bytes=0-1,2-3,4-5", "Range: bytes=-0", "Range: x", "If-Range: x", 'If-None-Match: "' + "a" * 5000, "If-Match: *",
    "If-Modified-Since: Xxx, 99 Foo 9999", "If-Modified-Since: Thu, 01 Jan 99999 00:00:00 GMT",
    "Accept: " + ",".join(["a/b;q=x"] * 300), "Accept: */*;q=" + "9" * 40, "Accept: text/html;q=\xb2", "Accept: \xff",
    "Accept-Encoding: gzip;q=1e999", "Accept-Language: \xff", "Cookie: " + "a=b;" * 1500, 'Cookie: a="\\',
    "Authorization: Digest x", "Authorization: Bearer", "Authorization: Basic \xff", "Authorization: " + "x" * 8000, "X-API-Key: \xff\xfe",
    "Origin: null", "Origin: http://[", "Origin: \xff", "Referer: \xff", "Sec-Fetch-Site: \xff", "Host: [", "Host: \xff", "Host: a:b:c",
    'Forwarded: for=\xff;host="x', "X-Forwarded-For: \xff", "X-Forwarded-Host: [", "X-Forwarded-Proto: \xff", "X-Forwarded-Prefix: /x",
    "X-Request-ID: " + "\xff" * 300, "X-Request-ID: a b", "traceparent: 00-" + "0" * 32 + "-" + "0" * 16 + "-01",
    "traceparent: " + "\xff" * 60,
    "tracestate: " + "a=b," * 900, "Content-Type: \xff", "Content-Type: " + "a/b;" * 1000, "Content-Type: ;", "Content-Type: /",
    "Content-Type: application/json; charset=rot13", "Content-Type: application/json; charset=utf-16",
    "Content-Type: text/csv; charset=klingon",
    "Content-Type: multipart/form-data", "Content-Type: application/octet-stream", "Content-Encoding: \xff", "Content-Encoding: gzip, gzip",
    "Content-Encoding: " + "gzip," * 900, "Content-Range: bytes 0-1/2", "Content-Language: \xff", "Expect: \xff", "TE: \xff",
    "Max-Forwards: -1",
    "Inference-Header-Content-Length: -1", "Inference-Header-Content-Length: \xb2", "Inference-Header-Content-Length: " + "9" * 5000,
    "Inference-Header-Content-Length: 1e3", "Inference-Header-Content-Length: +5", "X-HTTP-Method-Override: DELETE", "Via: \xff",
)  # fmt: skip
TYPES = (
    pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.date32(), pa.date64(), pa.time32("s"),
    pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("ns", "Nowhere/At_All"), pa.duration("ms"),
    pa.month_day_nano_interval(), pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary(3), pa.large_binary(),
    pa.binary_view(), pa.decimal32(5, 2), pa.decimal64(10, 2), pa.decimal128(10, 2), pa.decimal256(40, 2), pa.list_(pa.int8()),
    pa.large_list(pa.int8()), pa.list_(pa.int8(), 2), pa.list_view(pa.int8()), pa.struct([("a", pa.int8())]), pa.map_(pa.string(),
    pa.int8()),
    pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.float64()), pa.dictionary(pa.int8(), pa.list_(pa.int8())),
    pa.run_end_encoded(pa.int32(), pa.float64()), pa.sparse_union([pa.field("a", pa.int8())]), pa.dense_union([pa.field("a", pa.int8())]),
    pa.json_(), pa.uuid(), pa.bool8(), pa.opaque(pa.int8(), "a", "b"), pa.fixed_shape_tensor(pa.int8(), [2]),
)  # fmt: skip
RIDES: dict[str, Any] = {
    "temp": [1.0, 2.0], "docks": [1, 2], "workday": [True, False], "district": ["a", "b"], "at": ["2026-01-01", "2026-01-02"],
    "_id": ["x", "y"],
}  # fmt: skip
ROWS = b'{"rows": [{}]}'
COMPRESSED = {
    "in two members": gzip.compress(b'{"rows": ') + gzip.compress(b"[{}]}"),
    "behind nine hundred empty members": gzip.compress(b"") * 900 + gzip.compress(ROWS),
    "behind too many empty members": gzip.compress(b"") * 3000 + gzip.compress(ROWS),
    "bombs one behind the other": gzip.compress(b" " * 20_000_000) * 20,
    "zeros behind it": gzip.compress(ROWS) + b"\0" * 600,
    "something behind it": gzip.compress(ROWS) + b"xx",
    "without a header": zlib.compress(ROWS, wbits=-zlib.MAX_WBITS),
    "blocks of nothing": b"\0\0\0\xff\xff" * 100_000,
    "a wrong sum": gzip.compress(ROWS)[:-8] + b"\0" * 8,
    "twice": gzip.compress(gzip.compress(b" " * 100_000_000)),
    "a long field": b"\x1f\x8b\x08\x04" + b"\0" * 6 + b"\xff\xff" + b"x" * 65535 + zlib.compress(ROWS, wbits=-zlib.MAX_WBITS),
    "a name without end": b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"x" * 3_000_000,
}


def nothing(kind: pa.DataType) -> pa.Array:
    """Return two rows of a type in which nothing is known."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.nulls(2, kind.storage_type))
    return pa.nulls(2, kind)


def as_arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def nested(kind: pa.DataType, levels: int) -> pa.DataType:
    for _ in range(levels):
        kind = pa.list_(kind)
    return kind


def test_no_header_whatever_it_holds_is_an_error_of_ours(app: Flask) -> None:
    client, statuses = app.test_client(), dict[tuple[str, str], int]()

    for line in HEADERS:
        name, _, value = line.partition(": ")
        for path in GETS:
            statuses[line[:40], path] = client.get(path, headers=[(name, value)]).status_code
        for path in POSTS:
            sent = {} if name == "Content-Type" else {"content_type": JSON}
            statuses[line[:40], path] = client.post(path, data=ROWS, headers=[(name, value)], **sent).status_code

    assert {at: status for at, status in statuses.items() if not 200 <= status < 500} == {}
    assert len(set(statuses.values())) >= 4


def test_a_column_of_any_type_in_arrow_is_an_answer_or_a_refusal(app: Flask) -> None:
    client, statuses = app.test_client(), dict[tuple[str, str], int]()

    for kind in (*TYPES, nested(pa.int8(), 60)):
        for name in RIDES:
            body = as_arrow(pa.table({**RIDES, name: nothing(kind)}))
            answer = client.post("/models/bikes/predict", data=body, content_type="application/vnd.apache.arrow.stream")
            statuses[str(kind)[:40], name] = answer.status_code

    assert {at: status for at, status in statuses.items() if status not in (200, 400, 415, 422)} == {}
    assert {200, 422} <= set(statuses.values())


def test_a_column_of_any_type_in_parquet_is_an_answer_or_a_refusal(app: Flask) -> None:
    client, statuses = app.test_client(), dict[str, int]()

    for kind in TYPES:
        sink = io.BytesIO()
        try:
            pq.write_table(pa.table({**RIDES, "district": nothing(kind)}), sink)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            continue
        answer = client.post("/models/bikes/predict", data=sink.getvalue(), content_type="application/vnd.apache.parquet")
        statuses[str(kind)[:40]] = answer.status_code

    assert {at: status for at, status in statuses.items() if status not in (200, 400, 415, 422)} == {}
    assert {200, 422} <= set(statuses.values())


def test_a_body_in_odd_compressed_pieces_is_read_or_refused(app: Flask) -> None:
    client, headers = app.test_client(), {"Content-Encoding": "gzip"}

    answers = {
        name: client.post("/models/bikes/predict", data=body, content_type=JSON, headers=headers) for name, body in COMPRESSED.items()
    }

    read = {name for name, answer in answers.items() if answer.status_code == 422}
    assert {answer.status_code for answer in answers.values()} == {400, 413, 422}
    assert read == {"in two members", "behind nine hundred empty members", "without a header"}
