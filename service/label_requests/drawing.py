"""Draw predictions without a label uniformly at random, once a key, and say later which of them have got one.

What is drawn is read in one statement, so of one moment, beside whoever writes; only storing it takes the write lock. Where another draw of
the model came in between, it is drawn again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from service.errors import LabelRequestConflictError, NothingToDrawError, OverloadedError, UnknownLabelRequestError
from service.prediction_log.tables import clocks, hold_tables, label_request_rows, label_requests, layouts, lock_clock, predictions, prepare
from training.clock import from_us, to_us
from training.storage.database import Database

MOST_DRAWN = 10_000
KEY_LETTERS = 64
_KEY = re.compile(rf"[A-Za-z0-9._-]{{1,{KEY_LETTERS}}}", re.ASCII)
_MOST_TRIES = 5
_row, _request, _drawn = predictions.c, label_requests.c, label_request_rows.c


def is_key(text: str) -> bool:
    """Return whether a text may name a label request: it stands in a path."""
    return _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a label request asks for.

    Attributes
    ----------
    key
        Names it: the same key is the same request.
    k
        How many predictions, from 1 to `MOST_DRAWN`; all that may be drawn where there are fewer.
    start_us, end_us
        The window in model time, half-open; None for the default of `DrawRule`.
    """

    key: str
    k: int
    start_us: int | None = None
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class DrawRule:
    """What may be drawn of a model.

    Attributes
    ----------
    window_us
        How far before its end a window begins that says no beginning: `watching.window`.
    too_late_us
        Older rows are not drawn, as their label would not be taken; None for any age.
    written
        Writes a model time for an error.
    """

    window_us: int
    too_late_us: int | None = None
    written: Callable[[int], object] = from_us

    def span(self, start_us: int | None, end_us: int | None) -> str:
        """Say a window in words.

        Examples
        --------
        >>> DrawRule(10, written=int).span(None, 7)
        'from (the default) to 7'
        """
        start, end = ("(the default)" if at is None else self.written(at) for at in (start_us, end_us))
        return f"from {start} to {end}"


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """A label request that was drawn.

    Attributes
    ----------
    start_us, end_us
        The window that was drawn from, half-open, model time.
    rows
        How many rows were in it.
    eligible
        How many of them had no label and were not drawn before.
    drawn
        How many were drawn.
    drawn_us
        Model time when it was drawn.
    """

    number: int
    model: str
    key: str
    k: int
    start_us: int
    end_us: int
    rows: int
    eligible: int
    drawn: int
    drawn_us: int

    @property
    def probability(self) -> float:
        """With what probability each eligible row was drawn."""
        return self.drawn / self.eligible


@dataclass(frozen=True, slots=True)
class DrawnPrediction:
    """A prediction that was drawn, as the log has it; `output` is the label or the value that was answered, `label` what came true."""

    id: str
    event_us: int
    version: str
    own_id: str | None
    features: dict[str, Any]
    output: str | float | None
    probabilities: dict[str, float] | None
    label: str | None


_COLUMNS = [_request[name] for name in LabelRequest.__slots__]


class _Draw(NamedTuple):
    """What was drawn of a window: how many rows it has, how many were eligible, which of them it is."""

    rows: int
    eligible: int
    keys: list[tuple[str, int]]


class LabelRequests:
    """Draw label requests, and look at them again.

    Parameters
    ----------
    database
        Where the prediction log is.
    clock
        Returns machine time.

    Notes
    -----
    Every method raises `training.errors.DatabaseUnavailableError` when the database is gone or too busy.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def draw(self, model: str, wanted: Wanted, rule: DrawRule) -> LabelRequest:
        """Return the request of a key, drawn now where there was none.

        Every set of `k` eligible rows is drawn with the same probability. Rows that are further ahead than model time, that have a label,
        that were drawn before or whose label would come too late are not eligible.

        Raises
        ------
        LabelRequestConflictError
            It was drawn with another `k` or window.
        NothingToDrawError
            No row is eligible, or the window ends before it begins.
        OverloadedError
            Others draw of this model all the time.
        """
        prepare(self._database)
        for _ in range(_MOST_TRIES):
            request = self._draw(model, wanted, rule)
            if request is not None:
                return request
        raise OverloadedError(f"other label requests of {model} are drawn just now; try again soon")

    def find(self, model: str, key: str) -> LabelRequest:
        """Return the request of a key; raises UnknownLabelRequestError."""
        prepare(self._database)
        with self._database.read() as connection:
            request, _ = _find(connection, model, key)
        if request is None:
            raise UnknownLabelRequestError(f"no label request {key!r} of {model} was drawn")
        return request

    def predictions(self, request: LabelRequest) -> list[DrawnPrediction]:
        """Return what a request drew, in the order of time, as far as it is in the log still."""
        with self._database.read() as connection:
            return _read_drawn(connection, request)

    def progress(self, model: str) -> list[tuple[LabelRequest, int, int]]:
        """Return the requests of a model, the newest first, each with how many of its predictions have a label by now, and how many not."""
        prepare(self._database)
        is_same = sa.and_(_row.id_prefix == _drawn.id_prefix, _row.row == _drawn.row)
        counts = (
            sa.select(_drawn.request, sa.func.count(_row.label_true).label("answered"), sa.func.count().label("present"))
            .select_from(label_request_rows.join(predictions, is_same))
            .group_by(_drawn.request)
            .cte("counts")
        )
        chosen = sa.select(*_COLUMNS, sa.func.coalesce(counts.c.answered, 0), sa.func.coalesce(counts.c.present, 0))
        with self._database.read() as connection:
            among = label_requests.outerjoin(counts, counts.c.request == _request.number)
            stored = connection.execute(chosen.select_from(among).where(_request.model == model).order_by(_request.number.desc())).all()
        return [(LabelRequest(*each[:-2]), each[-2], each[-1] - each[-2]) for each in stored]

    def _draw(self, model: str, wanted: Wanted, rule: DrawRule) -> LabelRequest | None:
        """Draw once; None where another request was drawn meanwhile."""
        with self._database.read() as connection:
            last = _last_number(connection, model)
            request, values, keys = self._prepared(connection, model, wanted, rule)
        if request is not None:
            return request
        with self._database.write() as connection:
            hold_tables(connection)
            lock_clock(connection, model)
            return _store(connection, values, keys) if _last_number(connection, model) == last else None

    def _prepared(
        self, connection: sa.Connection, model: str, wanted: Wanted, rule: DrawRule
    ) -> tuple[LabelRequest | None, dict[str, Any], list[tuple[str, int]]]:
        """Return the request of the key, if there is one; else what is to be stored of one, and the rows that were drawn."""
        request, sent = _find(connection, model, wanted.key)
        if request is not None:
            _refuse_another(request, sent, wanted, rule)
            return request, {}, []
        received_us = to_us(self._clock())
        watermark_us = connection.scalar(sa.select(clocks.c.watermark_us).where(clocks.c.model == model))
        if watermark_us is None:
            raise NothingToDrawError(f"{model} has no prediction in the log yet")
        end_us = min(wanted.end_us if wanted.end_us is not None else watermark_us + 1, watermark_us + 1)
        start_us = wanted.start_us if wanted.start_us is not None else end_us - rule.window_us
        if end_us <= start_us:
            raise NothingToDrawError(
                f"the window {rule.span(start_us, end_us)} ends before it begins (it ends at model time at the latest)"
            )
        earliest_us = start_us if rule.too_late_us is None else watermark_us - rule.too_late_us
        if end_us <= earliest_us:
            late = f"older than {rule.written(earliest_us)} would be too late (labels.too_late)"
            raise NothingToDrawError(f"the window {rule.span(start_us, end_us)} is over: labels of predictions {late}")
        start_us = max(start_us, earliest_us)
        draw = _draw_rows(connection, model, start_us, end_us, wanted.k)
        if not draw.keys:
            span = rule.span(start_us, end_us)
            why = f"each of the {draw.rows} predictions of {model} {span} has a label or was drawn before"
            raise NothingToDrawError(why if draw.rows else f"{model} has no prediction {span}")
        values = {
            "model": model,
            "key": wanted.key,
            "k": wanted.k,
            "sent_from_us": wanted.start_us,
            "sent_to_us": wanted.end_us,
            "start_us": start_us,
            "end_us": end_us,
            "rows": draw.rows,
            "eligible": draw.eligible,
            "drawn": len(draw.keys),
            "drawn_us": watermark_us,
            "received_us": received_us,
        }
        return None, values, draw.keys


def _draw_rows(connection: sa.Connection, model: str, start_us: int, end_us: int, k: int) -> _Draw:
    """Draw `k` eligible rows of a window, and count it; in one statement, so that both are of one moment."""
    drawn_before = sa.select(_drawn.request).where(_drawn.id_prefix == _row.id_prefix, _drawn.row == _row.row)
    is_eligible = sa.and_(_row.label_true.is_(None), ~sa.exists(drawn_before))
    within = sa.and_(_row.model == model, _row.event_us >= start_us, _row.event_us < end_us)
    n_eligible = sa.func.count(sa.case((is_eligible, 1))).label("eligible")
    sizes = sa.select(sa.func.count().label("n_rows"), n_eligible).where(within).cte("sizes")
    chosen = sa.select(_row.id_prefix, _row.row).where(within, is_eligible).order_by(sa.func.random()).limit(k).cte("chosen")
    both = sa.select(sizes.c.n_rows, sizes.c.eligible, chosen.c.id_prefix, chosen.c.row).select_from(sizes.outerjoin(chosen, sa.true()))
    read = connection.execute(both).all()
    return _Draw(read[0].n_rows, read[0].eligible, [(prefix, row) for _, _, prefix, row in read if prefix is not None])


def _find(connection: sa.Connection, model: str, key: str) -> tuple[LabelRequest | None, tuple[int | None, int | None]]:
    """Return the request of a key, None without one, and its window as it was sent."""
    chosen = sa.select(*_COLUMNS, _request.sent_from_us, _request.sent_to_us).where(_request.model == model, _request.key == key)
    stored = connection.execute(chosen).one_or_none()
    return (None, (None, None)) if stored is None else (LabelRequest(*stored[:-2]), (stored[-2], stored[-1]))


def _refuse_another(request: LabelRequest, sent: tuple[int | None, int | None], wanted: Wanted, rule: DrawRule) -> None:
    if (request.k, *sent) == (wanted.k, wanted.start_us, wanted.end_us):
        return
    before = f"k = {request.k}, {rule.span(*sent)}"
    now = f"k = {wanted.k}, {rule.span(wanted.start_us, wanted.end_us)}"
    raise LabelRequestConflictError(f"label request {request.key!r} was drawn with {before}; got {now}: take another key")


def _last_number(connection: sa.Connection, model: str) -> int | None:
    number: int | None = connection.scalar(sa.select(sa.func.max(_request.number)).where(_request.model == model))
    return number


def _store(connection: sa.Connection, values: dict[str, Any], keys: Sequence[tuple[str, int]]) -> LabelRequest:
    number = connection.execute(sa.insert(label_requests).values(values).returning(_request.number)).scalar_one()
    drawn = [{"id_prefix": prefix, "row": row, "request": number} for prefix, row in keys]
    connection.execute(sa.insert(label_request_rows), drawn)
    return LabelRequest(number, *(values[name] for name in LabelRequest.__slots__[1:]))


def _read_drawn(connection: sa.Connection, request: LabelRequest) -> list[DrawnPrediction]:
    is_same = sa.and_(_row.id_prefix == _drawn.id_prefix, _row.row == _drawn.row)
    chosen = (
        sa.select(
            _row.id_prefix, _row.row, _row.event_us, _row.version, _row.own_id, _row.features, _row.label, _row.value,
            _row.probabilities, _row.label_true, layouts.c.content,
        )
        .select_from(label_request_rows.join(predictions, is_same).join(layouts, layouts.c.layout == _row.layout))
        .where(_drawn.request == request.number)
        .order_by(_row.event_us, _row.id_prefix, _row.row)
    )  # fmt: skip
    return [_prediction_of(stored) for stored in connection.execute(chosen)]


def _prediction_of(stored: Any) -> DrawnPrediction:
    layout = orjson.loads(stored.content)
    chances = None if stored.probabilities is None else dict(zip(layout["classes"], orjson.loads(stored.probabilities), strict=True))
    return DrawnPrediction(
        id=f"{stored.id_prefix}-{stored.row}",
        event_us=stored.event_us,
        version=stored.version,
        own_id=stored.own_id,
        features=dict(zip(layout["names"], orjson.loads(stored.features), strict=True)),
        output=stored.value if stored.label is None else stored.label,
        probabilities=chances,
        label=stored.label_true,
    )
