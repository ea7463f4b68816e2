"""What the status, versions and verdicts commands tell: read from registry, log and journal, changed nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.evidence import first_unseen
from monitoring.workbench import Workbench
from training.clock import from_us
from training.errors import UnknownVersionError
from training.moves import CHALLENGER, CHAMPION, PREVIOUS
from training.registry_tables import VersionRecord

ALIASES = (CHAMPION, CHALLENGER, PREVIOUS)


def status_of(bench: Workbench, model: str) -> dict[str, Any]:
    """Say what is happening with a model, why, and when the loop looks next (model time)."""
    record, spec = bench.registry.get_model(model), bench.spec(model)
    champion = bench.registry.alias(model, CHAMPION)
    size = bench.log.size(model)
    watermark = bench.log.watermark(model)
    last = next(iter(bench.journal.verdicts(model, limit=1)), None)
    next_slot = bench.journal.next_slot(model, spec.watching.every, first_unseen(bench.registry, bench.log, model))
    moves = bench.registry.ledger(model, limit=1)
    return {
        "model": model,
        "champion": champion.version if champion else None,
        "serving_since": champion.changed_at if champion else None,
        "challenger": _version(bench, model, CHALLENGER),
        "loop": "paused" if record.paused else ("acts" if spec.retraining.act == "auto" else "notifies only"),
        "doing": _doing(bench, model),
        "model_time": from_us(watermark) if watermark is not None else None,
        "next_look": from_us(next_slot) if next_slot is not None else "at the first boundary after the first row",
        "last_verdict": f"{last.verdict} at {from_us(last.slot_us):%Y-%m-%d}" if last else None,
        "why": "; ".join(last.reasons) if last else None,
        "rows": size.rows,
        "labelled": size.labelled,
        "rows_ahead_of_the_clock": size.ahead_rows,
        "last_move": f"{moves[0].action} by {moves[0].who}: {moves[0].why}" if moves else None,
    }


def versions_of(bench: Workbench, model: str) -> list[dict[str, Any]]:
    """List the versions of a model, the newest last."""
    metric = bench.spec(model).metric
    aliases = {alias.version: alias.alias for alias in bench.registry.aliases() if alias.model == model}
    return [
        {
            "version": record.version,
            "alias": aliases.get(record.version),
            "algorithm": record.manifest.get("algorithm"),
            "score": _value(record.metrics, metric),
            "metric": metric,
            "trained_through": _moment(record.manifest.get("trained_through_us")),
            "created": record.created,
            "parent": record.parent,
            "digest": record.digest,
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
        There is no such version, or the alias points nowhere.
    """
    wanted = name or CHAMPION
    if wanted not in ALIASES:
        return bench.registry.version(model, wanted)
    alias = bench.registry.alias(model, wanted)
    if alias is None:
        raise UnknownVersionError(f"{model} has no {wanted}")
    return bench.registry.version(model, alias.version)


def _version(bench: Workbench, model: str, alias: str) -> str | None:
    found = bench.registry.alias(model, alias)
    return found.version if found else None


def _doing(bench: Workbench, model: str) -> str:
    running = bench.journal.running(model)
    return ", ".join(f"{run.job} since {from_us(run.started_us):%Y-%m-%d %H:%M:%S}" for run in running) or "waiting"


def _value(metrics: Mapping[str, Any], name: str) -> float | None:
    found: Mapping[str, Any] = metrics.get("overall", metrics).get(name, {})
    return found.get("value")


def _moment(microseconds: Any) -> datetime | None:
    return None if microseconds is None else from_us(int(microseconds))
