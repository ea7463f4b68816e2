"""Columns and classes may have any name that a table can give them: every protocol takes them, and so does the compiled form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from flask.testing import FlaskClient
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from service.app import create_app, service_of
from service.settings import ServiceSettings
from training.artifacts.artifact import load_verified
from training.artifacts.golden_rows import columns_of
from training.artifacts.signing import load_or_make_key
from training.model_file.model_spec import parse_spec
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.run import wrap_imported
from training.settings import Home
from training.storage.database import open_database

pytestmark = pytest.mark.xdist_group("odd names")  # one service for all

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NUMBERS = [
    *('width "in"', "a\\b", "a\\", '\\"', "a\nb", "a\r\nb", "a\tb", "\x1b[31m", "a\x7fb", "'", '"', "a,b", " a", "a ", ""),
    *("größe", "gro\u0308ße", "😀", "宽度", "\u2028", "</script>", "<!--", "&amp;", "{}", "{0}", "{x!r}", "%s", "%(a)s", "$x", "${x}"),
    *("1a", "0", "null", "true", "f0", "class", "__class__", "rows", "columns", "instances", "inputs", "a.b", "a[0]", "../x", "x" * 5000),
]
TEXT, FLAG, TIME = 'district\t"code"', 'is\\it "so"', 'at\n"utc"'
CLASSES = ['no "never"', "yes\\</script>\n{}"]
CATEGORIES = ['"', "\\", "{x}\n"]
NAMES = [*NUMBERS, TEXT, FLAG, TIME]


def rows_of(n_rows: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(n_rows, len(NUMBERS))).round(3)
    start = pd.Timestamp("2026-01-01", tz="UTC")
    return [
        dict(zip(NUMBERS, row.tolist(), strict=True))
        | {TEXT: CATEGORIES[place % 3], FLAG: place % 2 == 0, TIME: (start + pd.Timedelta(hours=place)).isoformat()}
        for place, row in enumerate(numbers)
    ]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FlaskClient, list[list[float]]]]:
    """Return a client of a service of a compiled model with all these names, and the probabilities of the first two rows."""
    home = Home(tmp_path_factory.mktemp("names") / "home").ensure()
    features = dict.fromkeys(NUMBERS, "numeric") | {TEXT: "categorical", FLAG: "boolean"}
    time = {"column": TIME, "kind": "timestamp", "clock": "event"}
    schema = {"target": "y", "task": "binary", "positive": CLASSES[1], "time": time, "features": features}
    spec = parse_spec(yaml.safe_dump({"model": "odd", "schema": schema}, sort_keys=False))
    table = pd.DataFrame(rows_of(240))
    table["y"] = np.where(table[NUMBERS[0]] + table[NUMBERS[1]] > 0, CLASSES[1], CLASSES[0])
    encoder = OneHotEncoder(categories=[CATEGORIES], handle_unknown="ignore")
    prepare = make_column_transformer((SimpleImputer(), [*NUMBERS, FLAG]), (encoder, [TEXT]))
    known = table[[*NUMBERS, TEXT, FLAG]].astype({FLAG: float})
    pipeline = make_pipeline(prepare, LogisticRegression()).fit(known, table["y"])
    url = f"sqlite:///{home.database}"
    database = open_database(url)
    registry = Registry(database)
    registry.put_model(spec, now=NOW)
    made = wrap_imported(pipeline, spec, table, home=home, registry=registry, now=NOW)
    registry.promote("odd", made.version, expected=None, cause=Cause("test", "test"), now=NOW)
    database.close()
    loaded = load_verified(made.artifact.path, home.cache, load_or_make_key(home.signing_key))
    assert loaded.compiled is not None
    probability = loaded.model.predict(columns_of(rows_of(2), loaded.schema)).probability
    app = create_app(ServiceSettings(home, url))
    service_of(app).start()
    yield app.test_client(), np.asarray(probability).tolist()
    service_of(app).stop()


def comma_separated(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(NAMES)
    writer.writerows([row.values() for row in rows])
    return sink.getvalue().encode()


def arrow(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pd.DataFrame(rows).to_parquet(sink)
    return sink.getvalue()


def tensors(rows: list[dict[str, Any]]) -> bytes:
    kinds = dict.fromkeys(NUMBERS, "FP64") | {TEXT: "BYTES", FLAG: "BOOL", TIME: "BYTES"}
    inputs = [{"name": n, "datatype": kinds[n], "shape": [len(rows)], "data": [row[n] for row in rows]} for n in NAMES]
    return json.dumps({"inputs": inputs}).encode()


def split(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": NAMES, "data": [list(row.values()) for row in rows]}}).encode()


def ours(content: Any) -> list[list[float]]:
    return [[row["probabilities"][name] for name in CLASSES] for row in content["predictions"]]


def as_instances(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"instances": rows}).encode()


def records(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"dataframe_records": rows}).encode()


def theirs(content: Any) -> list[list[float]]:
    return np.reshape(next(each["data"] for each in content["outputs"] if each["name"] == "predict_proba"), (-1, 2)).tolist()


JSON, OURS = "application/json", "/models/odd/predict"
REQUESTS: dict[str, tuple[str, str, Callable[[list[dict[str, Any]]], bytes], Callable[[Any], list[list[float]]]]] = {
    "rows": (OURS, JSON, lambda rows: json.dumps({"rows": rows}).encode(), ours),
    "rows in UTF-8": (OURS, JSON, lambda rows: json.dumps({"rows": rows}, ensure_ascii=False).encode(), ours),
    "columns": (OURS, JSON, lambda rows: json.dumps({"columns": {n: [row[n] for row in rows] for n in NAMES}}).encode(), ours),
    "CSV": (OURS, "text/csv", comma_separated, ours),
    "Arrow": (OURS, "application/vnd.apache.arrow.stream", arrow, ours),
    "Parquet": (OURS, "application/vnd.apache.parquet", parquet, ours),
    "tensors": ("/v2/models/odd/infer", JSON, tensors, theirs),
}


@pytest.mark.parametrize(("path", "kind", "encode", "read"), REQUESTS.values(), ids=REQUESTS.keys())
def test_names_that_json_must_escape_are_served(
    served: tuple[FlaskClient, list[list[float]]],
    path: str,
    kind: str,
    encode: Callable[[list[dict[str, Any]]], bytes],
    read: Callable[[Any], list[list[float]]],
) -> None:
    client, expected = served

    answer = client.post(path, data=encode(rows_of(2)), content_type=kind)

    assert answer.status_code == 200, answer.text[:1000]
    assert np.allclose(read(answer.json), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("path", "encode"), [("/v1/models/odd:predict", as_instances), ("/invocations", records), ("/invocations", split)])
def test_protocols_that_answer_labels_take_odd_names_too(
    served: tuple[FlaskClient, list[list[float]]], path: str, encode: Callable[[list[dict[str, Any]]], bytes]
) -> None:
    client, expected = served

    answer = client.post(path, data=encode(rows_of(2)), content_type=JSON)

    assert answer.json["predictions"] == [CLASSES[int(false < true)] for false, true in expected]


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_bad_value_is_told_by_its_odd_name(served: tuple[FlaskClient, list[list[float]]], name: str) -> None:
    [row] = rows_of(1)

    answer = served[0].post(OURS, json={"rows": [row | {name: [0]}]})

    assert (answer.status_code, [each["field"] for each in answer.json["fields"]]) == (422, [name])


def test_odd_names_stand_in_the_descriptions_as_they_are(served: tuple[FlaskClient, list[list[float]]]) -> None:
    document = served[0].get("/openapi.json").json
    shown = served[0].get("/models/odd").json
    described = served[0].get("/v2/models/odd").json

    assert list(document["components"]["schemas"]["Row.odd"]["properties"])[:-1] == NAMES
    assert [feature["name"] for feature in shown["schema"]["features"]] == NAMES[:-1]
    assert (shown["classes"], [each["name"] for each in described["inputs"]]) == (CLASSES, NAMES)
