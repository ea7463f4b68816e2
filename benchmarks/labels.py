"""What labels cost: reading them against reading rows, and a request of them against a bare UPDATE of as many rows.

``python -m benchmarks.labels``: the table and its plot go into docs/.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import orjson
import sqlalchemy as sa

from benchmarks.serving.data import make_table
from benchmarks.serving.estimators import ESTIMATORS, fitted
from benchmarks.serving.homes import make_home
from benchmarks.serving.places import DRAW, PAGE, is_installed, python_of, say
from benchmarks.serving.report import replace_between
from service.app import create_app, service_of
from service.codecs.label_bodies import read_labels
from service.prediction_log.tables import predictions
from service.settings import from_environment

SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
PREDICT, LABELS = "/models/model/predict", "/models/model/labels"
MOST = max(SIZES)
BEGIN, END = "<!-- labels: begin -->", "<!-- labels: end -->"
ALONE, TOGETHER = "of predictions that came alone", "of predictions that came together"


def timed(call: Callable[..., object], *arguments: object) -> float:
    """Return the seconds of a call: what the processor worked and what was waited for."""
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


class Home:
    """A service in this process, over a home with one model, whose predictions are drained by hand."""

    def __init__(self, folder: Path) -> None:
        table, labels = make_table(5000, seed=0)
        pipeline_file = folder / "model.joblib"
        joblib.dump(fitted(ESTIMATORS["logistic"](), table, labels), pipeline_file)
        make_home(folder / "home", {"model": pipeline_file}, table, labels)
        environment = {"EVERGREEN_HOME": str(folder / "home"), "EVERGREEN_MAX_ROWS": str(MOST), "EVERGREEN_MAX_BODY_BYTES": str(1 << 30)}
        self.app = create_app(from_environment(environment))
        self.service = service_of(self.app)
        self.service.follower.refresh()
        gc.collect()
        gc.freeze()  # as gunicorn.conf.py does before it forks: no later collection walks all that was imported
        self.client = self.app.test_client()
        self.rows = orjson.loads(table.head(1000).to_json(orient="records"))
        self.label = str(labels[0])

    def body_of_rows(self, n_rows: int) -> bytes:
        """Return a predict request."""
        return orjson.dumps({"rows": (self.rows * (n_rows // len(self.rows) + 1))[:n_rows]})

    def predicted(self, n_rows: int, rows_a_request: int) -> list[str]:
        """Return the ids of new predictions, which are in the log."""
        ids: list[str] = []
        for _ in range(n_rows // rows_a_request):
            answer = self.client.post(PREDICT, data=self.body_of_rows(rows_a_request), content_type="application/json")
            ids += [prediction["id"] for prediction in orjson.loads(answer.data)["predictions"]]
        while self.service.drain is not None and self.service.drain.run_once():
            pass
        return ids

    def body_of_labels(self, ids: list[str]) -> bytes:
        """Return a request with a label for each id."""
        return orjson.dumps({"labels": [{"id": identity, "label": self.label} for identity in ids]})

    def send(self, body: bytes, status: str) -> None:
        """Send labels; all of them must end in `status`."""
        answer = self.client.post(LABELS, data=body, content_type="application/json")
        counts = orjson.loads(answer.data).get("counts", {answer.data: 1})
        assert set(counts) == {status}, counts

    def update(self, ids: list[str]) -> None:
        """Set the label of rows and commit: one UPDATE, its parameters ready."""
        parameters = [{"at_prefix": prefix, "at_row": int(row)} for prefix, _, row in (identity.partition("-") for identity in ids)]
        statement = (
            sa.update(predictions)
            .where(predictions.c.id_prefix == sa.bindparam("at_prefix"), predictions.c.row == sa.bindparam("at_row"))
            .values(label_true=self.label, labelled_us=1, label_received_us=int(datetime.now(UTC).timestamp() * 1e6))
        )
        with self.service.database.write() as connection:
            connection.execute(statement, parameters)


def measure(home: Home, n: int, rows_a_request: int, times: int) -> dict[str, float]:
    """Return the median seconds of each way, taken in turn."""
    deployment = home.service.deployments.current("model")
    rows = home.body_of_rows(n)
    series: dict[str, list[float]] = {name: [] for name in ("rows", "labels", "update", "matched", "unknown")}
    for _ in range(times):
        ids, others = home.predicted(n, rows_a_request), home.predicted(n, rows_a_request)
        body = home.body_of_labels(ids)
        strange = home.body_of_labels([identity[::-1] for identity in ids])
        gc.collect()
        series["rows"].append(timed(deployment.reader.read_json, rows, MOST))
        series["labels"].append(timed(read_labels, body, MOST))
        series["update"].append(timed(home.update, others))
        series["matched"].append(timed(home.send, body, "matched"))
        series["unknown"].append(timed(home.send, strange, "unknown"))
    return {name: median(values) for name, values in series.items()}


def table(times: int) -> Iterator[str]:
    """Measure, and yield the lines of the table, each when it is known."""
    yield "| labels | of predictions of | read rows, ms | read labels, ms | ratio | UPDATE, ms | matched, ms | ratio | unknown, ms |"
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for n in SIZES:
        for rows_a_request in sorted({1, min(n, 1000)}):
            if n // rows_a_request > 10_000:
                continue
            with tempfile.TemporaryDirectory() as folder:
                home = Home(Path(folder))
                seconds = measure(home, n, rows_a_request, times)
                home.service.stop()
            ms: dict[str, Any] = {name: value * 1e3 for name, value in seconds.items()}
            reading, writing = ms["labels"] / ms["rows"], ms["matched"] / ms["update"]
            yield (
                f"| {n:,} | {rows_a_request:,} rows | {ms['rows']:.2f} | {ms['labels']:.2f} | {reading:.2f} "
                f"| {ms['update']:.2f} | {ms['matched']:.2f} | {writing:.2f} | {ms['unknown']:.2f} |"
            )


def points(lines: list[str]) -> Iterator[dict[str, Any]]:
    """Yield what is drawn of a table: of predictions that came alone, and of those that came together.

    Examples
    --------
    >>> lines = ["| labels | of predictions of | matched, ms |", "|--:|--:|--:|", "| 1,000 | 1 rows | 26.69 |"]
    >>> list(points(lines))
    [{'sweep': 'labels', 'at': 1000, 'series': 'of predictions that came alone', 'what': 'matched', 'value': 26.69}]
    """
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    drawn = [(column, head.removesuffix(", ms")) for column, head in enumerate(heads) if head.endswith(", ms")]
    for cells in rows:
        n, together = int(cells[0].replace(",", "")), cells[1] != "1 rows"
        for is_of, series in ((together or n == 1, TOGETHER), (not together, ALONE)):
            if is_of:
                yield from ({"sweep": "labels", "at": n, "series": series, "what": what, "value": float(cells[c])} for c, what in drawn)


def draw(page: Path) -> int:
    """Draw the table of a page into the images beside it."""
    if not is_installed("plots"):
        say("NOT DRAWN: the environment 'plots' is missing (python -m benchmarks.serving setup plots)")
        return 1
    lines = page.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "labels.json"
        figures.write_text(json.dumps({"points": list(points([line for line in lines if line.startswith("|")]))}))
        subprocess.run([str(python_of("plots")), str(DRAW), str(figures), str(page.parent / "images")], check=True)
    return 0


def main() -> int:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--page", type=Path, default=PAGE, help="its table is replaced, its plot put into images/ beside it")
    parser.add_argument("--draw", action="store_true", help="measure nothing: the plot of the page's table")
    options = parser.parse_args()
    if not options.draw:
        lines = []
        for line in table(options.times):
            say(line)
            lines.append(line)
        plot = "![Labels in a request (ms)](images/growth-labels.svg)"
        replace_between(options.page, BEGIN, END, "\n".join([plot, "", *lines]))
    return draw(options.page)


if __name__ == "__main__":
    sys.exit(main())
