"""A request to try: a curl for predict and one for labels, each with the answer it got when it was sent."""

from __future__ import annotations

import json
import shlex
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from training.golden import Golden
from training.schema import Schema

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


def requests_of(model: str, golden: Golden, schema: Schema, url: str) -> tuple[Sample, Sample]:
    """Write, unsent, a golden row as a request and the label the model gave it; the label's id is known once it is sent."""
    predict = Sample(f"{url}/models/{model}/predict", {"rows": [dict(golden.rows[-1])]})
    label = on_the_wire(golden.labels[-1], schema)
    return predict, Sample(f"{url}/models/{model}/labels", {"labels": [{"id": "THE-ID-FROM-THE-ANSWER", "label": label}]})


def send(predict: Sample, labels: Sample) -> tuple[Sample, Sample]:
    """Send a row to a running service, then its label.

    Raises
    ------
    OSError
        The service does not answer.
    """
    answer = post(predict.url, predict.body)
    body = {"labels": [{**labels.body["labels"][0], "id": answer["predictions"][0]["id"]}]}
    deadline = time.monotonic() + PATIENCE_SECONDS
    told = post(labels.url, body)
    while told["counts"].get("pending") and time.monotonic() < deadline:  # its prediction is still in the spool
        time.sleep(0.05)
        told = post(labels.url, body)
    return Sample(predict.url, predict.body, answer), Sample(labels.url, body, told)


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
