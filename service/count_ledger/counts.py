"""Counts by bucket: added exactly in any order, read as of a moment of model time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from service.count_ledger.tables import bucket_counts
from training.profiles.bins import Profile

KEY = [column.name for column in bucket_counts.primary_key]
_BUCKET = KEY.index("bucket_us")
_BUCKETS_AT_ONCE = 200  # of one statement that reads
_SELECTED = sa.select(*(bucket_counts.c[name] for name in KEY), bucket_counts.c.profile)
_STORED = _SELECTED.where(
    bucket_counts.c.model == sa.bindparam("of_model"),
    bucket_counts.c.bins_id == sa.bindparam("of_bins"),
    bucket_counts.c.bucket_us.in_(sa.bindparam("of_buckets", expanding=True)),
)
_PUT = (
    f"INSERT INTO {bucket_counts.name} ({', '.join(KEY)}, rows, profile) VALUES ({{}})"
    f" ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET rows = excluded.rows, profile = excluded.profile"
)


class Counts(dict[tuple[Any, ...], Profile]):
    """Profiles by the values of `KEY`."""


@dataclass(frozen=True, slots=True)
class CountedRows:
    """The profile of some rows of one version in one bucket of model time.

    Attributes
    ----------
    width_us
        The width of the bucket; 0 where it is not known.
    known_us
        The bucket of model time from which on these rows are there; None where it is their own.
    segment
        Which of the rows; empty for all.
    """

    model: str
    version: str
    bucket_us: int
    rows: int
    profile: Profile
    width_us: int = 0
    known_us: int | None = None
    segment: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """The values of the primary key, in the order of `KEY`."""
        known_us = self.bucket_us if self.known_us is None else self.known_us
        return self.model, self.profile.bins_id, self.bucket_us, self.segment, self.width_us, known_us, self.version


class LedgerRow(NamedTuple):
    """Counts of some rows of all versions in one bucket of model time, for one segment (empty: all rows)."""

    bucket_us: int
    width_us: int
    segment: str
    profile: Profile


def add_up(counts: Counts, counted: Iterable[CountedRows]) -> None:
    """Add to counts in memory."""
    for one in counted:
        counts[one.key] = counts[one.key].merge(one.profile) if one.key in counts else one.profile


def add_counts(connection: sa.Connection, counted: Iterable[CountedRows]) -> None:
    """Add counts to those that are there, under the lock of the clock of each model."""
    merged = Counts()
    add_up(merged, counted)
    for model, bins_id in sorted({(key[0], key[1]) for key in merged}):
        buckets = sorted({key[_BUCKET] for key in merged if key[:2] == (model, bins_id)})
        for start in range(0, len(buckets), _BUCKETS_AT_ONCE):
            wanted = {"of_model": model, "of_bins": bins_id, "of_buckets": buckets[start : start + _BUCKETS_AT_ONCE]}
            for *key, stored in connection.execute(_STORED, wanted):
                if (place := tuple(key)) in merged:
                    merged[place] = Profile.from_json(stored).merge(merged[place])
    put_counts(connection, merged.items())


def read_counts(
    connection: sa.Connection, model: str, bins_id: str, start_us: int, end_us: int, *, of: tuple[str, str] | None = None
) -> Counts:
    """Read the counts of the buckets that begin in a range, as they are stored: all, or those of a segment and version."""
    among = sa.true() if of is None else sa.and_(bucket_counts.c.segment == of[0], bucket_counts.c.version == of[1])
    stored = connection.execute(_SELECTED.where(_in_range(model, bins_id, start_us, end_us), among))
    return Counts({tuple(key): Profile.from_json(profile) for *key, profile in stored})


def remove_counts(connection: sa.Connection, model: str, bins_id: str, start_us: int, end_us: int) -> None:
    """Delete the counts of the buckets that begin in a range."""
    connection.execute(sa.delete(bucket_counts).where(_in_range(model, bins_id, start_us, end_us)))


def remove_keys(connection: sa.Connection, keys: Sequence[tuple[Any, ...]]) -> None:
    """Delete counts by the values of `KEY`."""
    one = sa.and_(*(bucket_counts.c[name] == sa.bindparam(f"of_{name}") for name in KEY))
    connection.execute(
        sa.delete(bucket_counts).where(one), [{f"of_{name}": value for name, value in zip(KEY, key, strict=True)} for key in keys]
    )


def _in_range(model: str, bins_id: str, start_us: int, end_us: int) -> sa.ColumnElement[bool]:
    table = bucket_counts.c
    return sa.and_(table.model == model, table.bins_id == bins_id, table.bucket_us >= start_us, table.bucket_us < end_us)


def put_counts(connection: sa.Connection, counts: Iterable[tuple[tuple[Any, ...], Profile]]) -> None:
    """Store counts by the values of `KEY`, in place of those that are there."""
    rows = [(*key, profile.rows, profile.to_json().decode()) for key, profile in counts]
    if rows:
        place = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        connection.exec_driver_sql(_PUT.format(", ".join([place] * len(rows[0]))), rows)


class Wanted(NamedTuple):
    """Which counts are wanted: of a model, under some bins, of one segment (empty: all rows), of one version or (None) of all."""

    model: str
    bins_id: str
    segment: str = ""
    version: str | None = None


def read_buckets(
    connection: sa.Connection, wanted: Wanted, start_us: int, end_us: int, known_before_us: int | None = None
) -> list[tuple[int, Profile]]:
    """Return the counts of the buckets that begin in a range, one profile a bucket, in time order; widths added, and versions.

    Parameters
    ----------
    known_before_us
        Only what was there as of this slot; None for all there is.
    """
    table = bucket_counts.c
    chosen = sa.select(table.bucket_us, table.profile).where(
        table.model == wanted.model,
        table.bins_id == wanted.bins_id,
        table.segment == wanted.segment,
        table.bucket_us >= start_us,
        table.bucket_us < end_us,
    )
    if known_before_us is not None:
        chosen = chosen.where(table.known_us < known_before_us)
    if wanted.version is not None:
        chosen = chosen.where(table.version == wanted.version)
    order = (table.bucket_us, table.width_us, table.known_us, table.version)
    merged: dict[int, Profile] = {}
    for bucket_us, stored in connection.execute(chosen.order_by(*order)):
        part = Profile.from_json(stored)
        merged[bucket_us] = merged[bucket_us].merge(part) if bucket_us in merged else part
    return list(merged.items())


def read_rows_by_bucket(connection: sa.Connection, model: str, start_us: int, end_us: int) -> list[tuple[str, int, int]]:
    """Return the bins, and the buckets that begin in a range with how many rows each has; the counts themselves are not read."""
    table = bucket_counts.c
    chosen = (
        sa.select(table.bins_id, table.bucket_us, sa.func.sum(table.rows))
        .where(table.model == model, table.segment == "", table.bucket_us >= start_us, table.bucket_us < end_us)
        .group_by(table.bins_id, table.bucket_us)
        .order_by(table.bins_id, table.bucket_us)
    )
    return [(bins_id, int(bucket_us), int(rows)) for bins_id, bucket_us, rows in connection.execute(chosen)]


def read_ledger(connection: sa.Connection, model: str, bins_id: str, known_from_us: int | None, known_before_us: int) -> list[LedgerRow]:
    """Return what became known in a range of model time: the rows that are new in a slot when its ends are two slots.

    Parameters
    ----------
    known_from_us
        None for what was there before as well.
    """
    table = bucket_counts.c
    chosen = sa.select(table.bucket_us, table.width_us, table.segment, table.profile).where(
        table.model == model, table.bins_id == bins_id, table.known_us < known_before_us
    )
    if known_from_us is not None:
        chosen = chosen.where(table.known_us >= known_from_us)
    merged: dict[tuple[int, int, str], Profile] = {}
    for bucket_us, width_us, segment, stored in connection.execute(chosen):
        key, part = (bucket_us, width_us, segment), Profile.from_json(stored)
        merged[key] = merged[key].merge(part) if key in merged else part
    return [LedgerRow(*key, merged[key]) for key in sorted(merged)]


def read_segments(connection: sa.Connection, model: str, bins_id: str, start_us: int, end_us: int) -> list[str]:
    """Return the segments that have counts in buckets that begin in a range, in order."""
    table = bucket_counts.c
    chosen = sa.select(table.segment).where(
        table.model == model, table.bins_id == bins_id, table.bucket_us >= start_us, table.bucket_us < end_us
    )
    return sorted(connection.scalars(chosen.distinct()))
