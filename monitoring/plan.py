"""What a retraining run may read: ranges of model time, fixed before the child starts (the payload of its run row)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from monitoring.evidence import set_aside
from monitoring.stores import Stores
from monitoring.windows import Range, newest
from training.registry_tables import VersionRecord
from training.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """The ranges of one run; half-open, microseconds of model time.

    Parameters
    ----------
    champion
        The version the challenger is to be judged against.
    history
        Digest of the stored rows that came before the log; None without any.
    log_start_us, log_end_us
        Labelled rows of the log to learn from.
    gate_start_us, gate_end_us
        Labelled rows kept for the gate: newer than anything either version has seen.
    gate_rows
        How many labelled rows the gate had at least when the plan was made.
    known_by_us
        Labels that came later are not there.
    aside
        Quarantined ranges: neither learned nor judged by.
    """

    model: str
    slot_us: int
    trigger: str
    champion: str
    history: str | None
    log_start_us: int
    log_end_us: int
    gate_start_us: int
    gate_end_us: int
    gate_rows: int
    known_by_us: int
    aside: tuple[Range, ...]
    tick_run: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "aside": [[r.start_us, r.end_us] for r in self.aside]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**stored, "aside": tuple(Range(int(a), int(b)) for a, b in stored["aside"])})


def make_plan(
    stores: Stores, spec: ModelSpec, champion: str, slot_us: int, trigger: str, spans: Sequence[Range], tick_run: str | None
) -> Plan | None:
    """Choose the rows of a run as of a slot; None when the gate would have too few.

    The gate gets the newest matured labelled rows, as many as the policy says (ties kept whole), all newer than what the
    champion has seen; the child learns from what is older than those.
    """
    windows = stores.windows(spec)
    record = stores.registry.version(spec.model, champion)
    end_us = windows.matured_end(slot_us)
    seen_us = int(record.manifest["trained_through_us"])
    if end_us is None or end_us <= seen_us:
        return None
    aside = (*set_aside(stores, spec.model), *spans)
    known_by_us = slot_us - 1
    times = windows.labelled_times(seen_us + 1, end_us, known_by_us, aside)
    gate_start_us = newest(times, spec.retraining.gate.rows)
    if gate_start_us is None:
        return None
    root = history_of(stores, record)
    log_start_us = 0 if root is None else int(root.manifest["trained_through_us"]) + 1
    return Plan(
        model=spec.model,
        slot_us=slot_us,
        trigger=trigger,
        champion=champion,
        history=None if root is None else root.manifest["rows_digest"],
        log_start_us=log_start_us,
        log_end_us=gate_start_us,
        gate_start_us=gate_start_us,
        gate_end_us=end_us,
        gate_rows=int((times >= gate_start_us).sum()),
        known_by_us=known_by_us,
        aside=aside,
        tick_run=tick_run,
    )


def history_of(stores: Stores, record: VersionRecord) -> VersionRecord | None:
    """Return the forebear that was trained by hand, from a table: its stored rows are the history the log continues."""
    seen = set()
    while record.run_id is not None and record.parent is not None and record.version not in seen:
        seen.add(record.version)
        record = stores.registry.version(record.model, record.parent)
    return record if record.run_id is None and record.manifest.get("rows_digest") else None
