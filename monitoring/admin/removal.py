"""A version or a whole model is removed: from the registry, then its files; manifests and the ledger stay."""

from __future__ import annotations

import os
from typing import Any

import sqlalchemy as sa

from monitoring.admin.status import resolve
from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from monitoring.journal import tables as journal_tables
from monitoring.loop.retention import delete_versions
from service.app import draining
from service.home_lock import claim
from service.prediction_log.forgetting import forget_model as forget_in_log
from service.settings import from_environment as service_settings
from training.registry.tables import Cause, VersionRecord


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
    files = delete_versions(bench.home, bench.registry, bench.journal, [record]).to_dict()
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
        files = delete_versions(bench.home, bench.registry, bench.journal, removed).to_dict()
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
        if run.names(record):
            raise InputError(f"{record.version} is in a run that is not over ({run.run_id}): try again when it is")
    probation = bench.journal.open_probation(record.model)
    if probation is not None and record.version in (probation.version, probation.previous):
        raise InputError(f"{record.version} is in the open probation of {probation.version}: try again when it is over")
