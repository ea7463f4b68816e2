"""What the label of a row stands for where labels were drawn: weights that make those that are there speak for all rows.

A draw knows its window at one moment. Rows that had a label then are known and speak for themselves; each of the others could be drawn
with the same probability, and a drawn one speaks for as many as there were to each drawn one. So every draw by itself gives an unbiased
sum over all rows of its window, however labels came before it, and whatever comes by itself after it is left out. A row of several draws
gets the mean of its weights in them, each draw counted by the share of the rows that it drew: unbiased as well, since that share depends
on no label. (The probability to be in any of the draws would do only if no label came by itself between them.)

References
----------
Särndal, Swensson, Wretman: Model assisted survey sampling, 1992, chapters 2 and 9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from service.prediction_log.tables import label_request_rows, label_requests, predictions

ANSWERED = 0.9  # of what a request drew must have its label; the rest is taken to be like it
_row, _request, _drawn = predictions.c, label_requests.c, label_request_rows.c

Times = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draw:
    """One label request as of a moment of model time.

    Attributes
    ----------
    start_us, end_us
        Its window, half-open, model time.
    received_us
        The machine time of the draw.
    eligible
        How many rows could be drawn, of those that are in the log still.
    drawn_us
        The model times of the rows that were drawn and are in the log, shape (n,).
    is_answered
        Which of these have their label, shape (n,).
    """

    number: int
    start_us: int
    end_us: int
    received_us: int
    eligible: float
    drawn_us: Times
    is_answered: npt.NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Of the eligible rows, the share that were drawn and have their label."""
        return int(self.is_answered.sum()) / self.eligible

    def is_answered_but_for(self, is_aside: npt.NDArray[np.bool_]) -> bool:
        """Return whether enough of it has a label to go by, rows that are set aside in neither.

        Examples
        --------
        >>> draw = Draw(1, 0, 9, 0, 50, np.arange(4), np.array([True, True, True, False]))
        >>> draw.is_answered_but_for(np.zeros(4, bool)), draw.is_answered_but_for(np.array([False, False, False, True]))
        (False, True)
        """
        counted = self.is_answered[~is_aside]
        return bool(len(counted)) and float(counted.mean()) >= ANSWERED


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled rows, one place each.

    Attributes
    ----------
    ids
        Their prediction ids.
    event_us
        Their model times.
    arrived_us, received_us
        The machine times at which they and their labels came.
    request
        The number of the request that drew them, 0 for none.
    """

    ids: list[str]
    event_us: Times
    arrived_us: Times
    received_us: Times
    request: Times

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def joined(cls, parts: Sequence[Labelled]) -> Labelled:
        """Return the rows of some ranges, one after the other."""
        empty = np.zeros(0, dtype=np.int64)
        columns = ("event_us", "arrived_us", "received_us", "request")
        ids = [name for part in parts for name in part.ids]
        return cls(ids, *(np.concatenate([empty, *(getattr(part, column) for part in parts)]) for column in columns))


class Weights(NamedTuple):
    """What labelled rows stand for: how many rows, and how that compares with the most of those that the same draws cover (0 to 1)."""

    rows: Floats
    relative: Floats


def weigh(labelled: Labelled, draws: Sequence[Draw]) -> Weights:
    """Return what labelled rows stand for by some draws; 0 for those that no draw speaks of, or that others speak for.

    Examples
    --------
    A thousand rows of which a quarter had a label; of the others a tenth was drawn. The last row got its label later, by itself.

    >>> draw = Draw(1, 0, 1000, 50, 750, np.zeros(75, np.int64), np.ones(75, bool))
    >>> early, drawn, later = (10, 0), (90, 1), (90, 0)
    >>> received, request = np.array([early, drawn, later]).T
    >>> rows = Labelled(["a-0", "a-1", "a-2"], np.arange(3), np.zeros(3, np.int64), received, request)
    >>> weigh(rows, [draw]).rows.tolist()
    [1.0, 10.0, 0.0]
    """
    total, counted, domain = np.zeros(len(labelled)), np.zeros(len(labelled)), np.zeros(len(labelled), dtype=np.int64)
    for place, draw in enumerate(draws):
        share = draw.share
        is_of_it = (labelled.event_us >= draw.start_us) & (labelled.event_us < draw.end_us)
        is_drawn = labelled.request == draw.number
        is_of_it &= is_drawn | (labelled.arrived_us <= draw.received_us)
        had_label = labelled.received_us <= draw.received_us
        was_drawn_before = (labelled.request > 0) & (labelled.request < draw.number)
        stands_for = np.where(is_drawn, 1.0 / share, np.where(had_label | was_drawn_before, 1.0, 0.0))
        total += np.where(is_of_it, share * stands_for, 0.0)
        counted += np.where(is_of_it, share, 0.0)
        domain = np.where(is_of_it, domain * 31 + place + 1, domain)
    rows = np.divide(total, counted, out=np.zeros(len(labelled)), where=counted > 0)
    _, place_of = np.unique(domain, return_inverse=True)
    most = np.zeros(int(place_of.max(initial=-1)) + 1)
    np.maximum.at(most, place_of, rows)
    return Weights(rows, np.divide(rows, most[place_of], out=np.zeros(len(labelled)), where=rows > 0))


def evenly(ids: Sequence[str], relative: Floats) -> npt.NDArray[np.bool_]:
    """Choose some rows so that those chosen stand for equally many: each with its relative weight as probability, by its id alone.

    Examples
    --------
    >>> evenly(["a-0", "a-1", "a-2"], np.array([1.0, 0.0, 1.0])).tolist()
    [True, False, True]
    """
    chance = np.array([int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest()) / 2**48 for name in ids])
    return np.asarray(chance < relative, dtype=bool)


def read_draws(connection: sa.Connection, model: str, known_by: int) -> list[Draw]:
    """Read the label requests of a model as of a model time, the oldest first; labels that came later are not there yet."""
    is_same = sa.and_(_row.id_prefix == _drawn.id_prefix, _row.row == _drawn.row)
    is_known = sa.and_(_request.model == model, _request.drawn_us <= known_by)
    chosen = (
        sa.select(
            _request.number, _request.start_us, _request.end_us, _request.received_us, _request.eligible, _request.drawn,
            _row.event_us, sa.case((sa.and_(_row.label_true.is_not(None), _row.labelled_us <= known_by), 1), else_=0),
        )
        .select_from(label_requests.join(label_request_rows, _drawn.request == _request.number).join(predictions, is_same))
        .where(is_known)
        .order_by(_request.number)
    )  # fmt: skip
    stored = np.array(connection.execute(chosen).all(), dtype=np.int64).reshape(-1, 8)
    numbers, firsts = np.unique(stored[:, 0], return_index=True)
    parts = np.split(stored, firsts[1:]) if len(numbers) else []
    return [_draw(part) for part in parts]


def _draw(rows: npt.NDArray[np.int64]) -> Draw:
    number, start_us, end_us, received_us, eligible, drawn = rows[0, :6].tolist()
    return Draw(number, start_us, end_us, received_us, eligible * len(rows) / drawn, rows[:, 6], rows[:, 7].astype(bool))


def read_labelled(connection: sa.Connection, model: str, start_us: int, end_us: int, known_by: int) -> Labelled:
    """Read which rows of a range of model time had a label by a model time, in the order of time."""
    is_same = sa.and_(_row.id_prefix == _drawn.id_prefix, _row.row == _drawn.row)
    chosen = (
        sa.select(
            _row.id_prefix, _row.row, _row.event_us, _row.arrived_us,
            sa.func.coalesce(_row.label_received_us, 0), sa.func.coalesce(_drawn.request, 0),
        )
        .select_from(predictions.outerjoin(label_request_rows, is_same))
        .where(_row.model == model, _row.event_us >= start_us, _row.event_us < end_us)
        .where(_row.label_true.is_not(None), _row.labelled_us <= known_by)
        .order_by(_row.event_us, _row.arrived_us, _row.id_prefix, _row.row)
    )  # fmt: skip
    stored = connection.execute(chosen).all()
    numbers = np.array([each[2:] for each in stored], dtype=np.int64).reshape(-1, 4)
    return Labelled([f"{prefix}-{row}" for prefix, row, *_ in stored], *numbers.T)
