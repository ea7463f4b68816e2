"""Labels join their predictions: one status a row, idempotent, nothing overwritten."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import starmap
from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from service.prediction_log.ids import PredictionId
from service.prediction_log.own_ids import ambiguous_own_ids
from service.prediction_log.tables import label_arrivals, label_conflicts, lock_clock, predictions, spool_offsets
from training.clock import to_us
from training.schema.schema import Task, normalise_label
from training.schema.spellings import MOST_WHOLE, is_too_large
from training.storage.database import upsert

Status = Literal["matched", "pending", "duplicate", "conflict", "unknown", "too_late", "ambiguous", "invalid"]
OFFSETS_KEPT_US = 400 * 86_400_000_000
MOST_CONFLICTS = 20  # of one prediction that are kept
_AGES_AN_OCTAVE, _LEAST_AGE_US = 4, 60_000_000
_CHUNK = 5000
_MAX_LABEL_LETTERS = 256
_SHOWN_LETTERS = 40
_RANK: dict[Status, int] = {"matched": 3, "conflict": 2, "duplicate": 1, "too_late": 0}


class LabelItem(NamedTuple):
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


_RESULTS: dict[Status, LabelResult] = {status: LabelResult(status) for status in get_args(Status)}


@dataclass(frozen=True, slots=True)
class LabelRules:
    """Which labels a model takes: for its task, of its classes (None: any), not older than `too_late_us` of model time, none `missing`.

    `labels_all` lets a label by own id go to all rows that carry it, also where their features differ. What becomes of labels is counted
    by buckets of `bucket_us` of model time.
    """

    task: Task | None = None
    classes: tuple[str, ...] | None = None
    too_late_us: int | None = None
    labels_all: bool = False
    missing: tuple[str, ...] = ()
    bucket_us: int = 60_000_000

    def stored(self, label: object) -> str:
        """Return the stored spelling of a label.

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
        is_declared = self.classes is not None and text in self.classes  # tables have non-breaking blanks and line ends in classes
        if not is_declared and not (0 < len(text) <= _MAX_LABEL_LETTERS and text.isprintable()):
            raise ValueError(f"want a class label of 1 to {_MAX_LABEL_LETTERS} printable letters")
        if text in self.missing:
            raise ValueError(f"want a class label: {text!r} means that it is not known")
        if self.classes is not None and not is_declared:
            raise ValueError(f"want one of {', '.join(self.classes)}")
        return text


class _LoggedRow:
    """A logged row that a label names; `label` is what is stored, or will be."""

    __slots__ = ("event_us", "label", "own_id", "prefix", "row")

    def __init__(self, prefix: str, row: int, event_us: int, label: str | None, own_id: str | None) -> None:
        self.prefix = prefix
        self.row = row
        self.event_us = event_us
        self.label = label
        self.own_id = own_id


class _Logged(NamedTuple):
    """The logged rows that the labels of a request name, by id and by own id, and how many records of each spool file are in the log.

    `ambiguous` holds the own ids whose rows differ.
    """

    by_id: dict[tuple[str, int], _LoggedRow]
    by_own_id: dict[str, list[_LoggedRow]]
    drained: dict[str, int]
    ambiguous: set[str]


def write_labels(
    connection: sa.Connection,
    model: str,
    items: Sequence[LabelItem],
    machine_now: datetime,
    rules: LabelRules,
    *,
    is_drained: bool = True,
) -> list[LabelResult]:
    """Store labels within a transaction, and count what became of them.

    ``matched``: stored now; ``duplicate``: the same label is there; ``conflict``: another one is there (it stays, the
    new one is kept aside, up to `MOST_CONFLICTS` of one prediction); ``pending``: minted here but not drained yet, send it
    again; ``unknown``: no such prediction; ``too_late``: older than the rule allows, in model time, or minted so long ago
    that what was drained of its file is forgotten; ``ambiguous``: the own id stands for several rows whose features differ;
    ``invalid``: not a value of the target. A label with an own id goes to every row that carries it.

    Parameters
    ----------
    is_drained
        Whether all rows that were answered are in the log: before they are, an own id that is unknown is not counted.

    Returns
    -------
    One result for each item, in order.
    """
    watermark = lock_clock(connection, model).watermark_us
    writer = _Writer(model, watermark or 0, to_us(machine_now), rules)
    logged = _find(connection, model, items)
    if not rules.labels_all:
        several = [own_id for own_id, rows in logged.by_own_id.items() if len(rows) > 1]
        logged.ambiguous.update(ambiguous_own_ids(connection, model, several))
    results = [writer.judge(item, logged) for item in items]
    came = Counter([result.status for result in results])
    if not is_drained:
        came["unknown"] -= sum(i.own_id is not None and r.status == "unknown" for i, r in zip(items, results, strict=True))
    writer.write(connection, came)
    return results


def age_bin(age_us: int) -> int:
    """Return the bin of an age: the first holds a minute, each further one ends 19 % later than the one before.

    Examples
    --------
    >>> age_bin(60_000_000), age_bin(60_000_001), age_bin(120_000_000), age_us(4)
    (0, 1, 4, 120000000)
    """
    return max(0, math.ceil(_AGES_AN_OCTAVE * math.log2(max(age_us, 1) / _LEAST_AGE_US)))


def age_us(place: int) -> int:
    """Return where a bin of ages ends."""
    return round(_LEAST_AGE_US * 2 ** (place / _AGES_AN_OCTAVE))


class _Writer:
    """Judge items one after the other, and gather what is to be stored."""

    def __init__(self, model: str, model_now_us: int, received_us: int, rules: LabelRules) -> None:
        self._model = model
        self._model_now_us = model_now_us
        self._received_us = received_us
        self._rules = rules
        self._spellings: dict[tuple[type, object], str] = {}
        self._updates: list[dict[str, Any]] = []
        self._conflicts: list[dict[str, Any]] = []
        self._ages: list[int] = []

    def judge(self, item: LabelItem, logged: _Logged) -> LabelResult:
        """Return what becomes of a label."""
        try:
            label = self._spelling(item.label)
        except ValueError as error:
            return LabelResult("invalid", str(error))
        identity = item.id
        if identity is not None:
            row = logged.by_id.get((identity.prefix, identity.row))
            if row is not None:
                return self._joined([row], label)
            since_us = self._received_us - identity.time_ms * 1000
            if identity.spool not in logged.drained and since_us > OFFSETS_KEPT_US:
                self._ages.append(since_us)
                return _RESULTS["too_late"]
            is_drained = identity.seq < logged.drained.get(identity.spool, 0)
            return _RESULTS["unknown" if is_drained else "pending"]
        if item.own_id in logged.ambiguous:
            return _RESULTS["ambiguous"]
        return self._joined(logged.by_own_id.get(item.own_id, []) if item.own_id is not None else [], label)

    def _joined(self, rows: Sequence[_LoggedRow], label: str) -> LabelResult:
        statuses = [self._join(row, label) for row in rows]
        status: Status = max(statuses, key=_RANK.__getitem__, default="unknown")
        if status == "too_late":
            self._ages.append(self._model_now_us - rows[0].event_us)
        return _RESULTS[status]

    def _spelling(self, label: object) -> str:
        """Return the stored spelling of a label; most requests have few different ones."""
        if not isinstance(label, str | int):  # also a float, of which 0.0 and -0.0 are equal and are spelled otherwise
            return self._rules.stored(label)
        key = (type(label), label)
        spelling = self._spellings.get(key)
        if spelling is None:
            spelling = self._spellings[key] = self._rules.stored(label)
        return spelling

    def _join(self, row: _LoggedRow, label: str) -> Status:
        if row.label is not None:
            return "duplicate" if row.label == label else self._conflict(row, label)
        limit = self._rules.too_late_us
        if limit is not None and self._model_now_us - row.event_us > limit:
            return "too_late"
        row.label = label
        self._updates.append({"at_prefix": row.prefix, "at_row": row.row, "new_label": label})
        return "matched"

    def _conflict(self, row: _LoggedRow, label: str) -> Status:
        common = {"id_prefix": row.prefix, "row": row.row, "model": self._model}
        self._conflicts.append({**common, "label": label, "received_us": self._received_us, "known_us": self._model_now_us})
        return "conflict"

    def write(self, connection: sa.Connection, came: Mapping[Status, int]) -> None:
        """Store what was judged, and how many labels came, within a transaction."""
        counts = {(status, 0): n for status, n in came.items() if n and status not in ("pending", "too_late")}
        counts |= {("too_late", age): n for age, n in Counter(map(age_bin, self._ages)).items()}
        bucket_us = self._model_now_us // self._rules.bucket_us * self._rules.bucket_us
        key = {"model": self._model, "bucket_us": bucket_us}
        more: sa.ColumnElement[int] = sa.literal_column("excluded.labels")
        arrived = [{**key, "result": result, "age": age, "labels": n} for (result, age), n in counts.items()]
        upsert(connection, label_arrivals, arrived, [*key, "result", "age"], {"labels": label_arrivals.c.labels + more})
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
    """Store conflicts that are not there yet, up to the bound of each prediction: who sent many other labels will send more."""
    table = label_conflicts.c
    prefixes = sorted({conflict["id_prefix"] for conflict in conflicts})
    places = [conflict["row"] for conflict in conflicts]
    known: dict[tuple[str, int], set[str]] = {}
    for chunk in _chunks(prefixes):
        chosen = sa.select(table.id_prefix, table.row, table.label)
        for prefix, row, label in connection.execute(chosen.where(table.id_prefix.in_(chunk), table.row.between(min(places), max(places)))):
            known.setdefault((prefix, row), set()).add(label)
    missing = []
    for conflict in conflicts:
        labels = known.setdefault((conflict["id_prefix"], conflict["row"]), set())
        if conflict["label"] not in labels and len(labels) < MOST_CONFLICTS:
            labels.add(conflict["label"])
            missing.append(conflict)
    if missing:
        connection.execute(sa.insert(label_conflicts), missing)


def _drained_records(connection: sa.Connection, spools: set[str]) -> dict[str, int]:
    """Return how many records of each spool file are in the log; all there will ever be when it is closed."""
    records: dict[str, int] = {}
    for chunk in _chunks(sorted(spools)):
        chosen = sa.select(spool_offsets.c.spool, spool_offsets.c.records, spool_offsets.c.closed).where(spool_offsets.c.spool.in_(chunk))
        records |= {spool: 2**63 if closed else number for spool, number, closed in connection.execute(chosen)}
    return records


def _find(connection: sa.Connection, model: str, items: Sequence[LabelItem]) -> _Logged:
    table = predictions.c
    identities = [item.id for item in items if item.id is not None]
    logged = _Logged({}, {}, _drained_records(connection, {identity.spool for identity in identities}), set())
    places = [identity.row for identity in identities]
    for chunk in _chunks(sorted({identity.prefix for identity in identities})):
        condition = sa.and_(table.id_prefix.in_(chunk), table.row.between(min(places), max(places)), table.model == model)
        for row in _read(connection, condition):
            logged.by_id[row.prefix, row.row] = row
    for chunk in _chunks(sorted({item.own_id for item in items if item.own_id is not None})):
        for row in _read(connection, sa.and_(table.model == model, table.own_id.in_(chunk))):
            same = logged.by_id.setdefault((row.prefix, row.row), row)
            logged.by_own_id.setdefault(str(row.own_id), []).append(same)
    return logged


def _read(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Iterator[_LoggedRow]:
    table = predictions.c
    chosen = sa.select(table.id_prefix, table.row, table.event_us, table.label_true, table.own_id).where(condition)
    return starmap(_LoggedRow, connection.execute(chosen))


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def _stored_number(label: object) -> str:
    wrong = ValueError("want a finite number")
    if isinstance(label, str):
        raise ValueError(f"want a finite number, got the text {label[:_SHOWN_LETTERS]!r}")
    if isinstance(label, bool) or not isinstance(label, int | float):
        raise wrong
    try:
        number = float(label)
    except OverflowError:
        raise wrong from None
    if not math.isfinite(number):
        raise wrong
    if is_too_large(label):
        raise ValueError(f"want a whole number from -{MOST_WHOLE} to {MOST_WHOLE}, beyond which digits are lost")
    return repr(number)
