"""What grows is kept in bounds: old logged rows go, old counts become those of hours and days, versions that nothing needs lose files."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.journal.tables import RETRAIN, TICK
from monitoring.stores import Stores
from service.models.last_champion import read_last_champions
from service.prediction_log.rolling_up import widest_us
from training.clock import duration_us, from_us, to_us
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHAMPION
from training.registry.artifact_files import Freed, delete_files
from training.registry.artifact_files import delete_unregistered as delete_folders
from training.registry.lineage import Remembered, history_of
from training.registry.registry import Registry
from training.registry.tables import Cause, VersionRecord
from training.registry.version_retention import Inventory, needed
from training.settings import Home

logger = logging.getLogger(__name__)
WHO = "monitor"
YOUNG = timedelta(hours=1)  # of a version: whatever made it may not have said yet what for


def forget_old_rows(stores: Stores, spec: ModelSpec, machine_now: datetime) -> int:
    """Delete the logged rows that arrived longer than `retention.log` ago, and return how many.

    Retention counts machine time, so that a replayed year is not forgotten while it is replayed. Rows go in the order of
    model time and by whole buckets, those that were added up too, so that counts stay equal to rows: one that arrived early
    stays while an earlier one, or one of its bucket, is still within the bound.
    """
    first_us, last_us = stores.log.first_event(spec.model), stores.log.last_event(spec.model)
    if first_us is None or last_us is None:
        return 0
    kept_since_us = stores.log.first_event(spec.model, arrived_since_us=to_us(machine_now - spec.retention.log))
    bucket_us = math.lcm(duration_us(spec.watching.bucket), widest_us(_bound_us(spec)))
    before_us = (last_us // bucket_us + 1) * bucket_us if kept_since_us is None else kept_since_us // bucket_us * bucket_us
    if first_us >= before_us:
        return 0
    gone = stores.log.retain(spec.model, before_us, machine_now=machine_now)
    stores.journal.outcomes.forget(spec.model, before_us)  # sums are those of the rows that are there
    if gone:
        logger.info("%s: %d rows older than %s have left the prediction log", spec.model, gone, spec.retention.log)
    return gone


def add_up_old_counts(stores: Stores, spec: ModelSpec) -> int:
    """Add up old counts to hours and days, and return how many rows of them went: slots and windows have the counts they had.

    A bucket that is partly in quarantine stays as it is, and so does what no slot has judged yet: after a pause faults are looked for in
    the same buckets as without one.
    """
    judged = next(iter(stores.journal.runs(spec.model, TICK, state="done", limit=1)), None)
    if judged is None:
        return 0
    apart = [(span.start_us, span.end_us) for span in stores.quarantined(spec.model)]
    gone = stores.log.roll_up(spec.model, bound_us=_bound_us(spec), apart=apart, until_us=judged.slot_us)
    if gone:
        logger.info("%s: %d rows of old counts were added up to hours and days", spec.model, gone)
    return gone


def expire_versions(stores: Stores, turn: Turn, spec: ModelSpec) -> list[str]:
    """Remove the versions that nothing needs any more, and delete their files but the manifests; return which went.

    The ledger's line comes first: from then on nobody promotes them. Whoever dies before the files are gone leaves it to the next time,
    which begins with those of the last line. Nothing goes where the champion lies in another home.
    """
    registry, home = stores.registry, stores.home
    champion = registry.alias(spec.model, CHAMPION)
    if champion is None or not (home.artifacts / registry.version(spec.model, champion.version).path).exists():
        return []
    try:
        delete_versions(home, registry, stores.journal, registry.last_expired(spec.model))
        inventory, generations, known = registry.inventory(spec.model), spec.retention.versions, Remembered(registry)
        kept = needed(
            inventory,
            generations=generations,
            named=_named(stores, inventory, spec.model, turn.now),
            history_of=lambda record: history_of(known, record),
        )
        idle = [record.version for record in inventory.present if record.version not in kept]
        if not idle:
            return []
        cause = Cause(WHO, f"no alias, open run or one of the last {generations} generations needs them")
        gone = registry.expire(spec.model, idle, cause=cause, now=turn.now, guard=turn.guard)
        freed = delete_versions(home, registry, stores.journal, gone)
    except OSError as error:
        logger.warning("%s: files of versions that nothing needs stay for now: %s", spec.model, error)
        return []
    logger.info("%s: the files of %d versions that nothing needs are gone, %d bytes", spec.model, len(gone), freed.bytes_freed)
    return [record.version for record in gone]


def delete_unregistered(stores: Stores, turn: Turn, spec: ModelSpec) -> list[str]:
    """Delete the artifacts that were written and never registered, since a monitor or its child was killed in between; return which.

    What is younger than an open run, or than an hour, stays: it may still be registered.
    """
    registry, running = stores.registry, stores.journal.running(spec.model)
    before = min([turn.now - YOUNG, *(from_us(run.started_us) for run in running)])
    try:
        if turn.guard is not None:
            registry.check(turn.guard)
        gone = delete_folders(stores.home, spec.model, registry.names(spec.model), before)
    except OSError as error:
        logger.warning("%s: artifacts that were never registered stay for now: %s", spec.model, error)
        return []
    if gone:
        logger.info("%s: artifacts that were written and never registered are gone: %s", spec.model, ", ".join(gone))
    return gone


def _named(stores: Stores, inventory: Inventory, model: str, now: datetime) -> set[str]:
    """Return the versions that a run, a probation or the note of a service names, and those made just now.

    The last retraining counts as open: what came of it may not be concluded, and a slot that was abandoned begins with it again.
    """
    journal = stores.journal
    runs = [*journal.running(model), *journal.runs(model, RETRAIN, limit=1)]
    probation = journal.open_probation(model)
    served = {last.version for last in read_last_champions(stores.home.champions) if last.model == model}
    judged = set() if probation is None else {probation.version, probation.previous}

    def is_named(record: VersionRecord) -> bool:
        return record.created > now - YOUNG or any(run.names(record) for run in runs)

    return served | judged | {record.version for record in inventory.present if is_named(record)}


def delete_versions(home: Home, registry: Registry, journal: Journal, records: Sequence[VersionRecord]) -> Freed:
    """Delete the files of versions that left the registry, and the training rows that neither a version nor an open run needs."""
    runs = (run for model in registry.models() for run in journal.running(model.name))
    return delete_files(home, registry, records, histories=[run.payload["history"] for run in runs if run.payload.get("history")])


def _bound_us(spec: ModelSpec) -> int:
    """Return of what slots, and the beginnings of their windows, are multiples."""
    return math.gcd(duration_us(spec.watching.every), duration_us(spec.watching.window))
