"""Verbs that decide in the loop's place, or steer it: check, retrain, promote, rollback, pause, resume, label."""

from __future__ import annotations

from pathlib import Path

import click

from monitoring.commands.learning import vars_of
from monitoring.commands.options import model_option, screen_option, wait_option, why_option
from monitoring.terminal import Screen
from monitoring.workbench import Workbench


@click.command("check")
@wait_option(60.0)
@model_option
@screen_option
@click.pass_obj
def check_verb(bench: Workbench, wait: float, model: str | None, screen: Screen) -> None:
    """Have the running monitor judge the newest rows, as the next slot would, and act on nothing.

    Example: evergreen check --json
    """
    from monitoring.asking import ask

    screen.facts("verdict", ask(bench, bench.model_named(model), "check", "by hand", wait_seconds=wait).to_dict(), hidden=("evidence",))


@click.command("retrain")
@wait_option(600.0)
@model_option
@why_option
@screen_option
@click.pass_obj
def retrain_verb(bench: Workbench, wait: float, model: str | None, why: str, screen: Screen) -> None:
    """Have the running monitor train a challenger on what is known now; it is promoted if it passes the gate.

    Example: evergreen retrain --why "new stations"
    """
    from monitoring.asking import ask

    screen.facts("retraining", ask(bench, bench.model_named(model), "retrain", why, wait_seconds=wait).to_dict(), hidden=("evidence",))


@click.command("promote")
@click.argument("version")
@click.option("--force", is_flag=True, help="Also across another contract; goes into the ledger.")
@model_option
@why_option
@screen_option
@click.pass_obj
def promote_verb(bench: Workbench, version: str, force: bool, model: str | None, why: str, screen: Screen) -> None:
    """Make VERSION (or `challenger`) the champion; the service follows within a second.

    Example: evergreen promote challenger --why "looks right"
    """
    from monitoring.byhand import promote

    screen.facts("promoted", vars_of(promote(bench, bench.model_named(model), version, why, force=force)))


@click.command("rollback")
@model_option
@why_option
@screen_option
@click.pass_obj
def rollback_verb(bench: Workbench, model: str | None, why: str, screen: Screen) -> None:
    """Bring the previous champion back.

    Example: evergreen rollback --why "complaints from the desk"
    """
    from monitoring.byhand import roll_back

    screen.facts("rolled back", vars_of(roll_back(bench, bench.model_named(model), why)))


@click.command("pause")
@model_option
@why_option
@screen_option
@click.pass_obj
def pause_verb(bench: Workbench, model: str | None, why: str, screen: Screen) -> None:
    """Stop the loop of a model; it is still served and logged.

    Example: evergreen pause --why "migration of the stations"
    """
    name = bench.model_named(model)
    bench.registry.set_paused(name, True, bench.who, why)
    screen.text(f"the loop of {name} is paused; evergreen resume goes on", {"model": name, "paused": True})


@click.command("resume")
@model_option
@why_option
@click.option(
    "--advance-clock", is_flag=True, help="Move model time to the newest logged row: after a gap longer than watching.clock_bound."
)
@screen_option
@click.pass_obj
def resume_verb(bench: Workbench, model: str | None, why: str, advance_clock: bool, screen: Screen) -> None:
    """Let the loop of a model go on; slots that passed meanwhile are judged in order.

    Example: evergreen resume
    """
    from monitoring.byhand import advance_clock as move

    name = bench.model_named(model)
    moved = move(bench, name, why) if advance_clock else None
    bench.registry.set_paused(name, False, bench.who, why)
    told = {"model": name, "paused": False, "model_time": moved}
    screen.text(f"the loop of {name} goes on" + (f"; model time is {moved:%Y-%m-%d %H:%M}" if moved else ""), told)


@click.command("label")
@click.argument("prediction_id", required=False, metavar="[ID]")
@click.argument("label", required=False)
@click.option("--file", "table", type=click.Path(path_type=Path, dir_okay=False), help="A CSV with the columns id (or own_id) and label.")
@model_option
@screen_option
@click.pass_obj
def label_verb(
    bench: Workbench, prediction_id: str | None, label: str | None, table: Path | None, model: str | None, screen: Screen
) -> None:
    """Say what turned out to be true: LABEL of the prediction ID, or many from a file.

    Example: evergreen label --file truth.csv
    """
    from monitoring.byhand import label as write
    from monitoring.byhand import read_labels

    if (table is None) == (prediction_id is None or label is None):
        raise click.UsageError("say ID and LABEL, or --file")
    pairs = read_labels(table) if table is not None else [{"id": prediction_id, "label": label}]
    screen.facts("labels", write(bench, bench.model_named(model), pairs))
