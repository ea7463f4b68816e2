"""Replay a table as live traffic over HTTP, labels delayed, paced by what the monitor has done and not by a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.errors import ReplayError
from monitoring.local.client import Client
from monitoring.local.replay_progress import JudgedSlot, ReplayProgress
from training.artifacts.golden_rows import request_row
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.policies import LabelPolicy
from training.schema.prediction import Prediction
from training.schema.rows import Rows, object_column
from training.schema.schema import Schema
from training.storage.database import Database

BATCH_ROWS = 200
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


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows [start, stop) of the table; `is_boundary` when they are the first at or past a slot's end."""

    start: int
    stop: int
    is_boundary: bool


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

    The first rows at or past a slot's end wait until all earlier rows and due labels are in the log; after them nothing
    is sent until the slot's run row has ended, `on_slot` has returned, what it asked the monitor for is done, and every worker
    of the service answers with the champion all this left. So the result does not depend on the speed of the machine.

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
    due = Due(rows, spec.labels)
    judged: list[JudgedSlot] = []
    first = sender.progress.next_slot(rows.time_us)
    try:
        sender.progress.wait_followed(sender.client)
        for batch in batches(rows.time_us, duration_us(spec.watching.every), duration_us(spec.watching.bucket), first, BATCH_ROWS):
            now_us = int(rows.time_us[batch.start])
            slot_us = sender.progress.slot_at(now_us) if batch.is_boundary else None
            sender.label(due.before(batch.start, now_us, slot_us))
            if batch.is_boundary:
                sender.flush()
            sender.send(batch)
            if batch.is_boundary:
                judged += _pass(sender, now_us, on_slot)
            sender.label(due.before(batch.start, now_us, None))
        sender.label(due.before(len(rows), int(rows.time_us[-1]) + 1, None))
        sender.flush()
    finally:
        sender.client.close()
    return sender.replayed(tuple(judged))


def batches(time_us: npt.NDArray[np.int64], every_us: int, bucket_us: int, first_slot_us: int, most: int) -> Iterator[Batch]:
    """Cut ordered rows at bucket and slot ends; the rows of the first instant past a slot's end stand alone.

    Examples
    --------
    >>> list(batches(np.array([1, 2, 11, 11, 12]), 10, 5, 10, 100))
    [Batch(start=0, stop=2, is_boundary=False), Batch(start=2, stop=4, is_boundary=True), Batch(start=4, stop=5, is_boundary=False)]
    """
    start, next_slot = 0, first_slot_us
    while start < len(time_us):
        now = int(time_us[start])
        if now >= next_slot:
            stop = int(np.searchsorted(time_us, now, side="right"))
            yield Batch(start, stop, True)
            next_slot = (now // every_us + 1) * every_us
        else:
            end = min((now // bucket_us + 1) * bucket_us, next_slot)
            stop = min(int(np.searchsorted(time_us, end, side="left")), start + most)
            yield Batch(start, stop, False)
        start = stop


def _pass(sender: _Sender, now_us: int, on_slot: Callable[[JudgedSlot], None] | None) -> list[JudgedSlot]:
    slots = sender.progress.wait_slots(now_us)
    sender.progress.wait_followed(sender.client)
    for slot in slots:
        if on_slot is not None:
            on_slot(slot)
            sender.progress.wait_followed(sender.client)
    return slots


class Due:
    """Which labels are due: an index into the rows that only moves forward."""

    def __init__(self, rows: Rows, policy: LabelPolicy) -> None:
        self._time_us = rows.time_us
        self._rows_late = policy.delay_rows
        self._late_us = duration_us(policy.delay) if policy.delay is not None else 0
        self._next = 0

    def before(self, start: int, now_us: int, slot_us: int | None) -> range:
        """Return the rows whose labels are due before row `start`, at `now_us`, is sent; at most those due before `slot_us`."""
        if self._rows_late is not None:
            stop = max(self._next, start - self._rows_late)
        else:
            limit = now_us if slot_us is None else min(now_us, slot_us)
            stop = min(start, int(np.searchsorted(self._time_us, limit - self._late_us, side="left")))
        rows = range(self._next, max(self._next, stop))
        self._next = rows.stop
        return rows


class _Sender:
    """Sends rows and labels, and remembers the answers."""

    def __init__(self, rows: Rows, spec: ModelSpec, client: Client, progress: ReplayProgress) -> None:
        self.client = client
        self.progress = progress
        self._rows = rows
        self._spec = spec
        self._answers: list[dict[str, Any]] = []
        self._version: list[str] = []
        self._waiting: list[int] = []
        self._label_counts: dict[str, int] = {}

    @property
    def sent(self) -> int:
        return len(self._answers)

    def send(self, batch: Batch) -> None:
        for start in range(batch.start, batch.stop, BATCH_ROWS):
            rows = [self._payload(i) for i in range(start, min(start + BATCH_ROWS, batch.stop))]
            answer = self.client.post(f"/models/{self._spec.model}/predict", {"rows": rows}, self.progress.wait_seconds)
            self._answers += answer["predictions"]
            self._version += [answer["version"]] * len(rows)

    def label(self, due: range) -> None:
        """Send labels; those whose predictions are not in the log yet are sent again with the next ones."""
        todo = self._waiting + [i for i in due if _has_label(self._rows.labels[i])]
        self._waiting = []
        for start in range(0, len(todo), LABEL_BATCH):
            self._waiting += self._send_labels(todo[start : start + LABEL_BATCH])

    def flush(self) -> None:
        """Wait until every sent row is in the log, and send the labels that waited for that."""
        self.progress.wait_drained(self.sent)
        deadline = time.monotonic() + self.progress.wait_seconds
        while self._waiting:
            self.label(range(0))
            if self._waiting and time.monotonic() > deadline:
                raise ReplayError(f"{len(self._waiting)} labels still wait for their predictions to reach the log")

    def _send_labels(self, index: list[int]) -> list[int]:
        """Send the labels of some rows; return those that have to wait."""
        items = [{"id": self._answers[i]["id"], "label": on_the_wire(self._rows.labels[i], self._spec.schema)} for i in index]
        answer = self.client.post(f"/models/{self._spec.model}/labels", {"labels": items}, self.progress.wait_seconds)
        statuses = [result["status"] for result in answer["results"]]
        for status in statuses:
            if status != "pending":
                self._label_counts[status] = self._label_counts.get(status, 0) + 1
        return [i for i, status in zip(index, statuses, strict=True) if status == "pending"]

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
