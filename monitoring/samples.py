"""A request to try, sent for real: a curl for predict and one for labels, each with the answer it got."""

from __future__ import annotations

import json
import shlex
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from training.dataset import read_table
from training.golden import request_row
from training.schema import Schema
from training.spec import ModelSpec

PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: where, what, and the answer it got (None while it was not sent)."""

    url: str
    body: dict[str, Any]
    answer: dict[str, Any] | None = None

    @property
    def curl(self) -> str:
        """The command to paste.

        Examples
        --------
        >>> print(Sample("http://127.0.0.1:8000/models/m/predict", {"rows": []}).curl)
        curl -s http://127.0.0.1:8000/models/m/predict -H 'Content-Type: application/json' -d '{"rows": []}'
        """
        return f"curl -s {self.url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(self.body))}"


def try_model(spec: ModelSpec, url: str) -> tuple[Sample, Sample]:
    """Send the newest row of the history to a running service, then its true label.

    Raises
    ------
    OSError
        The service does not answer.
    """
    row, label = newest_row(spec)
    predict = Sample(f"{url}/models/{spec.model}/predict", {"rows": [row]})
    answer = post(predict.url, predict.body)
    labels = Sample(f"{url}/models/{spec.model}/labels", {"labels": [{"id": answer["predictions"][0]["id"], "label": label}]})
    deadline = time.monotonic() + PATIENCE_SECONDS
    told = post(labels.url, labels.body)
    while told["counts"].get("pending") and time.monotonic() < deadline:  # its prediction is still in the spool
        time.sleep(0.05)
        told = post(labels.url, labels.body)
    return Sample(predict.url, predict.body, answer), Sample(labels.url, labels.body, told)


def newest_row(spec: ModelSpec) -> tuple[dict[str, Any], Any]:
    """Return the newest row of a model's history as a client would send it, and its true label."""
    if spec.data is None:
        raise OSError(f"the model file of {spec.model} names no data")
    rows = read_table(spec.data, spec.schema)
    row = request_row(rows.columns, int(rows.time_us[-1]), len(rows) - 1, spec.schema)
    return row, on_the_wire(rows.labels[-1], spec.schema)


def on_the_wire(label: Any, schema: Schema) -> Any:
    """Return a stored label as JSON has it: numbers for a regression, true and false for a yes or no."""
    if not schema.is_classification:
        return float(label)
    return {"true": True, "false": False}.get(str(label), str(label))


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST a JSON body and return the JSON answer, an error body too."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{url} answered {error.code}: {error.read().decode(errors='replace')[:500]}") from error
