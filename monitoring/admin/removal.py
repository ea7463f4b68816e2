"""A version or a whole model is removed: from the registry, then its files; manifests and the ledger stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from monitoring.admin.status import resolve
from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from monitoring.journal import tables as journal_tables
from monitoring.retraining.plan import history_of
from service.app import draining
from service.home_lock import claim
from service.prediction_log.forgetting import forget_model as forget_in_log
from service.settings import from_environment as service_settings
from training.artifacts.verification import MANIFEST, SIGNATURE
from training.json_text import to_text
from training.registry.tables import Cause, VersionRecord

KEPT = (MANIFEST, SIGNATURE)


def remove_version(bench: Workbench, model: str, name: str, why: str) -> dict[str, Any]:
    """Remove one version (or what an alias names) that nothing needs; return what went.

    Raises
    ------
    InputError
        A run that is not over, or an open probation, needs it.
    RegistryError
        It is the champion.
    """
    record = resolve(bench, model, name)
    _refuse_needed(bench, record)
    cleared = [alias.alias for alias in bench.registry.aliases() if (alias.model, alias.version) == (model, record.version)]
    bench.registry.remove_version(model, record.version, cause=Cause(bench.who, why), now=bench.now())
    files = _delete_files(bench, [record])
    return {"model": model, "version": record.version, "aliases_cleared": cleared, **files}


def remove_model(bench: Workbench, model: str, why: str) -> dict[str, Any]:
    """Remove a model with its versions, aliases, logged rows and labels, what is in the spool, and its journal; return what went.

    Raises
    ------
    InputError
        A run of it is not over.
    SettingsError
        A service serves from this home: what it answers meanwhile would come into the log afterwards.
    """
    running = bench.journal.running(model)
    if running:
        raise InputError(f"a run of {model} is not over ({running[0].run_id}); wait for its end, or stop the monitor")
    lock = claim(bench.home, wait_seconds=0.0)
    try:
        with draining(service_settings(bench.environment)):
            pass  # leaving it brings in what is in the spool
        bench.log.prepare()
        rows = forget_in_log(bench.database, model, bench.now())
        with bench.database.write() as connection:
            forget_in_journal(connection, model)
        (bench.home.champions / f"{model}.json").unlink(missing_ok=True)
        removed = bench.registry.remove_model(model, cause=Cause(bench.who, why), now=bench.now())
        files = _delete_files(bench, removed)
    finally:
        os.close(lock)
    return {"model": model, "versions": len(removed), "logged_rows": rows, **files}


def forget_in_journal(connection: sa.Connection, model: str) -> None:
    """Delete all that the journal knows of a model, runs, verdicts, episodes, messages; leases belong to monitors."""
    for table in journal_tables.metadata.sorted_tables:
        if "model" in table.c:
            connection.execute(table.delete().where(table.c.model == model))


def _refuse_needed(bench: Workbench, record: VersionRecord) -> None:
    for run in bench.journal.running(record.model):
        if record.run_id == run.run_id or record.version in to_text(dict(run.payload)):
            raise InputError(f"{record.version} is in a run that is not over ({run.run_id}): try again when it is")
    probation = bench.journal.open_probation(record.model)
    if probation is not None and record.version in (probation.version, probation.previous):
        raise InputError(f"{record.version} is in the open probation of {probation.version}: try again when it is over")


def _delete_files(bench: Workbench, records: Iterable[VersionRecord]) -> dict[str, int]:
    """Delete the files of versions that were removed, but their manifests, and the training rows that nothing needs any more."""
    freed = 0
    for record in records:
        folder = bench.home.artifacts / record.path
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in KEPT:
                freed += path.stat().st_size
                path.unlink()
        shutil.rmtree(bench.home.cache / record.digest, ignore_errors=True)
    needed, rows = _rows_needed(bench), 0
    for record in records:
        digest = record.manifest.get("rows_digest")
        path = bench.home.rows / f"{digest}.parquet"
        if digest and digest not in needed and path.exists():
            freed, rows = freed + path.stat().st_size, rows + 1
            path.unlink()
    return {"row_files": rows, "bytes_freed": freed}


def _rows_needed(bench: Workbench) -> set[str]:
    """Return the digests of the rows that a version was trained on, or a retraining of one would continue."""
    needed: set[str] = set()
    for model in bench.registry.models():
        for record in bench.registry.versions(model.name):
            with suppress(KeyError):
                needed.add(record.manifest["rows_digest"])
            root = history_of(bench.registry, record)
            if root is not None:
                needed.add(root.manifest["rows_digest"])
        needed |= {run.payload["history"] for run in bench.journal.running(model.name) if run.payload.get("history")}
    return needed
