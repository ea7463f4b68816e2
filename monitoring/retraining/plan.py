"""What a retraining run may read: ranges of model time, fixed before the child starts (the payload of its run row)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from monitoring.journal.carries import WeighingState
from monitoring.judging.cohorts import Cohorts
from monitoring.log_windows import Range, Times, newest, ranges
from monitoring.stores import Stores
from training.clock import duration_us
from training.mixing.cadence import Cadence
from training.model_file.model_spec import ModelSpec
from training.policies import RetrainingPolicy
from training.registry.lineage import history_of

RANGES = ("aside", "uncovered", "requested")


@dataclass(frozen=True, slots=True)
class Plan:
    """The ranges of one run; half-open, microseconds of model time.

    Attributes
    ----------
    champion
        The version the challenger is to be judged against.
    history
        Digest of the stored rows that came before the log; None without any.
    log_start_us, log_end_us
        Labelled rows of the log to learn from.
    gate_start_us, gate_end_us
        Labelled rows kept for the gate: newer than anything either version has seen.
    known_by_us
        Labels that came later are not there.
    aside
        Quarantined ranges: neither learned nor judged by.
    uncovered
        Ranges of which too few rows have a label: what is there is neither learned nor judged by, but shows what rows look like.
    requested
        Ranges that labels speak for which were drawn.
    growth
        What one more member is learned from, of a version that grows: family, share of the rows, and the candidate to fit again; then the
        rows of the gate are learned from, too, but for its forerunner. None where the champion is to be replaced.
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
    known_by_us: int
    aside: tuple[Range, ...]
    tick_run: str | None = None
    uncovered: tuple[Range, ...] = ()
    requested: tuple[Range, ...] = ()
    growth: Mapping[str, Any] | None = None

    @property
    def without_labels(self) -> tuple[Range, ...]:
        """The ranges whose labels do not count."""
        return (*self.aside, *self.uncovered)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {name: [[r.start_us, r.end_us] for r in getattr(self, name)] for name in RANGES}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, here or in an earlier release, whose plans have `gate_rows` too, no `uncovered`, no `requested`."""
        ranges = {name: tuple(Range(int(a), int(b)) for a, b in stored.get(name, ())) for name in RANGES}
        return cls(**{name: value for name, value in stored.items() if name in cls.__slots__} | ranges)


def why_not_refitted(spec: ModelSpec, manifest: Mapping[str, Any]) -> str | None:
    """Return why the loop cannot make a follower of an imported champion where the file names no candidates; None when it can."""
    original = manifest.get("original")
    return None if original is None or spec.training.names_candidates else original["why_not"]


def policy_of(stores: Stores, spec: ModelSpec, champion: str) -> RetrainingPolicy:
    """Return when to retrain, as the file says; only notifying while the champion was imported and cannot be fitted again."""
    policy = paced(spec, stores.journal.carry(spec.model).weighing)
    if why_not_refitted(spec, stores.registry.version(spec.model, champion).manifest) is None:
        return policy
    return replace(policy, act="notify")


def paced(spec: ModelSpec, state: WeighingState) -> RetrainingPolicy:
    """Return when to retrain, as the file says and by what the last members brought."""
    policy = spec.retraining
    return policy.paced(Cadence.from_dict(state.cadence).slots, spec.watching.every) if policy.is_paced else policy


def make_plan(  # 8 parameters: of whom, as of when, why, without what, and how
    stores: Stores,
    spec: ModelSpec,
    champion: str,
    cohorts: Cohorts,
    trigger: str,
    spans: Sequence[Range],
    tick_run: str | None,
    growth: Mapping[str, Any] | None = None,
) -> Plan | None:
    """Choose the rows of a run as of a slot; None when the gate would have too few.

    The gate gets the newest matured labelled rows, as many as the policy says (ties kept whole), all newer than what the
    champion has seen; the child learns from what is older than those. One more member is learned from all of them, and judged by those
    of the last slot, or as many as the gate wants.
    """
    windows = stores.windows(spec)
    record = stores.registry.version(spec.model, champion)
    slot_us, end_us = cohorts.slot_us, cohorts.end_us
    seen_us = int(record.manifest["trained_through_us"])
    if end_us is None or end_us <= seen_us:
        return None
    aside = (*stores.quarantined(spec.model), *spans)
    uncovered, requested = ranges(cohorts.uncovered), ranges(cohorts.by_requests)
    known_by_us = slot_us - 1
    times = windows.labelled_times(seen_us + 1, end_us, known_by_us, (*aside, *uncovered), requested)
    gate_start_us = newest(times, spec.retraining.gate.rows if growth is None else rows_of_growth(times, spec))
    if gate_start_us is None:
        return None
    root = history_of(stores.registry, record)
    log_start_us = 0 if root is None else int(root.manifest["trained_through_us"]) + 1
    return Plan(
        model=spec.model,
        slot_us=slot_us,
        trigger=trigger,
        champion=champion,
        history=None if root is None else root.manifest["rows_digest"],
        log_start_us=log_start_us,
        log_end_us=gate_start_us if growth is None else end_us,
        gate_start_us=gate_start_us,
        gate_end_us=end_us,
        known_by_us=known_by_us,
        aside=aside,
        tick_run=tick_run,
        uncovered=uncovered,
        requested=requested,
        growth=growth,
    )


def rows_of_growth(times: Times, spec: ModelSpec) -> int:
    """Return how many of the newest unseen rows a growth is judged by: those of the last slot, but as many as the gate's to five times."""
    last_slot = int((times > times[-1] - duration_us(spec.watching.every)).sum()) if len(times) else 0
    least = spec.retraining.gate.rows
    return min(max(least, last_slot), 5 * least)
