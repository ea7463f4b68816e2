"""One table in every encoding that clients use: how it is sent, and what the answer says."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from service.codecs.tensors import to_bytes

COLUMNS = ("temp", "docks", "workday", "district", "at")
DATATYPES = {"temp": "FP64", "docks": "INT64", "workday": "BOOL", "district": "BYTES", "at": "BYTES"}
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Sent:
    """One request."""

    path: str
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)


def as_json(content: Any, path: str, **headers: str) -> Sent:
    return Sent(path, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})


def column(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows]


def table(rows: Rows) -> pa.Table:
    kinds = {"temp": pa.float64(), "docks": pa.int64(), "workday": pa.bool_(), "district": pa.string(), "at": pa.string()}
    return pa.table({name: pa.array(column(rows, name), kinds[name]) for name in COLUMNS})


def arrow(rows: Rows) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table(rows).schema) as writer:
        writer.write_table(table(rows))
    return sink.getvalue()


def arrow_with_times_and_codes(rows: Rows) -> bytes:
    """The same with timestamps, a dictionary column and columns in another order."""
    sink = io.BytesIO()
    plain = table(rows)
    stamps = pa.array(pd.to_datetime(pd.Series(column(rows, "at")), utc=True, format="ISO8601"), pa.timestamp("us", tz="UTC"))
    changed = pa.table({"at": stamps, "district": plain.column("district").dictionary_encode()})
    changed = changed.append_column("temp", plain.column("temp")).append_column("workday", plain.column("workday"))
    changed = changed.append_column("docks", plain.column("docks").cast(pa.int32()))
    with pa.ipc.new_stream(sink, changed.schema) as writer:
        writer.write_table(changed)
    return sink.getvalue()


def parquet(rows: Rows) -> bytes:
    sink = io.BytesIO()
    table(rows).to_pandas().to_parquet(sink)
    return sink.getvalue()


def comma_separated(rows: Rows) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(COLUMNS)
    writer.writerows([["" if row[name] is None else row[name] for name in COLUMNS] for row in rows])
    return sink.getvalue().encode()


def tensors(rows: Rows) -> dict[str, Any]:
    return {
        "id": "t-1",
        "inputs": [
            {"name": name, "datatype": DATATYPES[name], "shape": [len(rows), 1], "data": column(rows, name)} for name in reversed(COLUMNS)
        ],
    }


def raw_tensors(rows: Rows, path: str) -> Sent:
    """Raw where a tensor can be (no null in it), JSON where not."""
    arrays = {
        "temp": np.array([np.nan if value is None else value for value in column(rows, "temp")], dtype="<f8"),
        "docks": np.array(column(rows, "docks"), dtype="<i8"),
        "workday": np.array(column(rows, "workday"), dtype=bool),
        "at": np.array([*column(rows, "at"), None], dtype=object)[:-1],
    }
    raws = {name: to_bytes(values) for name, values in arrays.items()}
    inputs = [
        {"name": name, "datatype": DATATYPES[name], "shape": [len(rows)], "parameters": {"binary_data_size": len(raw)}}
        for name, raw in raws.items()
    ]
    inputs.append({"name": "district", "datatype": "BYTES", "shape": [len(rows)], "data": column(rows, "district")})
    envelope = json.dumps({"inputs": inputs}).encode()
    return Sent(path, envelope + b"".join(raws.values()), {"Inference-Header-Content-Length": str(len(envelope))})


def matrix(rows: Rows) -> dict[str, Any]:
    """A matrix of text with the times in a tensor of their own."""
    words = [[None if row[name] is None else str(row[name]) for name in COLUMNS[:-1]] for row in rows]
    return {
        "inputs": [
            {"name": "input-0", "datatype": "BYTES", "shape": [len(rows), 4], "data": words},
            {"name": "at", "datatype": "BYTES", "shape": [len(rows)], "data": column(rows, "at")},
        ]
    }


def split(rows: Rows) -> dict[str, Any]:
    return {"columns": list(COLUMNS), "index": list(range(len(rows))), "data": [[row[name] for name in COLUMNS] for row in rows]}


def squeezed(sent: Sent, encoding: str) -> Sent:
    data = gzip.compress(sent.data) if encoding == "gzip" else zlib.compress(sent.data)
    return Sent(sent.path, data, {**sent.headers, "Content-Encoding": encoding})


OURS, V1, V2, MLFLOW = "/models/bikes/predict", "/v1/models/bikes:predict", "/v2/models/bikes/infer", "/invocations"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
ENCODINGS: dict[str, Callable[[Rows], Sent]] = {
    "rows": lambda rows: as_json({"rows": list(rows)}, OURS),
    "columns": lambda rows: as_json({"columns": {name: column(rows, name) for name in COLUMNS}}, OURS),
    "csv": lambda rows: Sent(OURS, comma_separated(rows), {"Content-Type": "text/csv"}),
    "arrow": lambda rows: Sent(OURS, arrow(rows), {"Content-Type": ARROW}),
    "arrow, other types": lambda rows: Sent(OURS, arrow_with_times_and_codes(rows), {"Content-Type": ARROW}),
    "arrow both ways": lambda rows: Sent(OURS, arrow(rows), {"Content-Type": ARROW, "Accept": ARROW}),
    "parquet": lambda rows: Sent(OURS, parquet(rows), {"Content-Type": PARQUET}),
    "rows, gzip": lambda rows: squeezed(as_json({"rows": list(rows)}, OURS), "gzip"),
    "v1 instances": lambda rows: as_json({"instances": list(rows)}, V1),
    "v1 lists": lambda rows: as_json({"instances": [[row[name] for name in COLUMNS] for row in rows]}, V1),
    "v1 columns": lambda rows: as_json({"inputs": {name: column(rows, name) for name in COLUMNS}}, V1),
    "v2 tensors": lambda rows: as_json(tensors(rows), V2),
    "v2 no content type": lambda rows: Sent(V2, json.dumps(tensors(rows)).encode()),
    "v2 matrix": lambda rows: as_json(matrix(rows), V2),
    "v2 raw": lambda rows: raw_tensors(rows, V2),
    "v2 raw, deflate": lambda rows: squeezed(raw_tensors(rows, V2), "deflate"),
    "v2 raw answer": lambda rows: as_json({**tensors(rows), "parameters": {"binary_data_output": True}}, V2),
    "mlflow split": lambda rows: as_json({"dataframe_split": split(rows)}, MLFLOW),
    "mlflow records": lambda rows: as_json({"dataframe_records": list(rows), "params": {}}, MLFLOW),
    "mlflow instances": lambda rows: as_json({"instances": list(rows)}, MLFLOW),
    "mlflow inputs": lambda rows: as_json({"inputs": {name: column(rows, name) for name in COLUMNS}}, MLFLOW),
    "mlflow csv": lambda rows: Sent(MLFLOW, comma_separated(rows), {"Content-Type": "text/csv; charset=utf-8"}),
    "mlflow parquet": lambda rows: Sent(MLFLOW, parquet(rows), {"Content-Type": PARQUET}),
}


def send(client: Any, sent: Sent) -> Any:
    """Send a request."""
    return client.post(sent.path, data=sent.data, headers=sent.headers)


def prediction_of(answer: Any) -> tuple[list[str], list[float]]:
    """Read labels and the probability of the positive class out of any answer."""
    assert answer.status_code == 200, answer.text
    if answer.headers["Content-Type"] == ARROW:
        table = pa.ipc.open_stream(answer.data).read_all()
        return table.column("label").to_pylist(), table.column("probability.true").to_pylist()
    if answer.headers["Content-Type"] == "application/octet-stream":
        return _said_raw(answer)
    content = answer.json
    if "outputs" in content:
        outputs = {output["name"]: output["data"] for output in content["outputs"]}
        return outputs["predict"], outputs["predict_proba"][1::2]
    if "probabilities" in content:
        return content["predictions"], [row[1] for row in content["probabilities"]]
    return [row["label"] for row in content["predictions"]], [row["probabilities"]["true"] for row in content["predictions"]]


def _said_raw(answer: Any) -> tuple[list[str], list[float]]:
    length = int(answer.headers["Inference-Header-Content-Length"])
    labels, probabilities = json.loads(answer.data[:length])["outputs"]
    start = length + labels["parameters"]["binary_data_size"]
    numbers = np.frombuffer(answer.data[start:], dtype="<f8").reshape(probabilities["shape"])
    words, rest = [], answer.data[length:start]
    while rest:
        size = int.from_bytes(rest[:4], "little")
        words.append(rest[4 : 4 + size].decode())
        rest = rest[4 + size :]
    return words, numbers[:, 1].tolist()
