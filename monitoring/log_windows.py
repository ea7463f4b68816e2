"""Windows of one model out of the prediction log, all as of a moment of model time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from monitoring.judging.silence import Silence, has_arrival_clock, silence
from service.label_requests.weights import Draw, Labelled, Weights, evenly, read_draws, read_labelled, weigh
from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.reading import LoggedRows, is_known
from service.prediction_log.tables import predictions
from training.artifacts.manifest import generation_of
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.policies import LabelPolicy
from training.profiles.bins import Bins, Profile
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.storage.database import Database

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open range of model time, [start_us, end_us)."""

    start_us: int
    end_us: int


def silence_of(log: PredictionLog, spec: ModelSpec, watermark_us: int, now_us: int) -> Silence | None:
    """Return how long no row has come (machine time) and how long is usual; None where rows are not dated by their arrival."""
    if not has_arrival_clock(spec.schema):
        return None
    since_us = watermark_us - duration_us(spec.watching.window)
    starts = sorted({start for _, start, _ in log.rows_by_bucket(spec.model, since_us, watermark_us + 1)})
    return silence(watermark_us, now_us, starts, duration_us(spec.watching.bucket))


class _Span(Protocol):
    @property
    def start_us(self) -> int: ...
    @property
    def end_us(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Windows:
    """Read one model's windows; labels that came after a slot are not there yet for it.

    Attributes
    ----------
    database, log
        Where the rows lie.
    model, schema, labels
        Whose rows, how to decode them, when their labels are due.
    """

    database: Database
    log: PredictionLog
    model: str
    schema: Schema
    labels: LabelPolicy

    def profile(self, bins: Bins, start_us: int, end_us: int, slot_us: int, aside: Sequence[Range] = ()) -> Profile:
        """Return the counts of a window under `bins` as of a slot, without buckets that begin in a range set `aside`; zero without any."""
        merged = Profile(bins.id, 0, {c.name: np.zeros(c.size, dtype=np.int64) for c in bins.columns}, {}, {})
        for bucket_us, part in self.log.buckets(self.model, bins.id, start_us, end_us, known_before_us=slot_us):
            if not any(r.start_us <= bucket_us < r.end_us for r in aside):
                merged = merged.merge(part)
        return merged

    def rejects(self, start_us: int, end_us: int, bucket_us: int) -> dict[int, dict[tuple[str, str], int]]:
        """Return how many rows the schema refused, by bucket, field and code."""
        if not self.log.rejected(self.model, start_us, end_us):
            return {}
        rejects = {start: self.log.rejected(self.model, start, start + bucket_us) for start in range(start_us, end_us, bucket_us)}
        return {start: counts for start, counts in rejects.items() if counts}

    def matured_end(self, model_now_us: int) -> int | None:
        """Return the exclusive end of the rows whose labels should be in at `model_now_us`; None while there are none.

        By time: `labels.delay` earlier. By rows: at least `labels.delay_rows` rows before `model_now_us` are newer; the
        end never falls inside a tie.
        """
        self.log.prepare()
        if self.labels.delay_rows is None:
            delay = 0 if self.labels.delay is None else duration_us(self.labels.delay)
            return model_now_us - delay
        if self.labels.delay_rows == 0:
            return model_now_us
        table = predictions.c
        chosen = (
            sa.select(table.event_us)
            .where(table.model == self.model, table.event_us < model_now_us, is_known(model_now_us - 1))
            .order_by(table.event_us.desc())
            .limit(1)
            .offset(self.labels.delay_rows - 1)
        )
        with self.database.read() as connection:
            return connection.scalar(chosen)

    def rows_by_bucket(self, start_us: int, end_us: int, width_us: int) -> dict[int, int]:
        """Return how many rows there are, labelled or not, by the beginning of their bucket."""
        self.log.prepare()
        at = predictions.c.event_us
        number = (at // width_us).label("number")
        chosen = sa.select(number, sa.func.count()).where(predictions.c.model == self.model, at >= start_us, at < end_us).group_by(number)
        with self.database.read() as connection:
            return {int(number) * width_us: n for number, n in connection.execute(chosen)}

    def labelled_times(
        self, start_us: int, end_us: int, known_by_us: int, aside: Sequence[Range] = (), requested: Sequence[Range] = ()
    ) -> Times:
        """Return the model times of the labelled rows that `labelled` has, in order."""
        self.log.prepare()
        table = predictions.c
        chosen = (
            sa.select(table.event_us)
            .where(
                table.model == self.model,
                table.event_us >= start_us,
                table.event_us < end_us,
                table.label_true.is_not(None),
                table.labelled_us <= known_by_us,
            )
            .order_by(table.event_us)
        )
        with self.database.read() as connection:
            times = np.array(connection.scalars(chosen).all(), dtype=np.int64)  # at once: one by one takes ten times as long
        times = times[is_kept(times, (*aside, *requested))]
        if not requested:
            return times
        drawn, weights = self._drawn(start_us, end_us, known_by_us, aside, requested)
        is_used = (weights.rows > 0) & is_kept(drawn.event_us, aside)
        return np.sort(np.concatenate([times, drawn.event_us[is_used]]))

    def rows(self, start_us: int, end_us: int, known_by_us: int, aside: Sequence[Range] = (), requested: Sequence[Range] = ()) -> Rows:
        """Return all rows of a range, labelled or not, without what is set `aside`.

        Of the labels in `requested` ranges those are left that stand for equally many rows: what is learned from needs no weights.
        """
        logged = self.log.rows(self.model, start_us, end_us, self.schema, known_by=known_by_us)
        rows = logged.rows
        if requested:
            rows = rows.unlabelled(~self._is_chosen(logged, start_us, end_us, known_by_us, aside, requested))
        return rows.take(is_kept(rows.time_us, aside))

    def learnable_ids(
        self, start_us: int, end_us: int, known_by_us: int, aside: Sequence[Range] = (), requested: Sequence[Range] = ()
    ) -> list[str]:
        """Return the prediction ids of the rows with a label that `rows` has, in order."""
        logged = self.log.rows(self.model, start_us, end_us, self.schema, labelled_only=True, known_by=known_by_us)
        if requested:
            logged = take(logged, self._is_chosen(logged, start_us, end_us, known_by_us, aside, requested))
        return take(logged, is_kept(logged.rows.time_us, aside)).ids

    def _is_chosen(  # 7 parameters: those of a range, and its rows
        self, logged: LoggedRows, start_us: int, end_us: int, known_by_us: int, aside: Sequence[Range], requested: Sequence[Range]
    ) -> npt.NDArray[np.bool_]:
        """Return of which rows the label is learned from: of those in requested ranges, that stand for equally many rows."""
        drawn, weights = self._drawn(start_us, end_us, known_by_us, aside, requested)
        chosen = {name for name, is_chosen in zip(drawn.ids, evenly(drawn.ids, weights.relative).tolist(), strict=True) if is_chosen}
        is_chosen = np.fromiter(map(chosen.__contains__, logged.ids), np.bool_, len(logged))
        return np.asarray(is_kept(logged.rows.time_us, requested) | is_chosen, dtype=bool)

    def labelled(
        self, start_us: int, end_us: int, known_by_us: int, aside: Sequence[Range] = (), requested: Sequence[Range] = ()
    ) -> LoggedRows:
        """Return the labelled rows of a range with what was said about them, without what is set `aside`.

        Parameters
        ----------
        requested
            Ranges in which labels were drawn and answered: the rows in them that stand for others, or themselves, with their weights.
        """
        labelled = self.log.rows(self.model, start_us, end_us, self.schema, labelled_only=True, known_by=known_by_us)
        labelled = take(labelled, is_kept(labelled.rows.time_us, aside))
        is_plain = is_kept(labelled.rows.time_us, requested)
        if is_plain.all():
            return labelled
        drawn, weights = self._drawn(start_us, end_us, known_by_us, aside, requested)
        stands_for = dict(zip(drawn.ids, weights.rows.tolist(), strict=True))
        each = np.where(is_plain, 1.0, np.array([stands_for.get(name, 0.0) for name in labelled.ids]))
        return take(replace(labelled, weights=each), each > 0)

    def draws(self, known_by_us: int, aside: Sequence[Range] = ()) -> list[Draw]:
        """Return the label requests that are answered as of a model time, what is set `aside` left out."""
        self.log.prepare()
        with self.database.read() as connection:
            draws = read_draws(connection, self.model, known_by_us)
        return [draw for draw in draws if draw.is_answered_but_for(~is_kept(draw.drawn_us, aside))]

    def _drawn(
        self, start_us: int, end_us: int, known_by_us: int, aside: Sequence[Range], requested: Sequence[Range]
    ) -> tuple[Labelled, Weights]:
        """Return the labelled rows of the requested ranges within a range, in order, and what they stand for."""
        spans = [(max(start_us, each.start_us), min(end_us, each.end_us)) for each in requested]
        with self.database.read() as connection:
            parts = [read_labelled(connection, self.model, start, end, known_by_us) for start, end in sorted(spans) if start < end]
        labelled = Labelled.joined(parts)
        return labelled, weigh(labelled, self.draws(known_by_us, aside))


def ranges(spans: Iterable[_Span]) -> tuple[Range, ...]:
    """Return spans without their reasons."""
    return tuple(Range(span.start_us, span.end_us) for span in spans)


def is_kept(times: Times, aside: Iterable[Range]) -> npt.NDArray[np.bool_]:
    """Return which times lie outside of all ranges, shape (n,).

    Examples
    --------
    >>> is_kept(np.array([1, 5, 9]), [Range(4, 9)]).tolist()
    [True, False, True]
    """
    spans = np.array(sorted((span.start_us, span.end_us) for span in aside), dtype=np.int64).reshape(-1, 2)
    ends_us = np.maximum.accumulate(spans[:, 1])
    begun = np.searchsorted(spans[:, 0], times, side="right")
    return np.asarray((begun == 0) | (times >= np.append(ends_us, 0)[begun - 1]), dtype=bool)


def is_of_generation(logged: LoggedRows, *versions: str) -> npt.NDArray[np.bool_]:
    """Return which rows one of some versions answered, or another one of the same members; shape (n,)."""
    names, place = np.unique(logged.version.astype(str), return_inverse=True)
    generations = {generation_of(version) for version in versions}
    is_of_it = np.array([generation_of(each) in generations for each in names.tolist()], dtype=np.bool_)
    return np.asarray(is_of_it[place], dtype=np.bool_)


def of_generation(logged: LoggedRows, *versions: str) -> LoggedRows:
    """Return the logged rows that one of some versions answered, or another one of the same members."""
    return take(logged, is_of_generation(logged, *versions))


def take(logged: LoggedRows, keep: npt.NDArray[np.bool_]) -> LoggedRows:
    """Return the logged rows a mask keeps."""
    if bool(keep.all()):
        return logged
    ids = [name for name, kept in zip(logged.ids, keep.tolist(), strict=True) if kept]
    weights = None if logged.weights is None else logged.weights[keep]
    return LoggedRows(logged.rows.take(keep), logged.version[keep], logged.prediction.take(keep), ids, logged.labelled_us[keep], weights)


def newest(times: Times, n: int) -> int | None:
    """Return where the newest `n` of some ordered times begin, ties kept whole; None when there are fewer.

    Examples
    --------
    >>> newest(np.array([1, 2, 2, 3]), 2)
    2
    """
    return int(times[-n]) if 0 < n <= len(times) else None


def learnable(history: Rows, logged: Rows, start_us: int | None, end_us: int) -> Rows:
    """Return the rows to learn from: stored history, then the log after it, cut to [start_us, end_us); no row twice.

    Rows of the log that are not newer than the history's last row are left out.
    """
    last = int(history.time_us[-1]) if len(history) else None
    newer = logged if last is None else logged.between(last + 1, end_us)
    parts = [part for part in (history, newer) if len(part)]
    joined = Rows.concat(parts) if parts else newer
    first = int(joined.time_us[0]) if len(joined) else end_us
    return joined.between(first if start_us is None else start_us, end_us)
