"""Requests to try: a curl for predict with what the champion says to it, computed in a process of its own, and one for its label.

Nothing is sent: the log is no place for samples. `python -m monitoring.local.sample_requests MODEL` is that process.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.admin.status import resolve
from monitoring.admin.workbench import Workbench
from monitoring.errors import ProcessError
from service.parent import follow_parent, with_us_as_parent
from training.artifacts.golden_rows import columns_of
from training.schema.schema import Schema

PATIENCE_SECONDS = 60.0
ID = "THE-ID-FROM-THE-ANSWER"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: where, what, and what is answered to it (None where that is not known before it is sent)."""

    url: str
    body: dict[str, Any]
    answer: dict[str, Any] | None = None

    @property
    def curl(self) -> str:
        """Return the command to paste.

        Examples
        --------
        >>> print(Sample("http://127.0.0.1:8000/models/m/predict", {"rows": []}).curl)
        curl -s http://127.0.0.1:8000/models/m/predict -H 'Content-Type: application/json' -d '{"rows": []}'
        """
        return f"curl -s {self.url} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(self.body))}"


def ask_in_child(environment: Mapping[str, str], model: str, url: str, *, wait_seconds: float = PATIENCE_SECONDS) -> tuple[Sample, Sample]:
    """Let the champion of a model answer one of its golden rows in another process; return the requests for row and label.

    Raises
    ------
    ProcessError
        It does not answer, or not in time; with the last words of the process.
    """
    command = [sys.executable, "-m", "monitoring.local.sample_requests", model]
    try:
        done = subprocess.run(command, env=with_us_as_parent(environment), capture_output=True, timeout=wait_seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ProcessError(f"the champion of {model} does not answer within {wait_seconds:g} s") from None
    lines = done.stdout.decode(errors="replace").splitlines()
    if done.returncode != 0 or not lines:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise ProcessError(words[-1] if words else f"the process that asks it ended with code {done.returncode}")
    printed = json.loads(lines[-1])
    label = {"labels": [{"id": ID, "label": printed["label"]}]}
    return Sample(f"{url}/models/{model}/predict", {"rows": [printed["row"]]}, printed["answer"]), Sample(
        f"{url}/models/{model}/labels", label
    )


def answer_of(bench: Workbench, model: str) -> dict[str, Any]:
    """Return a golden row of the champion, its answer as the service gives it (without what is new in each), and that as a label."""
    champion = bench.load(resolve(bench, model, None))
    row = dict(champion.golden.rows[-1])
    prediction = champion.predictor.predict(columns_of([row], champion.schema))
    if prediction.probability is None or prediction.classes is None:
        one: dict[str, Any] = {"value": float(prediction.label[0])}
    else:
        chances = dict(zip(prediction.classes, map(float, prediction.probability[0]), strict=True))
        one = {"label": str(prediction.label[0]), "probabilities": chances}
    answer = {"model": model, "version": champion.version, "predictions": [one]}
    return {"row": row, "answer": answer, "label": on_the_wire(prediction.label[0], champion.schema)}


def on_the_wire(label: Any, schema: Schema) -> Any:
    """Return a stored label as JSON has it: numbers for a regression, true and false for a yes or no."""
    if not schema.is_classification:
        return float(label)
    return {"true": True, "false": False}.get(str(label), str(label))


def main(model: str) -> int:
    """Print the answer as one line of JSON; give 1 and say why where there is none."""
    follow_parent(os.environ)
    bench = Workbench(os.environ)
    try:
        print(json.dumps(answer_of(bench, model)))  # noqa: T201 - the parent reads it
    except Exception as error:  # noqa: BLE001 - its pickle may raise anything
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    finally:
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
