"""Hostile bodies, and for every route that reads one, where in it they can stand."""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

DEEP = 100_000
ROW = b'{"at": "2026-01-11T00:00:00Z", "temp": 12.5, "docks": <number>, "workday": true, "district": <text>}'
LISTS = b'[[12.5, <number>, true, <text>, "2026-01-11T00:00:00Z"]]'
TENSORS = (
    b'{"inputs": [{"name": "at", "datatype": "BYTES", "shape": [1], "data": ["2026-01-11T00:00:00Z"]},'
    b' {"name": "temp", "datatype": "FP64", "shape": [1], "data": [12.5]},'
    b' {"name": "docks", "datatype": "INT64", "shape": [1], "data": [<number>]},'
    b' {"name": "workday", "datatype": "BOOL", "shape": [1], "data": [true]},'
    b' {"name": "district", "datatype": "BYTES", "shape": [1], "data": [<text>]}]}'
)
ENVELOPES = {
    "nothing": b"",
    "no json": b"rows",
    "half": b'{"rows": [',
    "list": b"[]",
    "scalar": b"3",
    "null": b"null",
    "other name": b'{"row": []}',
    "more names": b'{"rows": [{}], "and": 1}',
    "rows is an object": b'{"rows": {}}',
    "no rows": b'{"rows": []}',
    "bom": b'\xef\xbb\xbf{"rows": [{}]}',
    "utf-16": '{"rows": [{}]}'.encode("utf-16"),
    "latin-1": b'{"rows": [{"a": "\xe9"}]}',
    "lone surrogate": b'{"rows": [{"a": "\\ud800"}]}',
    "lone surrogate beside NaN": b'{"rows": [{"a": "\\ud800", "b": NaN}]}',
    "too large a number": b'{"rows": [{"a": 1e999}]}',
    "too large a number beside NaN": b'{"rows": [{"a": 1e999, "b": NaN}]}',
    "deep": b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep beside NaN": b'{"rows": [NaN, ' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
    "deep objects": b'{"rows": [' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
    "nul": b'{"rows": [{"a": "\x00"}]}',
    "comment": b'{"rows": [{}]} // that is all',
}
"""Bodies that are no predict request, whatever the schema."""
READERS = {
    "predict.predict": {"rows": b'{"rows": [' + ROW + b"]}", "columns": b'{"columns": {"docks": [<number>], "district": [<text>]}}'},
    "labels.label": {"labels": b'{"labels": [{"own_id": <number>, "label": true}]}'},
    "labels.draw": {"window": b'{"k": 5, "key": <text>, "from": <number>}'},
    "kserve_v1.predict": {"instances": b'{"instances": [' + ROW + b"]}", "lists": b'{"instances": ' + LISTS + b"}"},
    "open_inference.infer": {"tensors": TENSORS},
    "open_inference.index": {"ready": b'{"ready": <number>}'},
    "mlflow.invocations": {
        "records": b'{"dataframe_records": [' + ROW + b"]}",
        "split": b'{"dataframe_split": {"columns": ["temp", "docks", "workday", "district", "at"], "data": ' + LISTS + b"}}",
    },
}
"""By endpoint, the forms of body that it takes; what stands for a number and for a text can be replaced."""
DEAF = frozenset({"open_inference.load", "open_inference.unload"})
"""What is called by POST and reads no body."""

NUMBERS = {
    "list": b"[]",
    "object": b"{}",
    "nested lists": b"[[[1]]]",
    "nested object": b'{"a": {"b": [1]}}',
    "null": b"null",
    "no whole number": b"1.5",
    "text": b'""',
    "1e999": b"1e999",
    "-1e999": b"-1e999",
    "1e400 written out": b"1" + b"0" * 400 + b".0",
    "5,000 digits": b"9" * 5000,
    "-5,000 digits": b"-" + b"9" * 5000,
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep and not closed": b"[" * DEEP,
    "deep behind text full of brackets": b'["' + b"]" * DEEP + b'", ' + b"[" * 100 + b"]" * 100 + b"]",
    "65 lists": b"[" * 65 + b"]" * 65,
    "a comment": b"3 /* docks */",
    "hexadecimal": b"0x10",
    "leading nought": b"007",
    "plus": b"+3",
    "other digits": "٣".encode(),
    "undefined": b"undefined",
}
TEXTS = {
    "lone surrogate": b'"\\ud800"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "lone surrogate beside NaN": b'"\\ud800", "b": NaN',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "no UTF-8": b'"\xff\xfe"',
    "latin-1": b'"caf\xe9"',
    "overlong": b'"\xc0\xaf"',
    "control character": b'"a\x00b"',
    "line break": b'"a\nb"',
    "too long": b'"' + b"x" * 10_001 + b'"',
    "huge": b'"' + b"x" * 500_000 + b'"',
    "huge and escaped": b'"' + b"\\u0001" * 100_000 + b'"',
    "half an escape": b'"\\u12"',
    "no such escape": b'"\\x41"',
    "not closed": b'"north',
    "a list": b'["north"]',
    "an object": b'{"north": 1}',
    "a number": b"-0.5",
}
BOMB = b'{"rows": [' + b" " * 20_000_000
SAYS = "Content-Encoding"


@dataclass(frozen=True)
class Sent:
    """One hostile request, whatever the route."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Harmless:
    """What a pickle would make: it says so in a place where the test looks."""

    made: list[str] = []  # noqa: RUF012

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Harmless.made.append, ("unpickled",)


BODIES = {
    "nothing": Sent(b""),
    "spaces": Sent(b" \n\t"),
    "no json": Sent(b"rows"),
    "scalar": Sent(b"3"),
    "null": Sent(b"null"),
    "text": Sent(b'"rows"'),
    "list": Sent(b"[]"),
    "other name": Sent(b'{"row": [], "ready": 1}'),
    "a thousand names": Sent(json.dumps({f"n{n}": n for n in range(1000)} | {"ready": 1}).encode()),
    "huge name": Sent(b'{"' + b"x" * 500_000 + b'": 1, "ready": 1}'),
    "bom": Sent(b'\xef\xbb\xbf{"rows": [{}], "ready": 1}'),
    "utf-16": Sent('{"rows": [{}], "ready": 1}'.encode("utf-16")),
    "utf-32": Sent('{"rows": [{}], "ready": 1}'.encode("utf-32-le")),
    "two documents": Sent(b'{"rows": [{}], "ready": 1}{"rows": [{}]}'),
    "single quotes": Sent(b"{'rows': []}"),
    "trailing comma": Sent(b'{"rows": [{}],}'),
    "larger than the limit": Sent(b" " * (2 << 20)),
    "gzip bomb": Sent(gzip.compress(BOMB), {SAYS: "gzip"}),
    "gzip bomb in two members": Sent(gzip.compress(BOMB[:10_000_000]) * 2, {SAYS: "gzip"}),
    "deflate bomb": Sent(zlib.compress(BOMB), {SAYS: "deflate"}),
    "raw deflate bomb": Sent(zlib.compress(BOMB)[2:-4], {SAYS: "deflate"}),
    "bomb within a bomb": Sent(gzip.compress(gzip.compress(BOMB)), {SAYS: "gzip"}),
    "cut gzip": Sent(gzip.compress(b'{"rows": [{}], "ready": 1}')[:-9], {SAYS: "gzip"}),
    "no gzip": Sent(b'{"rows": [{}], "ready": 1}', {SAYS: "gzip"}),
    "unknown encoding": Sent(b'{"rows": [{}], "ready": 1}', {SAYS: "br"}),
    "several encodings": Sent(gzip.compress(b"{}"), {SAYS: "gzip, gzip"}),
    "no csv": Sent(b'a,b\n"1', {"Content-Type": "text/csv"}),
    "no arrow": Sent(b"ARROW1", {"Content-Type": "application/vnd.apache.arrow.stream"}),
    "no parquet": Sent(b"PAR1PAR1", {"Content-Type": "application/vnd.apache.parquet"}),
    "a length header without a body": Sent(b"", {"Inference-Header-Content-Length": "10"}),
    "a length header that is none": Sent(b'{"ready": 1}', {"Inference-Header-Content-Length": "-1"}),
    "a long content type": Sent(b"", {"Content-Type": "x" * 3000}),
    **{
        f"pickle as {kind}": Sent(pickle.dumps(Harmless()), {"Content-Type": kind})
        for kind in (
            "application/json", "application/octet-stream", "application/x-pickle", "application/vnd.bentoml+pickle", "text/plain",
            "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data", "application/x-numpy",
        )
    },
}  # fmt: skip


def filled(template: bytes, number: bytes = b"3", text: bytes = b'"north"') -> bytes:
    """Put a number and a text into a form of body."""
    return template.replace(b"<number>", number).replace(b"<text>", text)


def with_text(template: bytes, text: bytes) -> bytes:
    """Put a text where one belongs, else where a number does."""
    return filled(template, text=text) if b"<text>" in template else filled(template, number=text)


def cuts(body: bytes) -> Iterator[bytes]:
    """The body, broken off at many places."""
    yield from (body[:end] for end in range(1, len(body) - 1, 7))
