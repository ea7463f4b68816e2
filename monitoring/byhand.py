"""What a person decides in the loop's place: promote, roll back, label; each with a line in the ledger or the log."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from monitoring.errors import OfflineError
from monitoring.status import resolve
from monitoring.workbench import Workbench
from service.ids import IdMinter
from service.label_log import LabelItem, LabelRules
from training.clock import duration_us, from_us
from training.moves import CHAMPION, PREVIOUS
from training.registry_tables import AliasRecord
from training.signing import load_or_make_key


def promote(bench: Workbench, model: str, version: str, why: str, *, force: bool = False) -> AliasRecord:
    """Make a version (or the one an alias names) the champion; with `force` also across another contract.

    Raises
    ------
    ArtifactError
        The version is not signed, was changed, or does not reproduce its golden rows: the alias stays, `force` or not.
    """
    record = resolve(bench, model, version)
    bench.load(record).self_test()
    champion = bench.registry.alias(model, CHAMPION)
    return bench.registry.promote(
        model,
        record.version,
        expected=champion.version if champion else None,
        who=bench.who,
        why=why,
        evidence={"gate": "none: by hand"},
        now=bench.now(),
        force=force,
    )


def roll_back(bench: Workbench, model: str, why: str) -> AliasRecord:
    """Bring the champion before this one back; raises as `promote` when it may not be loaded."""
    champion = bench.registry.alias(model, CHAMPION)
    if bench.registry.alias(model, PREVIOUS) is not None:
        bench.load(resolve(bench, model, PREVIOUS)).self_test()
    return bench.registry.roll_back(model, expected=champion.version if champion else None, who=bench.who, why=why, now=bench.now())


def advance_clock(bench: Workbench, model: str, why: str) -> datetime | None:
    """Move model time to the newest logged row, with a line in the ledger; None while there is no row."""
    last_us = bench.log.last_event(model)
    if last_us is None:
        return None
    bench.log.set_watermark(model, last_us)
    told = {"model_time": from_us(last_us).isoformat()}
    bench.registry.record(model, "clock", who=bench.who, why=why, evidence=told, now=bench.now())
    return from_us(last_us)


def label(bench: Workbench, model: str, pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write labels into the prediction log and count what became of them; without the server, by the same rules."""
    spec = bench.spec(model)
    minter = IdMinter(load_or_make_key(bench.home.ensure().ids_key))
    items = [
        LabelItem(
            label=pair.get("label"),
            id=minter.parse(str(pair["id"])) if pair.get("id") else None,
            own_id=pair.get("own_id") or None,
        )
        for pair in pairs
    ]
    rules = LabelRules(spec.schema.task, spec.schema.classes, duration_us(spec.labels.too_late))
    results = bench.log.label(model, items, bench.now(), rules=rules)
    return {"model": model, "labels": len(results), **Counter(result.status for result in results)}


def read_labels(table: Path) -> list[dict[str, str]]:
    """Read a CSV with the columns `label` and `id` or `own_id`.

    Raises
    ------
    OfflineError
        A column is missing.
    """
    with table.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        columns = set(reader.fieldnames or ())
        if "label" not in columns or not columns & {"id", "own_id"}:
            raise OfflineError(f"{table} needs the columns label and id (or own_id); it has {', '.join(sorted(columns)) or 'none'}")
        return list(reader)
