"""Whose an own id is: the first key's that used it, decided where rows enter the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from service.prediction_log.tables import layouts, predictions

StoredRow = tuple[Any, ...]
_CHUNK = 5000


def keep_own_ids(connection: sa.Connection, rows: Sequence[StoredRow], columns: Sequence[str]) -> tuple[Sequence[StoredRow], Counter[str]]:
    """Take the own ids out of rows that came with another key than the first that used them, within the transaction that stores them.

    A row without a key (of a time without keys) neither owns an id nor loses one.

    Parameters
    ----------
    columns
        What a row holds, in order.

    Returns
    -------
    The rows, and how many of each model lost theirs.
    """
    at_model, at_own_id, at_key = (columns.index(name) for name in ("model", "own_id", "key_name"))
    claims = {(row[at_model], row[at_own_id]) for row in rows if row[at_key] is not None and row[at_own_id] is not None}
    owners: dict[tuple[str, str], str] = {}
    for model in {model for model, _ in claims}:
        owners |= _owners(connection, model, sorted(own_id for claimed, own_id in claims if claimed == model))
    lost: Counter[str] = Counter()
    kept: list[StoredRow] = []
    for row in rows:
        model, own_id, key = row[at_model], row[at_own_id], row[at_key]
        if own_id is None or key is None or owners.setdefault((model, own_id), key) == key:
            kept.append(row)
        else:
            lost[model] += 1
            kept.append((*row[:at_own_id], None, *row[at_own_id + 1 :]))
    return kept, lost


def _owners(connection: sa.Connection, model: str, own_ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the key of each own id that has one already: of one row each, however many carry it."""
    place = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    one = f"SELECT key_name FROM {predictions.name} WHERE model = {place} AND own_id = asked.own_id AND key_name IS NOT NULL LIMIT 1"
    owners: dict[tuple[str, str], str] = {}
    for start in range(0, len(own_ids), _CHUNK):
        chunk = own_ids[start : start + _CHUNK]
        asked = ", ".join([f"(CAST({place} AS TEXT))"] * len(chunk))
        statement = f"WITH asked(own_id) AS (VALUES {asked}) SELECT own_id, ({one}) FROM asked"
        for own_id, key in connection.exec_driver_sql(statement, (*chunk, model)):
            if key is not None:
                owners[model, own_id] = key
    return owners


def ambiguous_own_ids(connection: sa.Connection, model: str, own_ids: Iterable[str]) -> set[str]:
    """Return which of some own ids stand for rows that differ in a feature: a label would not know which of them is meant.

    Rows of a client that sent again are equal, whatever version answered them.
    """
    table, several = predictions.c, sorted(own_ids)
    first: dict[str, dict[str, Any]] = {}
    ambiguous: set[str] = set()
    names: dict[str, list[str]] = {}
    for start in range(0, len(several), _CHUNK):
        among = sa.and_(table.model == model, table.own_id.in_(several[start : start + _CHUNK]))
        chosen = sa.select(table.own_id, table.layout, table.features).where(among).distinct()
        for own_id, layout, features in connection.execute(chosen):
            if layout not in names:
                names[layout] = _names(connection, layout)
            values = dict(zip(names[layout], orjson.loads(features), strict=True))
            if first.setdefault(own_id, values) != values:
                ambiguous.add(own_id)
    return ambiguous


def ids_of(connection: sa.Connection, model: str, own_id: str, most: int) -> list[str]:
    """Return the prediction ids of the rows that carry an own id, so many at most, the first predicted first."""
    table = predictions.c
    chosen = sa.select(table.id_prefix, table.row).where(table.model == model, table.own_id == own_id)
    rows = connection.execute(chosen.order_by(table.event_us, table.arrived_us, table.id_prefix, table.row).limit(most))
    return [f"{prefix}-{row}" for prefix, row in rows]


def _names(connection: sa.Connection, layout: str) -> list[str]:
    content = connection.execute(sa.select(layouts.c.content).where(layouts.c.layout == layout)).scalar_one()
    names: list[str] = orjson.loads(content)["names"]
    return names
