"""Verbs that look and change nothing: status, versions, show, ledger, verdicts."""

from __future__ import annotations

import click

from monitoring.commands.learning import metric_rows
from monitoring.commands.options import model_option, screen_option
from monitoring.terminal import Screen
from monitoring.workbench import Workbench


@click.command("status")
@model_option
@screen_option
@click.pass_obj
def status_verb(bench: Workbench, model: str | None, screen: Screen) -> None:
    """Say what is happening with each model, why, and when the loop looks next.

    Example: evergreen status
    """
    from monitoring.status import status_of

    names = [record.name for record in bench.registry.models()] if model is None else [bench.model_named(model)]
    found = [status_of(bench, name) for name in names]
    if screen.as_json:
        screen.rows("status", found)
    elif not found:
        screen.note("no model yet; start with `evergreen init table.csv --target COLUMN` or `evergreen train model.yaml`")
    else:
        for one in found:
            screen.facts(str(one["model"]), one, hidden=("model",))


@click.command("versions")
@model_option
@screen_option
@click.pass_obj
def versions_verb(bench: Workbench, model: str | None, screen: Screen) -> None:
    """List the versions of a model, the newest last, with their aliases.

    Example: evergreen versions --model bikes
    """
    from monitoring.status import versions_of

    rows = versions_of(bench, bench.model_named(model))
    screen.rows("versions", rows, ["version", "alias", "algorithm", "score", "trained_through", "created", "parent"])


@click.command("show")
@click.argument("version", required=False)
@model_option
@screen_option
@click.pass_obj
def show_verb(bench: Workbench, version: str | None, model: str | None, screen: Screen) -> None:
    """Show one VERSION (an alias will do; the champion by default): its figures and its model card.

    Example: evergreen show challenger
    """
    from monitoring.status import resolve

    record = resolve(bench, bench.model_named(model), version)
    folder = bench.home.artifacts / record.path
    if screen.as_json:
        screen.facts("", {"version": record.version, "path": folder, **record.manifest})
        return
    card = folder / "card.md"
    screen.text(card.read_text(encoding="utf-8") if card.exists() else f"{record.version}: no card", None)
    screen.rows("on the newest rows, not learned from", metric_rows(record.metrics))


@click.command("ledger")
@click.option("--limit", default=30, show_default=True, help="How many lines.")
@model_option
@screen_option
@click.pass_obj
def ledger_verb(bench: Workbench, limit: int, model: str | None, screen: Screen) -> None:
    """Show every move of an alias, the newest first: when, what, who, why.

    Example: evergreen ledger --limit 5
    """
    from monitoring.commands.learning import vars_of

    entries = bench.registry.ledger(None if model is None else bench.model_named(model), limit)
    rows = [vars_of(entry) for entry in entries]
    if not screen.as_json:
        rows = [{**row, "why": str(row["why"]).partition("\n")[0]} for row in rows]
    screen.rows("ledger", rows, ["seq", "at", "model", "action", "version", "previous", "who", "why"])


@click.command("verdicts")
@click.option("--limit", default=20, show_default=True, help="How many slots.")
@model_option
@screen_option
@click.pass_obj
def verdicts_verb(bench: Workbench, limit: int, model: str | None, screen: Screen) -> None:
    """Show what the loop concluded at each slot, the newest first, and why.

    Example: evergreen verdicts --json
    """
    from monitoring.status import verdicts_of

    screen.rows("verdicts", verdicts_of(bench, bench.model_named(model), limit), ["slot", "verdict", "reasons"])
