"""Where the time of a single-row prediction goes, in processor time of one thread, without sockets.

``python -m benchmarks.request_path``
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp())

import joblib  # noqa: E402
import orjson  # noqa: E402
from flask import Flask, Response  # noqa: E402
from gunicorn.config import Config  # noqa: E402

from benchmarks.serving.data import make_table  # noqa: E402
from benchmarks.serving.estimators import ESTIMATORS, fitted  # noqa: E402
from benchmarks.serving.homes import make_home  # noqa: E402
from benchmarks.serving.places import say  # noqa: E402
from service.app import create_app, service_of  # noqa: E402
from service.predicting import Answer, outcomes  # noqa: E402
from service.prediction_log.records import AnsweredRequest, encode_body  # noqa: E402
from service.routes.prediction_json import predictions_json  # noqa: E402
from service.settings import from_environment  # noqa: E402
from service.telemetry import trace_context  # noqa: E402
from service.web.environ_keys import WHOLE_BODY  # noqa: E402
from service.worker.http_framing import RequestParser  # noqa: E402
from service.worker.raw_responses import RawResponse  # noqa: E402

BODIES, CALLS, TIMES = 64, 3000, 7


def microseconds(call: Callable[[int], object]) -> float:
    """Return the least mean time of a call over several series, the bodies in rotation."""
    series = []
    for _ in range(TIMES):
        began = time.thread_time()
        for place in range(CALLS):
            call(place % BODIES)
        series.append((time.thread_time() - began) / CALLS)
    return min(series) * 1e6


def asking(app: Any, bodies: list[bytes], path: str) -> Callable[[int], bytes]:
    """Return a call of the whole way from the bytes of a request to the bytes of its answer."""
    parser = RequestParser(Config(), ("127.0.0.1", 8000), getattr(app, "add_route", lambda environ: None))
    template = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    raws = [template.format(path, len(body)).encode() for body in bodies]

    def ask(place: int) -> bytes:
        head = parser.parse_head(raws[place], ("127.0.0.1", 50000))
        environ = {**head.environ, "wsgi.input": io.BytesIO(bodies[place]), WHOLE_BODY: bodies[place], "REMOTE_ADDR": "127.0.0.1"}
        response = RawResponse("HTTP/1.1", closes=False)
        body = app(environ, response.start)
        payload = response.with_body(body)
        getattr(body, "close", int)()
        return payload

    assert ask(0).startswith(b"HTTP/1.1 200"), ask(0)
    return ask


def parts(app: Any, bodies: list[bytes]) -> dict[str, Callable[[int], object]]:
    """Return the parts of the way, each on its own with what the one before gave."""
    service = service_of(app)
    deployment = service.deployments.current("model")
    tables = [deployment.reader.read_json(body, 10) for body in bodies]
    predictions = [deployment.predict(table.columns) for table in tables if table is not None]
    notes = service.metrics.of_model("model", "v")

    def encode(place: int) -> bytes:
        table, answer = tables[place], predictions[place]
        assert table is not None
        facts = ("model", deployment.version, deployment.bins_id, 1, None, None)
        return encode_body(AnsweredRequest(*facts, table.columns, answer, "r" * 16, "t" * 32))

    record = encode(0)
    return {
        "JSON to checked columns": lambda place: deployment.reader.read_json(bodies[place], 10),
        "the model": lambda place: deployment.predict(tables[place].columns),  # type: ignore[union-attr]
        "the record": encode,
        "its id, and into the spool": lambda place: service.spool.append(record, n_rows=1, time_ms=1),
        "the JSON of the answer": lambda place: predictions_json(Answer(deployment, tables[place], predictions[place], "p" * 37), "r" * 16),  # type: ignore[arg-type]
        "counting": lambda place: notes.note(0.1, 1, outcomes(predictions[place])),
        "ids of request and trace": lambda place: (trace_context.begin(None).traceparent, trace_context.new_request_id()),
    }


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    bare = Flask("bare", static_folder=None)
    bare.post("/models/<model>/predict")(lambda model: Response(b"{}", mimetype="application/json"))
    with tempfile.TemporaryDirectory() as folder:
        table, labels = make_table(5000, seed=0)
        pipeline_file = Path(folder) / "model.joblib"
        joblib.dump(fitted(ESTIMATORS["logistic"](), table, labels), pipeline_file)
        make_home(Path(folder) / "home", {"model": pipeline_file}, table, labels)
        app = create_app(from_environment({"EVERGREEN_HOME": str(Path(folder) / "home")}), drains=False)
        service_of(app).follower.refresh()
        bodies = [orjson.dumps({"rows": [row]}) for row in orjson.loads(table.head(BODIES).to_json(orient="records"))]
        gc.collect()
        gc.freeze()
        path = "/models/model/predict"
        constant = microseconds(asking(bare, bodies, path))
        whole = microseconds(asking(app, bodies, path))
        parts_us = {name: microseconds(call) for name, call in parts(app, bodies).items()}
        service_of(app).stop()
    say("| processor time, one row, logistic regression | us |\n|---|--:|")
    say(f"| a constant route of a bare Flask application | {constant:.1f} |\n| **a prediction** | **{whole:.1f}** |")
    for name, part_us in parts_us.items():
        say(f"| ... {name}, in a loop by itself | {part_us:.1f} |")
    rest = whole - constant - sum(parts_us.values())
    say(f"| ... the rest: hooks, keys, and what each part takes longer when it is not in a loop by itself | {rest:.1f} |")


if __name__ == "__main__":
    main()
