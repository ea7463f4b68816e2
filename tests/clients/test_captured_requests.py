"""What other people's clients once sent, sent again byte for byte; the answers are compared with what the model itself says.

`test_other_clients` with ``EVERGREEN_CAPTURE=1`` writes the files anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients.recording import CAPTURED
from tests.end_to_end.wire import Reply, Wire
from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.golden_rows import columns_of
from training.artifacts.signing import load_or_make_key

pytestmark = pytest.mark.xdist_group("captured requests")

ON_EACH_FRONT = pytest.mark.parametrize("live", ["evergreen", "gthread"], indirect=True, scope="module")

Row = dict[str, Any]
FILES = sorted(CAPTURED.glob("*/*.http"))
NUMBERS = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}
HOTTEST = 60
PROBES: dict[str, Any] = {
    "/": {"status": "alive"},
    "/v2/health/live": {"live": True},
    "/v2/health/ready": {"live": True, "ready": True},
    "/v2/models/bikes/ready": {"name": "bikes", "ready": True},
}


@pytest.fixture(scope="module")
def model(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> LoadedArtifact:
    """The champion that `live` serves, called without HTTP."""
    key = load_or_make_key(trained.home.signing_key)
    return load_verified(trained.bikes[0].path, tmp_path_factory.mktemp("cache"), key)


class Captured:
    """A request as it was sent: where to, and the rows in it."""

    def __init__(self, path: Path) -> None:
        self.sent = path.read_bytes()
        head, _, self.body = self.sent.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.verb, self.target, _ = first.split()
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def rows(self) -> list[Row]:
        """Read the rows, in whichever of the protocols they are."""
        length = int(self.headers.get("inference-header-content-length", len(self.body)))
        content = json.loads(self.body[:length])
        if "dataframe_split" in content:
            split = content["dataframe_split"]
            return [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
        if self.target.endswith("/infer"):
            columns = tensors(content["inputs"], self.body[length:])
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        rows = content.get("instances", content.get("inputs"))
        names = ("temp", "docks", "workday", "district", "at")
        return [row if isinstance(row, dict) else dict(zip(names, row, strict=True)) for row in rows]


def tensors(described: list[Any], raw: bytes) -> dict[str, list[Any]]:
    """Read tensors by name, raw or JSON, as the protocol describes them."""
    read: dict[str, list[Any]] = {}
    for tensor in described:
        size = tensor.get("parameters", {}).get("binary_data_size")
        values = np.ravel(tensor["data"]).tolist() if size is None else from_raw(tensor["datatype"], raw[:size])
        read[tensor["name"]] = values
        raw = raw[size or 0 :]
    return read


def from_raw(datatype: str, raw: bytes) -> list[Any]:
    if datatype != "BYTES":
        return list(np.frombuffer(raw, NUMBERS[datatype]).tolist())
    words: list[str] = []
    while raw:
        size = 4 + int.from_bytes(raw[:4], "little")
        words.append(raw[4:size].decode())
        raw = raw[size:]
    return words


def answered(reply: Reply) -> list[str]:
    """Read the labels of an answer, in whichever of the protocols it is."""
    length = int(reply.headers.get("inference-header-content-length", len(reply.body)))
    content = json.loads(reply.body[:length])
    labels: list[str] = content.get("predictions") or tensors(content["outputs"], reply.body[length:])["predict"]
    return labels


def missing_as_none(row: Row) -> Row:
    return {name: None if value != value else value for name, value in row.items()}


@pytest.fixture
def captured(request: pytest.FixtureRequest) -> Captured:
    return Captured(request.param)


@pytest.fixture
def reply(captured: Captured, live: Any) -> Reply:
    with Wire(live.client.base_url.port) as wire:
        return wire.ask(captured.sent)


def is_probe(path: Path) -> bool:
    return path.read_bytes().startswith(b"GET ")


def is_too_hot(path: Path) -> bool:
    return not is_probe(path) and any(row["temp"] > HOTTEST for row in Captured(path).rows())


def chosen(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("captured", paths, ids=[f"{path.parent.name}/{path.stem}" for path in paths], indirect=True)


PROBING = [path for path in FILES if is_probe(path)]
HOT = [path for path in FILES if is_too_hot(path)]
GOOD = [path for path in FILES if path not in PROBING and path not in HOT]


@ON_EACH_FRONT
@chosen(GOOD)
def test_a_captured_request_for_predictions_gets_what_the_model_says(captured: Captured, reply: Reply, model: LoadedArtifact) -> None:
    rows = [missing_as_none(row) for row in captured.rows()]

    expected = model.predictor.predict(columns_of(rows, model.schema))

    assert reply.status == 200, reply.body
    assert answered(reply) == expected.label.tolist()


@ON_EACH_FRONT
@chosen(HOT)
def test_a_captured_request_with_a_value_out_of_range_is_refused_by_its_name(reply: Reply) -> None:
    assert (reply.status, reply.headers["content-type"]) == (422, "application/json")
    assert "field 'temp': got 99" in reply.json["error"]


@ON_EACH_FRONT
@chosen(PROBING)
def test_a_captured_probe_is_answered_as_its_client_wants_it(captured: Captured, reply: Reply) -> None:
    expected = PROBES.get(captured.target)

    assert reply.status == 200
    assert expected is None or reply.json == expected


def test_every_client_was_captured_without_a_trace_of_the_machine() -> None:
    sent = b"".join(path.read_bytes() for path in FILES)

    assert {path.parent.name for path in FILES} == {"kserve", "mlflow", "mlserver", "mlserver-raw", "mlserver-two-lines"}
    assert sent.count(b"Host: localhost\r\n") == len(FILES)
    assert b"127.0.0.1" not in sent
    assert b"/home" not in sent
    assert b"/root" not in sent


@ON_EACH_FRONT
def test_the_captured_requests_of_one_client_are_answered_over_one_connection_one_after_the_other(live: Any) -> None:
    kserve = [path.read_bytes() for path in FILES if path.parent.name == "kserve"]

    with Wire(live.client.base_url.port) as wire:
        statuses = [wire.ask(sent).status for sent in kserve]

    assert statuses == [200] * (len(kserve) - 1) + [422]
