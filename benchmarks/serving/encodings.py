"""How rows become the body of a request, and an answer becomes probabilities again; standard library only.

An answer is read into one number a row, the probability of the second class; or into labels, where a peer answers those.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.serving.places import ROOT, work

Row = Mapping[str, Any]
Numbers = list[float] | list[str]
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Body:
    """What is sent: bytes, and the headers that go with them."""

    content: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def dumps(content: Any) -> bytes:
    """Return compact JSON."""
    return json.dumps(content, separators=(",", ":")).encode()


def _rows(rows: list[Row], under: str) -> Body:
    return Body(dumps({under: rows}))


def _columns(rows: list[Row]) -> Body:
    return Body(dumps({"columns": {name: [row[name] for row in rows] for name in rows[0]}}))


def _split(rows: list[Row]) -> Body:
    return Body(dumps({"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}))


def _tensors(rows: list[Row]) -> Body:
    inputs = []
    for name, first in rows[0].items():
        datatype, hint = ("BYTES", {"content_type": "str"}) if isinstance(first, str) else ("FP64", {})
        inputs.append({"name": name, "shape": [len(rows), 1], "datatype": datatype, "data": [r[name] for r in rows], "parameters": hint})
    return Body(dumps({"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": [{"name": "predict_proba"}]}))


def _raw(values: list[Any]) -> bytes:
    if not isinstance(values[0], str):
        return struct.pack(f"<{len(values)}d", *values)
    return b"".join(struct.pack("<I", len(text)) + text for text in (value.encode() for value in values))


def _raw_tensors(rows: list[Row]) -> Body:
    raws = {name: _raw([row[name] for row in rows]) for name in rows[0]}
    inputs = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES" if isinstance(rows[0][name], str) else "FP64",
            "parameters": {"binary_data_size": len(raw)},
        }
        for name, raw in raws.items()
    ]
    head = dumps({"inputs": inputs, "outputs": [{"name": "predict_proba", "parameters": {"binary_data": True}}]})
    return Body(head + b"".join(raws.values()), {"Content-Type": "application/octet-stream", LENGTH: str(len(head))})


def _written(rows: list[Row], kind: str, headers: Mapping[str, str]) -> Body:
    content = (work() / "prepared" / f"rows.{kind}").read_bytes()
    return Body(content, headers)


BUILD: dict[str, Callable[[list[Row]], Body]] = {
    "rows": partial(_rows, under="rows"),
    "instances": partial(_rows, under="instances"),
    "list": lambda rows: Body(dumps(rows)),
    "columns": _columns,
    "split": _split,
    "tensors": _tensors,
    "raw tensors": _raw_tensors,
    "arrow": partial(_written, kind="arrow", headers={"Content-Type": ARROW, "Accept": ARROW}),
    "parquet": partial(_written, kind="parquet", headers={"Content-Type": PARQUET}),
}
"""`arrow` and `parquet` are of all prepared rows, whatever is chosen."""


def read(content: bytes, headers: Mapping[str, str]) -> Numbers:
    """Read the answer of any server here."""
    if headers.get("Content-Type", "").startswith(ARROW):
        return _read_arrow(content)
    if LENGTH in headers:
        numbers = content[int(headers[LENGTH]) :]
        return list(struct.unpack(f"<{len(numbers) // 8}d", numbers)[1::2])
    answer = json.loads(content)
    if isinstance(answer, dict) and "outputs" in answer:
        output = next(o for o in answer["outputs"] if o["name"] in ("predict_proba", "output-0"))
        return output["data"][1::2]  # type: ignore[no-any-return]
    if isinstance(answer, dict):
        answer = next(answer[key] for key in ("predictions", "predict") if key in answer)
    return [_second(value) for value in answer]


def _second(value: Any) -> Any:
    if isinstance(value, dict):
        return value["probabilities"]["yes"]
    return value[1] if isinstance(value, list) else value


def _read_arrow(content: bytes) -> Numbers:
    """Read it in another process: this one must not load Arrow."""
    code = "import sys, json, pyarrow as pa; t = pa.ipc.open_stream(sys.stdin.buffer.read()).read_all(); "
    code += "sys.stdout.write(json.dumps(t.column('probability.yes').to_pylist()))"
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def difference(got: Numbers, wanted: list[float]) -> float:
    """Return the largest absolute difference; of labels 0 or 1; infinite when the rows are not as many.

    Examples
    --------
    >>> difference([0.25, 0.5], [0.25, 0.5]), difference(["no", "yes"], [0.4, 0.3])
    (0.0, 1.0)
    """
    if len(got) != len(wanted):
        return float("inf")
    pairs = zip(got, wanted, strict=True)
    return max(abs(float(g == "yes") - float(w > 0.5)) if isinstance(g, str) else abs(g - w) for g, w in pairs)
