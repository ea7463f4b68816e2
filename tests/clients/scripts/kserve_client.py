"""What KServe's `InferenceRESTClient` gets: run in an environment of its own, with our address and rows as JSON."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

KINDS = {"temp": "FP64", "docks": "INT64", "workday": "BOOL", "district": "BYTES", "at": "BYTES"}


def tensor(name, rows, is_binary):
    made = InferInput(name, [len(rows)], KINDS[name])
    values = np.array([row[name] for row in rows], dtype=object if KINDS[name] == "BYTES" else None)
    made.set_data_from_numpy(values, binary_data=is_binary)
    return made


async def ask(url, rows):
    first = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    second = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    result = {
        "up": [
            await first.is_server_live(url),
            await first.is_model_ready(url, "bikes"),
            await second.is_server_live(url),
            await second.is_server_ready(url),
            await second.is_model_ready(url, "bikes"),
        ],
        "v1": (await first.infer(url, {"instances": rows}, model_name="bikes"))["predictions"],
    }
    for is_binary in (False, True):
        request = InferRequest(model_name="bikes", infer_inputs=[tensor(name, rows, is_binary) for name in KINDS])
        answer = await second.infer(url, request, model_name="bikes")
        labels = answer.outputs[0].as_numpy().ravel()
        result[f"v2 {is_binary}"] = [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
    try:
        await first.infer(url, {"instances": [{**rows[0], "temp": 99}]}, model_name="bikes")
    except Exception as error:  # noqa: BLE001
        result["error"] = str(error)
    sys.stdout.write(json.dumps(result) + "\n")


asyncio.run(ask(sys.argv[1], json.loads(sys.argv[2])))
