"""Everything a report rests on, read at one moment: from the journal, the registry and the counts, at any traffic alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from monitoring.admin.workbench import Workbench
from monitoring.drift.episodes import Episode
from monitoring.journal.tables import Look, Quarantine, VerdictRecord
from monitoring.judging.labels.arrivals import Arrivals
from training.artifacts.draft import REPORT
from training.artifacts.manifest import digest_of
from training.artifacts.members import newest
from training.clock import duration_us
from training.drawing.svg import grouped
from training.json_text import from_text
from training.model_file.model_spec import ModelSpec
from training.profiles.bins import Profile
from training.profiles.measures import ALL, Measures
from training.profiles.reference import Reference
from training.registry.aliases import CHAMPION, REWEIGH
from training.registry.tables import LedgerEntry, VersionRecord

MOST_EPISODES, MOST_LINES = 100, 2_000
SEVERITY = ("keep", "watch", "retrain", "blind", "quarantine", "roll_back")
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Judged:
    """One position of the drawings: the worst verdict of the slots that are joined in it.

    Attributes
    ----------
    start_us, end_us
        From the first of the slots to the one after the last.
    slots
        How many they are.
    record
        The verdict with its evidence.
    """

    start_us: int
    end_us: int
    slots: int
    record: VerdictRecord

    @property
    def evidence(self) -> Mapping[str, Any]:
        """The evidence of the verdict."""
        return self.record.evidence


@dataclass(frozen=True, slots=True)
class Counted:
    """The last window and what it is compared with, in counts under the same bins, all rows and by segment."""

    measures: Measures
    why: str
    reference: Mapping[str, Profile]
    window: Mapping[str, Profile]
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a report rests on.

    Attributes
    ----------
    start_us, end_us
        The stretch of model time it tells of.
    now
        Machine time.
    looks
        All slots of the stretch; `judged` has those that are drawn.
    counted
        None before the first row, or where rows are counted under other bins than the reference.
    rows
        By day, from the first that has some.
    rejected
        Refused rows by field and code.
    arrivals
        What became of the labels that came.
    tested
        The champion's report on its held-out rows; None without one.
    moves
        The lines of the ledger since the first slot of the stretch, the earliest first, each with the slot (model time) it belongs to.
    weighings
        Those of weighings, which come at each slot, apart.
    """

    spec: ModelSpec
    now: datetime
    start_us: int
    end_us: int
    watermark_us: int | None
    champion: VersionRecord | None
    serving_since: datetime | None
    is_paused: bool
    looks: Sequence[Look]
    judged: Sequence[Judged]
    episodes: Sequence[Episode]
    quarantines: Sequence[Quarantine]
    counted: Counted | None
    rows: Mapping[int, int]
    rejected: Mapping[tuple[str, str], int]
    arrivals: Arrivals
    tested: Mapping[str, Any] | None
    moves: Sequence[tuple[int, LedgerEntry]]
    weighings: Sequence[tuple[int, LedgerEntry]] = ()

    @property
    def last(self) -> VerdictRecord | None:
        """The newest verdict."""
        return self.judged[-1].record if self.judged else None


def read_facts(bench: Workbench, model: str, days: int) -> ModelFacts:
    """Read what is known of a model over some days of model time up to now.

    Raises
    ------
    UnknownModelError
        There is no such model.
    """
    record, spec = bench.registry.get_model(model), bench.spec(model)
    watermark_us = bench.log.watermark(model)
    newest = next(iter(bench.journal.verdicts(model, limit=1)), None)
    end_us = max([0, *([] if watermark_us is None else [watermark_us + 1]), *([] if newest is None else [newest.slot_us])])
    start_us = max(0, end_us - days * DAY_US)
    alias = bench.registry.alias(model, CHAMPION)
    champion = None if alias is None else bench.registry.version(model, alias.version)
    looks = bench.journal.looks(model, start_us)
    rows = _by_day(bench.log.rows_by_bucket(model, start_us, end_us))
    return ModelFacts(
        spec=spec,
        now=bench.now(),
        start_us=max(start_us, min([*[look.slot_us for look in looks[:1]], *list(rows)[:1]], default=start_us)),
        end_us=end_us,
        watermark_us=watermark_us,
        champion=champion,
        serving_since=None if alias is None else alias.changed_at,
        is_paused=record.paused,
        looks=looks,
        judged=_read_judged(bench, model, looks, duration_us(spec.watching.every)),
        episodes=[e for e, _ in bench.journal.episodes(model, MOST_EPISODES) if e.ended_us is None or e.ended_us >= start_us],
        quarantines=bench.journal.quarantines(model, start_us, None, released=None),
        counted=_read_counts(bench, spec, champion, newest.slot_us if newest is not None else end_us),
        rows=rows,
        rejected=bench.log.rejected(model, start_us, end_us),
        arrivals=Arrivals.of(start_us, bench.log.arrivals(model, start_us, end_us)),
        tested=None if champion is None else _read_tested(bench, champion),
        moves=_moves(bench.registry.ledger(model, MOST_LINES, but=(REWEIGH,)), looks),
        weighings=_moves(bench.registry.ledger(model, MOST_LINES, only=(REWEIGH,)), looks),
    )


def _by_day(buckets: Sequence[tuple[str, int, int]]) -> dict[int, int]:
    """Add rows up by day; of rows that were counted under two sets of bins, those of the set that has more of them."""
    by_bins: dict[tuple[int, str], int] = {}
    for bins_id, bucket_us, rows in buckets:
        key = (bucket_us // DAY_US * DAY_US, bins_id)
        by_bins[key] = by_bins.get(key, 0) + rows
    days: dict[int, int] = {}
    for (day_us, _), rows in sorted(by_bins.items()):
        days[day_us] = max(days.get(day_us, 0), rows)
    return days


def _read_judged(bench: Workbench, model: str, looks: Sequence[Look], every_us: int) -> list[Judged]:
    """Read the verdicts that are drawn: of slots that are joined the worst, of equal ones the last; the newest always."""

    groups = grouped(looks)
    chosen = [some[-1] if some[-1] is looks[-1] else max(some, key=lambda one: (_severity(one.verdict), one.slot_us)) for some in groups]
    records = {record.slot_us: record for record in bench.journal.verdicts(model, None, slots=[look.slot_us for look in chosen])}
    ends = [*(some[0].slot_us for some in groups[1:]), *([looks[-1].slot_us + every_us] if looks else [])]
    return [
        Judged(some[0].slot_us, end_us, len(some), records[look.slot_us])
        for some, look, end_us in zip(groups, chosen, ends, strict=True)
        if look.slot_us in records
    ]


def _severity(verdict: str) -> int:
    return SEVERITY.index(verdict) if verdict in SEVERITY else len(SEVERITY)


def _read_counts(bench: Workbench, spec: ModelSpec, champion: VersionRecord | None, until_us: int) -> Counted | None:
    """Read the last window before a slot under the bins of the reference in force, or of what the champion was trained on."""
    stored, _ = bench.journal.watch_beginning(spec.model)
    if stored is not None:
        reference, why = Reference.from_json(stored.content), stored.why
    else:
        content = None if champion is None else read_file(bench, _fitted(bench, champion), "reference.json")
        if content is None:
            return None
        reference, why = Reference.from_dict(from_text(content)), "what the champion was trained on"
    measures = reference.measures
    start_us = until_us - duration_us(spec.watching.window)
    read = partial(bench.log.profile, spec.model, measures.id, start_us, until_us, known_before_us=until_us)
    window = {segment: counts for segment in measures.keys if (counts := read(segment=segment)) is not None}
    if ALL not in window:
        return None
    return Counted(measures, why, {ALL: reference.total, **reference.segments}, window, start_us, until_us)


def _fitted(bench: Workbench, version: VersionRecord) -> VersionRecord:
    """Return a version, or of one of members the newest of these: what has a reference."""
    return bench.registry.version(version.model, newest(version.members).version) if version.members else version


def read_file(bench: Workbench, version: VersionRecord, name: str) -> bytes | None:
    """Return one file of a version if it is the one that its registered manifest names; None where it is gone or another."""
    entry = version.manifest.get("files", {}).get(name)
    try:
        content = (bench.home.artifacts / version.path / name).read_bytes()
    except OSError:
        return None
    return content if entry is not None and digest_of(content) == entry["sha256"] else None


def _read_tested(bench: Workbench, champion: VersionRecord) -> Mapping[str, Any] | None:
    content = read_file(bench, champion, REPORT)
    return None if content is None else from_text(content)


def _moves(newest_first: Sequence[LedgerEntry], looks: Sequence[Look]) -> list[tuple[int, LedgerEntry]]:
    """Return lines of the ledger with the model time of each: what its evidence says, or the first slot judged after it."""
    if not looks:
        return []
    out = []
    for line in reversed(newest_first):
        slot = line.evidence.get("slot")
        at_us = int(line.at.timestamp() * 1e6)
        if isinstance(slot, str):
            slot_us = int(datetime.fromisoformat(slot).timestamp() * 1e6)
        elif at_us < looks[0].created_us:
            continue
        else:
            slot_us = next((look.slot_us for look in looks if look.created_us >= at_us), looks[-1].slot_us)
        if slot_us >= looks[0].slot_us:
            out.append((slot_us, line))
    return out
