"""What the status, versions and verdicts commands tell: read from registry, log and journal, changed nowhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from monitoring.journal.tables import TICK
from monitoring.judging.estimating.bands import Estimate
from monitoring.judging.estimating.estimated import Estimated
from monitoring.judging.labels.arrivals import Arrivals
from monitoring.judging.performance.scores import CORRECTED
from monitoring.log_windows import silence_of
from monitoring.loop.evidence import first_unseen
from monitoring.performance.estimates import estimated_history
from monitoring.performance.live_scores import BucketScore, performance_history
from monitoring.performance.own_scores import own_history
from monitoring.retraining.plan import why_not_refitted
from monitoring.stores import Stores
from service.recording.disk_room import shortage
from service.settings import from_environment as service_settings
from training.artifacts.members import ALL, Member, shown
from training.clock import duration_us, format_duration, from_us, to_us
from training.errors import UnknownVersionError
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHALLENGER, CHAMPION, EXPIRE, PREVIOUS
from training.registry.tables import AliasRecord, VersionRecord
from training.schema.schema import Schema

ALIASES = (CHAMPION, CHALLENGER, PREVIOUS)


def status_of(bench: Workbench, model: str) -> dict[str, Any]:
    """Return what is happening with a model, why, and when the loop looks next (model time)."""
    record, spec = bench.registry.get_model(model), bench.spec(model)
    champion = bench.registry.alias(model, CHAMPION)
    size = bench.log.size(model)
    watermark = bench.log.watermark(model)
    last = next(iter(bench.journal.verdicts(model, limit=1)), None)
    next_slot = bench.journal.next_slot(model, spec.watching.every, first_unseen(bench.registry, bench.log, model))
    moves = bench.registry.ledger(model, 1, but=(EXPIRE,))
    return {
        "model": model,
        "champion": champion.version if champion else None,
        **_answering(bench, spec, champion),
        "serving_since": champion.changed_at if champion else None,
        "challenger": aliased(bench, model, CHALLENGER),
        "loop": "paused" if record.paused else _how(bench, spec, champion),
        "doing": _doing(bench, model),
        "model_time": from_us(watermark) if watermark is not None else None,
        "next_look": from_us(next_slot) if next_slot is not None else _first_look(spec, has_champion=champion is not None),
        "last_verdict": f"{last.verdict} at {from_us(last.slot_us):%Y-%m-%d}" if last else None,
        "why": "; ".join(last.reasons) if last else None,
        **live_of(bench, model),
        "drift": _open_episodes(bench, model) or None,
        "silence": None if watermark is None else _silence(bench, spec, watermark),
        "rows": size.rows,
        "labelled": size.labelled,
        "labels_came": None if watermark is None else labels_came(bench, spec, watermark).plain(),
        "rows_ahead_of_the_clock": size.ahead_rows,
        "messages": undelivered(bench),
        "disk": shortage(bench.home.path, service_settings(bench.environment).disk_reserve) or "has room",
        "last_move": f"{moves[0].action} by {moves[0].who}: {moves[0].why}" if moves else None,
    }


def _answering(bench: Workbench, spec: ModelSpec, champion: AliasRecord | None) -> dict[str, Any]:
    """Return which members answer in the champion, as the service shows it."""
    if champion is None:
        return dict.fromkeys(("generation", "weighed_through", "threshold")) | {"members": []}
    record = bench.registry.version(spec.model, champion.version)
    stored = record.manifest
    return shown(
        record.members or (Member(record.version, record.digest, ALL, int(stored["trained_through_us"]), 1.0),),
        generation=record.generation,
        weighed_through_us=stored.get("weighed_through_us"),
        threshold=stored.get("threshold"),
        schema=spec.schema,
    )


def undelivered(bench: Workbench) -> str | None:
    """Say which messages, of all models, have not arrived; None where all have. What waits for the digest of an hour is among them."""
    waiting = bench.journal.outbox.backlog()
    sentences = [
        f"{one.waiting} not delivered to the {one.destination} since {from_us(one.oldest_us):%Y-%m-%d %H:%M}"
        + (f" ({one.error})" if one.error else "")
        for one in waiting
    ]
    return "; ".join(sentences) or None


def live_of(bench: Workbench, model: str) -> dict[str, str | None]:
    """Say how good the model was over the newest mature, covered buckets as of the last slot, and what is estimated of the last window."""
    slots = [run.slot_us for run in bench.journal.runs(model, TICK, state="done", limit=1)]
    last = next(iter(bench.journal.verdicts(model, limit=1, slots=slots)), None)
    scores = [] if last is None else last.evidence.get("live", [])
    by_segment: dict[str, list[str]] = {}
    for one in scores:
        part = f"{one['metric']} {one['value']:.4g} [{one['low']:.4g}, {one['high']:.4g}]"
        by_segment.setdefault(f"{one['segment']} ({one['n']:,} labels)" if one["segment"] else "", []).append(part)
    whole = by_segment.pop("", None)
    labelled = max((one["n"] for one in scores), default=0)
    weighted = next((f"; {one['weighted']}" for one in scores if not one["segment"] and "weighted" in one), "")
    estimated = None if last is None else last.evidence.get("estimated")
    return {
        "estimated": None if estimated is None else "; ".join(Estimated.from_dict(estimated).sentences()) or None,
        "live": None if whole is None else f"{', '.join(whole)}; {labelled:,} labels{weighted}",
        "segments": "; ".join(f"{segment}: {', '.join(parts)}" for segment, parts in by_segment.items()) or None,
    }


def performance_of(
    bench: Workbench, model: str, metric: str | None, buckets: int, *, by_segment: bool
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """List a metric of live rows by bucket, and by segment if wanted, the newest bucket last; as of the last slot.

    Beside what labels say of all rows stands what is estimated without them. What that assumes, or why there is none, is returned in
    sentences, with what the last slot knows of a user's own metric; asked for by its name, that is listed as slots knew it, of all rows.

    Raises
    ------
    InputError
        The metric is not known of live rows.
    """
    stores, spec = Stores(bench.home, bench.database, bench.registry, bench.log, bench.journal), bench.spec(model)
    own, newest = own_history(stores, spec, buckets) if spec.own_metric is not None else ([], None)
    beside = () if newest is None else (newest.sentence(),)
    if metric is not None and metric == spec.own_metric:
        return [{**_of_bucket(one, metric), **_estimated(None, "")} for one in own], beside
    try:
        history = performance_history(stores, model, metric=metric, buckets=buckets, segments=None if by_segment else ("",))
        estimates, notes = estimated_history(stores, model, metric=metric, buckets=buckets)
    except ValueError as error:
        raise InputError(str(error)) from error
    name = metric or spec.watched_by.name
    return [{**_of_bucket(one, name), **_estimated(estimates.get(one.bucket_us), one.segment)} for one in history], (
        *_weighted(history),
        *notes,
        *beside,
    )


def _of_bucket(one: BucketScore, metric: str) -> dict[str, Any]:
    """Return a line of a metric; where it is weighted, with what it is without, and why."""
    stored = {name: value for name, value in one._asdict().items() if name != "correction"}
    corrected = dict.fromkeys(CORRECTED) if one.correction is None else one.correction.to_dict()
    return {"bucket": from_us(one.bucket_us), "metric": metric, **stored, **corrected}


def _weighted(history: Sequence[BucketScore]) -> tuple[str, ...]:
    """Say of lines that are corrected how rows without a label differ from the others, and what was done."""
    some = [one for one in history if one.correction is not None]
    names = [f"{from_us(one.bucket_us):%Y-%m-%d %H:%M}{f' {one.segment}' if one.segment else ''}" for one in some]
    return tuple(f"{name}: {one.correction.sentence}" for name, one in zip(names, some, strict=True) if one.correction is not None)


def _estimated(line: Estimate | None, segment: str) -> dict[str, Any]:
    """Return the estimate of a bucket, of all rows only."""
    if line is None or segment:
        return dict.fromkeys(("estimated", "estimated_low", "estimated_high"))
    return {"estimated": line.value, "estimated_low": line.low, "estimated_high": line.high}


def episodes_of(bench: Workbench, model: str, limit: int) -> list[dict[str, Any]]:
    """List the drift episodes of a model, the newest first."""
    watched_until = next(iter(bench.journal.verdicts(model, limit=1)), None)
    now_us = 0 if watched_until is None else watched_until.slot_us
    return [
        {
            "episode": one.number,
            "state": "ended" if one.ended_us is not None else "muted" if one.is_muted(now_us) else "open",
            "columns": list(one.names),
            "psi": [column.psi for column in one.columns],
            "since": from_us(one.since_us),
            "opened": from_us(one.opened_us),
            "ended": None if one.ended_us is None else from_us(one.ended_us),
            "why": one.why_ended or ("" if answer is None else f"{answer.who}, for the next slot: {answer.why}"),
        }
        for one, answer in bench.journal.episodes(model, limit)
    ]


def _silence(bench: Workbench, spec: ModelSpec, watermark: int) -> str | None:
    """Say that no rows come any more, where rows are dated by their arrival."""
    seen = silence_of(bench.log, spec, watermark, to_us(bench.now()))
    return None if seen is None else seen.sentence()


def labels_came(bench: Workbench, spec: ModelSpec, watermark: int) -> Arrivals:
    """Return what became of the labels of a window, by the model time at which they came."""
    since_us = watermark + 1 - duration_us(spec.watching.window)
    return Arrivals.of(since_us, bench.log.arrivals(spec.model, since_us, watermark + 1))


def _open_episodes(bench: Workbench, model: str) -> str:
    open_ones = [one for one in episodes_of(bench, model, 100) if one["state"] != "ended"]
    return "; ".join(_episode(one) for one in open_ones)


def _episode(one: Mapping[str, Any]) -> str:
    muted = " (muted)" if one["state"] == "muted" else ""
    return f"episode {one['episode']}{muted}: {', '.join(one['columns'])} since {one['since']:%Y-%m-%d %H:%M}"


def versions_of(bench: Workbench, model: str) -> list[dict[str, Any]]:
    """List the versions of a model, the newest last; one of members has no score of its own, it was weighed on rows of the log."""
    spec = bench.spec(model)
    metric = spec.metric
    aliases = {alias.version: alias.alias for alias in bench.registry.aliases() if alias.model == model}
    return [
        {
            "version": record.version,
            "alias": aliases.get(record.version),
            "algorithm": record.manifest.get("algorithm"),
            "score": None if record.members else _value(record.metrics, metric),
            "metric": metric,
            "trained_through": _moment(record.manifest.get("trained_through_us"), spec.schema),
            "created": record.created,
            "parent": record.parent,
            "digest": record.digest,
            "generation": record.generation,
            "members": [member.to_dict() for member in record.members],
        }
        for record in sorted(bench.registry.versions(model), key=lambda record: record.created)
    ]


def verdicts_of(bench: Workbench, model: str, limit: int) -> list[dict[str, Any]]:
    """List the verdicts of the last slots, the newest first."""
    return [
        {"model": model, "slot": from_us(one.slot_us), "verdict": one.verdict, "reasons": list(one.reasons), "evidence": one.evidence}
        for one in bench.journal.verdicts(model, limit=limit)
    ]


def resolve(bench: Workbench, model: str, name: str | None) -> VersionRecord:
    """Return the version called `name`: a version, an alias, or the champion when None.

    Raises
    ------
    UnknownVersionError
        There is no such version, it was removed or went by retention, or the alias points nowhere.
    """
    wanted = name or CHAMPION
    if wanted not in ALIASES:
        return bench.registry.version(model, wanted, is_present=True)
    alias = bench.registry.alias(model, wanted)
    if alias is None:
        some = [each.version for each in bench.registry.versions(model)]
        advice = f"; its newest version is {some[-1]}, which `evergreen promote` makes the champion" if some and wanted == CHAMPION else ""
        raise UnknownVersionError(f"{model} has no {wanted}{advice}")
    return bench.registry.version(model, alias.version)


def verified_card(bench: Workbench, record: VersionRecord, *, as_page: bool = False) -> tuple[dict[str, Any], str | None]:
    """Return the manifest of a version and its model card, or the page of it, if it has one, as they were signed.

    Raises
    ------
    ArtifactError
        It is not signed, was changed since, or cannot be read; nothing of it is shown.
    """
    from training.artifacts.draft import CARD, CARD_PAGE
    from training.artifacts.mixtures import with_members
    from training.artifacts.verification import MANIFEST, verify_fitted

    manifest, folder, fitted = verify_fitted(bench.home.artifacts / record.path, bench.home.cache, bench.key, record.digest)
    card = fitted / CARD_PAGE if as_page else folder / CARD
    stored = json.loads((folder / MANIFEST).read_bytes())
    if not card.exists():
        return stored, None
    content = card.read_text(encoding="utf-8")
    return stored, with_members(content, manifest) if as_page and manifest.members else content


def aliased(bench: Workbench, model: str, alias: str) -> str | None:
    """Return the version an alias points at, None while it points nowhere."""
    record = bench.registry.alias(model, alias)
    return record.version if record else None


def _first_look(spec: ModelSpec, *, has_champion: bool) -> str:
    if not has_champion:
        return "when there is a champion and a row that is newer than what it learned from"
    every = format_duration(spec.watching.every)
    return f"within {every} (model time) of the first row that is newer than what the champion learned from"


def _how(bench: Workbench, spec: ModelSpec, champion: AliasRecord | None) -> str:
    manifest = {} if champion is None else bench.registry.version(spec.model, champion.version).manifest
    if spec.retraining.act != "auto":
        return "notifies only"
    why_not = why_not_refitted(spec, manifest)
    return "acts" if why_not is None else f"notifies only: the champion was imported, and {why_not}"


def _doing(bench: Workbench, model: str) -> str:
    running = bench.journal.running(model)
    return ", ".join(f"{run.job} since {from_us(run.started_us):%Y-%m-%d %H:%M:%S}" for run in running) or "waiting"


def _value(metrics: Mapping[str, Any], name: str) -> float | None:
    estimate: Mapping[str, Any] = metrics.get("overall", metrics).get(name, {})
    return estimate.get("value")


def _moment(microseconds: Any, schema: Schema) -> datetime | None:
    return from_us(int(microseconds)) if microseconds is not None and schema.is_dated(int(microseconds)) else None
