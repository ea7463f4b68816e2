"""Labels join their predictions: one status a row, idempotent, nothing overwritten."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from service.ids import PredictionId
from service.log_tables import label_conflicts, lock_clock, predictions, spool_offsets
from training.clock import to_us
from training.schema import Task, normalise_label

Status = Literal["matched", "pending", "duplicate", "conflict", "unknown", "too_late", "invalid"]
OFFSETS_KEPT_US = 400 * 86_400_000_000
_CHUNK = 5000
_MAX_LABEL_LETTERS = 256
_RANK: dict[Status, int] = {"matched": 3, "conflict": 2, "duplicate": 1, "too_late": 0}


@dataclass(frozen=True, slots=True)
class LabelItem:
    """A true outcome and the prediction it belongs to: our `id` (read and checked), or else the caller's `own_id`.

    With neither, the id was not one of ours and the status will be ``unknown``.
    """

    label: object
    id: PredictionId | None = None
    own_id: str | None = None


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What became of a label; `reason` says why an invalid one is."""

    status: Status
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LabelRules:
    """Which labels a model takes: for its task, of its classes (None: any), not older than `too_late_us` of model time."""

    task: Task | None = None
    classes: tuple[str, ...] | None = None
    too_late_us: int | None = None

    def stored(self, label: object) -> str:
        """Give the stored spelling of a label.

        Raises
        ------
        ValueError
            It is not a value of this task's target; the message says what is wanted.

        Examples
        --------
        >>> LabelRules("binary", ("false", "true")).stored(True), LabelRules("regression").stored(3)
        ('true', '3.0')
        """
        if self.task == "regression":
            return _stored_number(label)
        if not isinstance(label, str | bool | int | float) or (isinstance(label, float) and not math.isfinite(label)):
            raise ValueError("want a class label: a string, a whole number or true/false")
        text = normalise_label(label)
        if not 0 < len(text) <= _MAX_LABEL_LETTERS or not text.isprintable():
            raise ValueError(f"want a class label of 1 to {_MAX_LABEL_LETTERS} printable letters")
        if self.classes is not None and text not in self.classes:
            raise ValueError(f"want one of {', '.join(self.classes)}")
        return text


@dataclass(slots=True)
class _Found:
    """A logged row that a label names."""

    prefix: str
    row: int
    event_us: int
    label: str | None
    own_id: str | None


def write_labels(
    connection: sa.Connection, model: str, items: Sequence[LabelItem], machine_now: datetime, rules: LabelRules
) -> list[LabelResult]:
    """Store labels within a transaction.

    ``matched``: stored now; ``duplicate``: the same label is there; ``conflict``: another one is there (it stays, the
    new one is kept aside); ``pending``: minted here but not drained yet, send it again; ``unknown``: no such prediction;
    ``too_late``: older than the rule allows, in model time, or
    minted so long ago that what was drained of its file is forgotten; ``invalid``: not a value of the target. A label with an own
    id goes to every row that carries it.

    Returns
    -------
    list of LabelResult
        One for each item, in order.
    """
    watermark = lock_clock(connection, model).watermark_us
    received_us = to_us(machine_now)
    writer = _Writer(model, watermark or 0, received_us, rules)
    drained = _drained_records(connection, {item.id.spool for item in items if item.id is not None})
    by_id, by_own = _find(connection, model, items)
    results = [writer.judge(item, by_id, by_own, drained) for item in items]
    writer.write(connection)
    return results


class _Writer:
    """Judges items one after the other, remembering what it is going to store."""

    def __init__(self, model: str, model_now_us: int, received_us: int, rules: LabelRules) -> None:
        self._model = model
        self._model_now_us = model_now_us
        self._received_us = received_us
        self._rules = rules
        self._updates: list[dict[str, Any]] = []
        self._conflicts: list[dict[str, Any]] = []

    def judge(
        self,
        item: LabelItem,
        by_id: dict[tuple[str, int], _Found],
        by_own: dict[str, list[_Found]],
        drained: dict[str, int],
    ) -> LabelResult:
        """Say what becomes of a label, given the rows found by id and by own id and how far each spool file is drained."""
        try:
            label = self._rules.stored(item.label)
        except ValueError as error:
            return LabelResult("invalid", str(error))
        if item.id is not None:
            found = by_id.get((item.id.prefix, item.id.row))
            if found is not None:
                return LabelResult(self._join(found, label))
            if item.id.spool not in drained and self._received_us - item.id.time_ms * 1000 > OFFSETS_KEPT_US:
                return LabelResult("too_late")
            is_drained = item.id.seq < drained.get(item.id.spool, 0)
            return LabelResult("unknown" if is_drained else "pending")
        rows = by_own.get(item.own_id, []) if item.own_id is not None else []
        statuses = [self._join(row, label) for row in rows]
        return LabelResult(max(statuses, key=_RANK.__getitem__, default="unknown"))

    def _join(self, found: _Found, label: str) -> Status:
        if found.label is not None:
            return "duplicate" if found.label == label else self._conflict(found, label)
        limit = self._rules.too_late_us
        if limit is not None and self._model_now_us - found.event_us > limit:
            return "too_late"
        found.label = label
        self._updates.append({"at_prefix": found.prefix, "at_row": found.row, "new_label": label})
        return "matched"

    def _conflict(self, found: _Found, label: str) -> Status:
        common = {"id_prefix": found.prefix, "row": found.row, "model": self._model}
        self._conflicts.append({**common, "label": label, "received_us": self._received_us})
        return "conflict"

    def write(self, connection: sa.Connection) -> None:
        """Store what was judged, within a transaction."""
        if self._updates:
            statement = (
                sa.update(predictions)
                .where(predictions.c.id_prefix == sa.bindparam("at_prefix"), predictions.c.row == sa.bindparam("at_row"))
                .values(label_true=sa.bindparam("new_label"), labelled_us=self._model_now_us, label_received_us=self._received_us)
            )
            connection.execute(statement, self._updates)
        if self._conflicts:
            _insert_new_conflicts(connection, self._conflicts)


def _insert_new_conflicts(connection: sa.Connection, conflicts: list[dict[str, Any]]) -> None:
    table = label_conflicts.c
    prefixes = sorted({conflict["id_prefix"] for conflict in conflicts})
    known: set[tuple[str, int, str]] = set()
    for chunk in _chunks(prefixes):
        chosen = sa.select(table.id_prefix, table.row, table.label).where(table.id_prefix.in_(chunk))
        known |= {(prefix, row, label) for prefix, row, label in connection.execute(chosen)}
    fresh = {(c["id_prefix"], c["row"], c["label"]): c for c in conflicts}
    missing = [conflict for key, conflict in fresh.items() if key not in known]
    if missing:
        connection.execute(sa.insert(label_conflicts), missing)


def _drained_records(connection: sa.Connection, spools: set[str]) -> dict[str, int]:
    """Give how many records of each spool file are in the log; all there will ever be when it is closed."""
    found: dict[str, int] = {}
    for chunk in _chunks(sorted(spools)):
        chosen = sa.select(spool_offsets.c.spool, spool_offsets.c.records, spool_offsets.c.closed).where(spool_offsets.c.spool.in_(chunk))
        found |= {spool: 2**63 if closed else records for spool, records, closed in connection.execute(chosen)}
    return found


def _find(
    connection: sa.Connection, model: str, items: Sequence[LabelItem]
) -> tuple[dict[tuple[str, int], _Found], dict[str, list[_Found]]]:
    table = predictions.c
    wanted = [item.id for item in items if item.id is not None]
    rows = [identity.row for identity in wanted]
    by_id: dict[tuple[str, int], _Found] = {}
    for chunk in _chunks(sorted({identity.prefix for identity in wanted})):
        condition = sa.and_(table.id_prefix.in_(chunk), table.row.between(min(rows), max(rows)), table.model == model)
        by_id |= {(found.prefix, found.row): found for found in _read(connection, condition)}
    by_own: dict[str, list[_Found]] = {}
    for chunk in _chunks(sorted({item.own_id for item in items if item.own_id is not None})):
        for found in _read(connection, sa.and_(table.model == model, table.own_id.in_(chunk))):
            same = by_id.setdefault((found.prefix, found.row), found)
            by_own.setdefault(str(found.own_id), []).append(same)
    return by_id, by_own


def _read(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Iterator[_Found]:
    table = predictions.c
    chosen = sa.select(table.id_prefix, table.row, table.event_us, table.label_true, table.own_id).where(condition)
    for found in connection.execute(chosen):
        yield _Found(*found)


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def _stored_number(label: object) -> str:
    wrong = ValueError("want a finite number")
    if isinstance(label, bool) or not isinstance(label, int | float):
        raise wrong
    try:
        number = float(label)
    except OverflowError:
        raise wrong from None
    if not math.isfinite(number):
        raise wrong
    return repr(number)
