"""What persons ask the loop to do; functions of an open transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from monitoring.journal.tables import Request, requests
from training.json_text import to_text


def add(connection: sa.Connection, model: str, kind: str, who: str, args: Mapping[str, Any], created_us: int) -> int:
    """Write down a request (machine time), and return its number."""
    row = {"model": model, "kind": kind, "who": who, "args": to_text(args), "created_us": created_us}
    return int(connection.execute(requests.insert().values(row).returning(requests.c.id)).scalar_one())


def find(connection: sa.Connection, model: str, *, waiting: bool) -> list[Request]:
    """Return the requests for a model, the oldest first: those that wait, or all."""
    wanted = [requests.c.model == model, *([requests.c.taken_run.is_(None)] if waiting else [])]
    return [Request.of(row) for row in connection.execute(sa.select(requests).where(*wanted).order_by(requests.c.id))]


def take(connection: sa.Connection, request_id: int, run_id: str) -> bool:
    """Write down which run does a request; return whether it was still waiting."""
    is_waiting = requests.c.id == request_id, requests.c.taken_run.is_(None)
    return connection.execute(requests.update().where(*is_waiting).values(taken_run=run_id)).rowcount == 1
