"""The journal's tables, and the records that are read from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import sqlalchemy as sa

from training.clock import from_us
from training.json_text import from_text, to_text
from training.registry.tables import VersionRecord

COMPONENT = "journal"
VERSION = 11
TICK, RETRAIN, CHECK = "tick", "retrain", "check"  # the jobs of runs: a slot, a training child, a look by hand
LABELS_ONLY = "-labels"  # how names of quarantines of labels end
RELEASE = "release"  # the ledger's word for a quarantine that was let go
LABELS = "labels_"  # with this begin the reasons for which labels are set aside, and not rows
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
carries = sa.Table(
    "journal_carries",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("slot_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("champion", sa.String(64), nullable=False),
    sa.Column("tested_us", sa.BigInteger, nullable=False),
    sa.Column("taught_us", sa.BigInteger, nullable=False),
    sa.Column("move", sa.BigInteger, nullable=False),
    sa.Column("counted_us", sa.BigInteger),
    sa.Column("performance", sa.Text),
    sa.Column("weighing", sa.Text),
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
watch_states = sa.Table(
    "journal_watch_states",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("slot_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reference", sa.Integer, nullable=False),
    sa.Column("detector", sa.LargeBinary, nullable=False),
    sa.Column("episodes", sa.Text, nullable=False),
    sa.Column("next_episode", sa.Integer, nullable=False),
    sa.Column("champion", sa.String(64), nullable=False),
    sa.Column("outputs_since_us", sa.BigInteger),
    sa.Column("resting", sa.Text, nullable=False),
    sa.Column("aside", sa.Text, nullable=False),
)
"""The state of the drift watch as of a slot: that of the last slot whose run is done holds, at most one newer is written already."""

references = sa.Table(
    "journal_references",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("from_us", sa.BigInteger, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)
"""What live rows are compared with, one after the other."""

episodes = sa.Table(
    "journal_episodes",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("opened_us", sa.BigInteger, nullable=False),
    sa.Column("ended_us", sa.BigInteger),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("acknowledged", sa.Text),
)
"""Drifts from their alarm to their end, for people; `acknowledged` is what one of them said, for the next slot."""

outcomes = sa.Table(
    "journal_outcomes",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("known_slot_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("bucket_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("segment", sa.Text, primary_key=True),
    sa.Column("through_us", sa.BigInteger, nullable=False),
    sa.Column("sums", sa.LargeBinary, nullable=False),
    sa.Column("answers", sa.LargeBinary, nullable=True),
    sa.Column("due", sa.LargeBinary, nullable=True),
    sa.Index("journal_outcomes_by_bucket", "model", "segment", "bucket_us"),
)
"""Sums of labelled rows by bucket, version, segment (empty: all rows), and the slot at which the labels became known.

Those of old slots are rolled up into one row of `known_slot_us` 0; `through_us` is the newest slot that is in a row. `due` are all rows
that came, labelled or not.
"""

outcome_edges = sa.Table(
    "journal_outcome_edges",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("strata", sa.Text, nullable=True),
)
"""The edges of the bins, and of the strata, that scores are counted in: one list a model, since only counts in the same bins add up."""

quarantines = sa.Table(
    "journal_quarantines",
    metadata,
    sa.Column("model", _model, primary_key=True),
    sa.Column("start_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("end_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("slot_us", sa.BigInteger, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("released_us", sa.BigInteger),
    sa.Column("released_by", sa.String(200)),
    sa.Column("released_why", sa.Text),
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
outbox = sa.Table(
    "journal_outbox",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("message_id", sa.String(64), nullable=False, unique=True),
    sa.Column("model", _model, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("incident", sa.Text),
    sa.Column("slot_us", sa.BigInteger),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("is_routed", sa.Boolean, nullable=False),
    sa.UniqueConstraint("model", "key"),
    sqlite_autoincrement=True,
)
"""Messages for people, written in the transaction that brings about what they tell; `incident` joins a beginning and its end."""

deliveries = sa.Table(
    "journal_deliveries",
    metadata,
    sa.Column("outbox_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("destination", sa.String(32), primary_key=True),
    sa.Column("model", _model, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("delivery_id", sa.String(64)),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_us", sa.BigInteger, nullable=False),
    sa.Column("sent_us", sa.BigInteger),
    sa.Column("error", sa.Text),
    sa.Index("journal_deliveries_by_state", "destination", "state", "model"),
)
"""Which message goes where; those of one `delivery_id` go as one. Times are machine time."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who acts: the token grows each time somebody else takes over."""

    name: str
    holder: str
    token: int
    expires_us: int


class Attempt(NamedTuple):
    """One attempt at a run: what a training child is told at its start, and every write of it must still find."""

    run_id: str
    number: int
    token: int


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

    @property
    def as_attempted(self) -> Attempt:
        """The attempt that it is in."""
        return Attempt(self.run_id, self.attempt, self.token)

    def names(self, record: VersionRecord) -> bool:
        """Return whether a version was made by this run, or its plan or result says something of it."""
        return record.run_id == self.run_id or record.version in to_text([dict(self.payload), dict(self.result)])

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Return what a row of `journal_runs` holds."""
        return cls(**{**row._mapping, "payload": from_text(row.payload), "result": from_text(row.result)})


class Look(NamedTuple):
    """That a slot was judged (model time), how, and when (machine time)."""

    slot_us: int
    verdict: str
    created_us: int


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
        """Return what a row of `journal_verdicts` holds."""
        return cls(**{**row._mapping, "reasons": tuple(from_text(row.reasons)), "evidence": from_text(row.evidence)})


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Rows with `start_us <= time < end_us` (model time) that are never learned, unless a person let them go (machine time)."""

    model: str
    start_us: int
    end_us: int
    reason: str
    slot_us: int
    created_us: int
    released_us: int | None = None
    released_by: str | None = None
    released_why: str | None = None

    @property
    def is_of_labels(self) -> bool:
        """Whether only the labels of the rows are set aside."""
        return is_of_labels(self.reason)

    @property
    def name(self) -> str:
        """What it is called."""
        return name_of_span(self.start_us, self.reason)


def is_of_labels(reason: str) -> bool:
    """Return whether labels are set aside for this reason, and not rows."""
    return reason.startswith(LABELS)


def name_of_span(start_us: int, reason: str = "") -> str:
    """Return what a quarantine is called: the minute at which it begins, and whether it is one of labels only.

    Examples
    --------
    >>> name_of_span(90_000_000), name_of_span(90_000_000, "labels_constant")
    ('1970-01-01T00:01', '1970-01-01T00:01-labels')
    """
    return f"{from_us(start_us):%Y-%m-%dT%H:%M}{LABELS_ONLY if is_of_labels(reason) else ''}"


@dataclass(frozen=True, slots=True)
class ProbationRecord:
    """The time after a promotion in which `previous` may come back.

    Attributes
    ----------
    started_us
        Model time of the promotion.
    looks, looks_done
        How many looks are planned, and were taken.
    state
        `open`, or how it ended: `passed`, `rolled_back`, `superseded`, `unjudged`.
    evidence
        The result of each look.
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
        """Return what a row of `journal_probations` holds."""
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
        """Return what a row of `journal_requests` holds."""
        return cls(**{**row._mapping, "args": from_text(row.args)})
