"""NVIDIA's `tritonclient[http]`, unchanged: JSON, raw tensors, compression, asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio

pytestmark = pytest.mark.xdist_group("tritonclient")

Row = dict[str, Any]


@pytest.fixture
def client(live: Any) -> Any:
    made = triton.InferenceServerClient(live.client.base_url.netloc.decode())
    yield made
    made.close()


def inputs_of(rows: list[Row], module: Any = triton, *, is_binary: bool) -> list[Any]:
    """One tensor a column, as its users write them."""
    columns: dict[str, tuple[str, Any]] = {
        "temp": ("FP64", np.array([row["temp"] for row in rows], dtype=np.float64)),
        "docks": ("INT64", np.array([row["docks"] for row in rows], dtype=np.int64)),
        "workday": ("BOOL", np.array([row["workday"] for row in rows], dtype=bool)),
        "district": ("BYTES", np.array([row["district"].encode() for row in rows], dtype=object)),
        "at": ("BYTES", np.array([row["at"].encode() for row in rows], dtype=object)),
    }
    made = [module.InferInput(name, list(values.shape), datatype) for name, (datatype, values) in columns.items()]
    return [
        tensor.set_data_from_numpy(values, binary_data=is_binary) or tensor
        for tensor, (_, values) in zip(made, columns.values(), strict=True)
    ]


def test_it_reads_health_metadata_repository_and_statistics(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("bikes")
    assert not client.is_model_ready("cars")
    assert client.get_server_metadata()["name"] == "evergreen"
    version = client.get_model_metadata("bikes")["versions"][0]
    assert client.is_model_ready("bikes", version)
    assert [entry["name"] for entry in client.get_model_repository_index()] == ["bikes", "fares"]
    assert client.get_inference_statistics("bikes")["model_stats"][0]["name"] == "bikes"
    client.load_model("bikes")


@pytest.mark.parametrize("sends_raw", [True, False], ids=["raw in", "JSON in"])
@pytest.mark.parametrize("wants_raw", [True, False, None], ids=["raw out", "JSON out", "no outputs named"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_it_gets_the_same_answer_in_every_mode(
    client: Any, live: Any, ride: Row, sends_raw: bool, wants_raw: bool | None, compression: str | None
) -> None:
    rows = [ride, {**ride, "docks": 20}]
    expected = live.predict(*rows).json()["predictions"]
    outputs = [triton.InferRequestedOutput(name, binary_data=bool(wants_raw)) for name in ("predict", "predict_proba")]

    result = client.infer(
        "bikes",
        inputs_of(rows, is_binary=sends_raw),
        outputs=None if wants_raw is None else outputs,
        request_id="r-1",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )

    assert result.get_response()["id"] == "r-1"
    assert [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("predict")] == [r["label"] for r in expected]
    assert result.as_numpy("predict_proba")[:, 1].tolist() == [r["probabilities"]["true"] for r in expected]


def test_it_sends_nan_in_json_and_gets_an_answer(client: Any, ride: Row) -> None:
    result = client.infer("bikes", inputs_of([{**ride, "temp": np.nan}], is_binary=False))

    assert result.as_numpy("predict_proba").shape == (1, 2)


def test_it_shows_our_sentence_when_a_value_is_wrong(client: Any, ride: Row) -> None:
    with pytest.raises(triton.InferenceServerException, match="row 1, field 'temp': got 99") as refused:
        client.infer("bikes", inputs_of([ride, {**ride, "temp": 99.0}], is_binary=True))

    assert refused.value.status() == "422"


def test_its_asyncio_client_is_answered_too(live: Any, ride: Row) -> None:
    async def ask() -> Any:
        async with triton_aio.InferenceServerClient(live.client.base_url.netloc.decode()) as client:
            calls = [client.infer("bikes", inputs_of([ride], triton_aio, is_binary=raw)) for raw in (True, False)]
            return [answer.as_numpy("predict_proba").tolist() for answer in await asyncio.gather(*calls)]

    first, second = asyncio.run(ask())

    assert first == second
