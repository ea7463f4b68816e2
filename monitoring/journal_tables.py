"""The journal's tables, and the records that are read from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import sqlalchemy as sa

from training.documents import from_text

COMPONENT = "journal"
VERSION = 1
RunState = Literal["running", "done", "failed", "abandoned"]

metadata = sa.MetaData()
_model = sa.String(64)
_run = sa.String(128)
_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

leases = sa.Table(
    "journal_leases",
    metadata,
    sa.Column("name", _model, primary_key=True),
    sa.Column("holder", sa.String(200), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_us", sa.BigInteger, nullable=False),
)
runs = sa.Table(
    "journal_runs",
    metadata,
    sa.Column("run_id", _run, primary_key=True),
    sa.Column("model", _model, nullable=False),
    sa.Column("job", sa.String(32), nullable=False),
    sa.Column("slot_us", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("started_us", sa.BigInteger, nullable=False),
    sa.Column("ended_us", sa.BigInteger),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("error", sa.Text),
    sa.UniqueConstraint("model", "job", "slot_us"),
    sa.Index("journal_runs_by_state", "state", "token"),
)
verdicts = sa.Table(
    "journal_verdicts",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("slot_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("verdict", sa.String(32), nullable=False),
    sa.Column("reasons", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)
quarantines = sa.Table(
    "journal_quarantines",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("start_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("end_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("slot_us", sa.BigInteger, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)
probations = sa.Table(
    "journal_probations",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("model", _model, nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("started_us", sa.BigInteger, nullable=False),
    sa.Column("looks", sa.Integer, nullable=False),
    sa.Column("looks_done", sa.Integer, nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Index("journal_probations_by_model", "model", "state"),
)
requests = sa.Table(
    "journal_requests",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("model", _model, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("args", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("taken_run", _run),
    sa.Index("journal_requests_by_model", "model", "taken_run"),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who acts: the token grows each time somebody else takes over."""

    name: str
    holder: str
    token: int
    expires_us: int


@dataclass(frozen=True, slots=True)
class Run:
    """One job of one model for one slot; the slot is model time, start and end are machine time (microseconds)."""

    run_id: str
    model: str
    job: str
    slot_us: int
    state: RunState
    attempt: int
    token: int
    started_us: int
    ended_us: int | None
    payload: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `journal_runs`."""
        return cls(**{**row._mapping, "payload": from_text(row.payload), "result": from_text(row.result)})


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """What was decided at a slot, with its reasons and its evidence."""

    model: str
    slot_us: int
    verdict: str
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]
    created_us: int

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `journal_verdicts`."""
        return cls(**{**row._mapping, "reasons": tuple(from_text(row.reasons)), "evidence": from_text(row.evidence)})


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Rows with `start_us <= time < end_us` (model time) that are never learned."""

    model: str
    start_us: int
    end_us: int
    reason: str
    slot_us: int
    created_us: int


@dataclass(frozen=True, slots=True)
class Probation:
    """The time after a promotion in which `previous` may come back.

    Attributes
    ----------
    started_us : int
        Model time of the promotion.
    looks, looks_done : int
        How often it is looked at, and was.
    state : str
        `open`, or how it ended: `passed`, `rolled_back`, `superseded`.
    evidence : tuple of mappings
        What each look found.
    """

    id: int
    model: str
    version: str
    previous: str
    started_us: int
    looks: int
    looks_done: int
    state: str
    evidence: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `journal_probations`."""
        return cls(**{**row._mapping, "evidence": tuple(from_text(row.evidence))})


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked the loop to do; `taken_run` is the run that does it, None while it waits."""

    id: int
    model: str
    kind: str
    who: str
    args: Mapping[str, Any]
    created_us: int
    taken_run: str | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Read a row of `journal_requests`."""
        return cls(**{**row._mapping, "args": from_text(row.args)})
