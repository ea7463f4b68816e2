"""Replay a table as live traffic over HTTP, labels delayed, paced by what the monitor has done and not by a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.backtest.judged_slots import JudgedSlot
from monitoring.backtest.steps import BATCH_ROWS, Feedback, steps
from monitoring.local.client import Client
from monitoring.local.replay_progress import ReplayProgress
from training.artifacts.golden_rows import request_row
from training.model_file.model_spec import ModelSpec
from training.schema.prediction import Prediction
from training.schema.rows import Rows, object_column
from training.schema.schema import Schema
from training.storage.database import Database

LABEL_BATCH = 500


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was answered, row by row in the order of the table, and what happened at the slots.

    Attributes
    ----------
    rows
        The rows sent, with their true labels.
    version
        Shape ``(n_rows,)``: which version answered.
    """

    rows: Rows
    prediction: Prediction
    version: npt.NDArray[Any]
    ids: tuple[str, ...]
    slots: tuple[JudgedSlot, ...]
    label_counts: dict[str, int] = field(default_factory=dict)


def replay(
    rows: Rows,
    spec: ModelSpec,
    url: str,
    *,
    database: Database,
    on_slot: Callable[[JudgedSlot], None] | None = None,
    key: str | None = None,
) -> Replayed:
    """Send `rows` in order as their own future, each label when it is due, and wait for the monitor at every slot.

    A label waits until all rows that were sent before it are in the log: it is known from the model time on that the log has then, and
    maturity is measured from that. So do the first rows at or past a slot's end; after them nothing is sent until the slot's run row
    has ended, `on_slot` has returned, what it asked the monitor for is done, and every worker of the service answers with the champion
    all this left. So the result does not depend on the speed of the machine.

    Parameters
    ----------
    rows
        With a target; a row without a label gets none.
    url
        Of the service, such as ``http://127.0.0.1:8000``.
    database
        Of log, journal and registry: only read, to know when to go on.
    on_slot
        Called after every slot; it may move the champion.
    key
        An API key with the scopes predict, label and read; None on loopback.

    Raises
    ------
    ReplayError
        The service refused a row, or something did not happen in time; the message says what was waited for.
    """
    sender = _Sender(rows, spec, Client(url, key), ReplayProgress(database, spec))
    judged: list[JudgedSlot] = []
    first = sender.progress.next_slot(rows.time_us)
    try:
        sender.progress.wait_followed(sender.client)
        for step in steps(rows, spec, Feedback.by_policy(rows, spec.labels), first):
            sender.label(step.before)
            if step.is_boundary:
                sender.flush()
            sender.send(step.start, step.stop)
            if step.is_boundary:
                judged += _pass(sender, int(rows.time_us[step.start]), on_slot)
            sender.label(step.after)
        sender.flush()
    finally:
        sender.client.close()
    return sender.replayed(tuple(judged))


def _pass(sender: _Sender, now_us: int, on_slot: Callable[[JudgedSlot], None] | None) -> list[JudgedSlot]:
    slots = sender.progress.wait_slots(now_us)
    sender.progress.wait_followed(sender.client)
    for slot in slots:
        if on_slot is not None:
            on_slot(slot)
            sender.progress.wait_followed(sender.client)
    return slots


class _Sender:
    """Sends rows and labels, and remembers the answers."""

    def __init__(self, rows: Rows, spec: ModelSpec, client: Client, progress: ReplayProgress) -> None:
        self.client = client
        self.progress = progress
        self._rows = rows
        self._spec = spec
        self._answers: list[dict[str, Any]] = []
        self._version: list[str] = []
        self._label_counts: dict[str, int] = {}

    @property
    def sent(self) -> int:
        return len(self._answers)

    def send(self, first: int, stop: int) -> None:
        for start in range(first, stop, BATCH_ROWS):
            rows = [self._payload(i) for i in range(start, min(start + BATCH_ROWS, stop))]
            answer = self.client.post(f"/models/{self._spec.model}/predict", {"rows": rows}, self.progress.wait_seconds)
            self._answers += answer["predictions"]
            self._version += [answer["version"]] * len(rows)

    def label(self, due: range) -> None:
        """Send labels, once all that was sent before is in the log."""
        todo = [i for i in due if _has_label(self._rows.labels[i])]
        if todo:
            self.flush()
        for start in range(0, len(todo), LABEL_BATCH):
            self._send_labels(todo[start : start + LABEL_BATCH])

    def flush(self) -> None:
        """Wait until every sent row is in the log."""
        self.progress.wait_drained(self.sent)

    def _send_labels(self, index: list[int]) -> None:
        items = [{"id": self._answers[i]["id"], "label": on_the_wire(self._rows.labels[i], self._spec.schema)} for i in index]
        answer = self.client.post(f"/models/{self._spec.model}/labels", {"labels": items}, self.progress.wait_seconds)
        for result in answer["results"]:
            self._label_counts[result["status"]] = self._label_counts.get(result["status"], 0) + 1

    def _payload(self, i: int) -> dict[str, Any]:
        row = request_row(self._rows.columns, int(self._rows.time_us[i]), i, self._spec.schema)
        return {**row, "_id": f"replay-{i}"}

    def replayed(self, slots: tuple[JudgedSlot, ...]) -> Replayed:
        ids = tuple(str(a["id"]) for a in self._answers)
        prediction = _prediction(self._answers, self._spec.schema)
        return Replayed(self._rows, prediction, np.array(self._version, dtype=object), ids, slots, self._label_counts)


def on_the_wire(label: Any, schema: Schema) -> Any:
    """Return a stored label as a client would send it.

    Examples
    --------
    >>> from training.schema.feature import Feature
    >>> on_the_wire(np.float64(3), Schema((Feature("x", "numeric"),), "y", "regression"))
    3.0
    """
    return str(label) if schema.is_classification else float(label)


def _has_label(label: Any) -> bool:
    return label is not None and label == label


def _prediction(answers: list[dict[str, Any]], schema: Schema) -> Prediction:
    if not schema.is_classification:
        return Prediction(np.array([a["value"] for a in answers], dtype=np.float64))
    classes = schema.order_classes({name for a in answers for name in a["probabilities"]})
    label = object_column([a["label"] if isinstance(a["label"], str) else str(a["label"]).lower() for a in answers])
    return Prediction(label, np.array([[a["probabilities"].get(c, 0.0) for c in classes] for a in answers], dtype=np.float64), classes)
