"""Verbs that make versions or use one without a server: init, train, import, predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from monitoring.commands.options import model_option, screen_option
from monitoring.terminal import Screen, TrainingBar
from monitoring.workbench import Workbench

FILE = click.Path(path_type=Path, dir_okay=False)
WARNING = "Loading {path} runs whatever code is in it, with your rights. Import only what you would run."


@click.command("init")
@click.argument("table", type=FILE)
@click.option("--target", required=True, metavar="COLUMN", help="What to predict.")
@click.option("--time", metavar="COLUMN", help="What orders the rows; without it, file order and arrival time.")
@click.option("--out", type=FILE, default=Path("model.yaml"), show_default=True, help="The model file to write.")
@click.option("--force", is_flag=True, help="Overwrite the model file.")
@screen_option
def init_verb(table: Path, target: str, time: str | None, out: Path, force: bool, screen: Screen) -> None:
    """Write a commented model file guessed from a TABLE (CSV, CSV.gz or Parquet).

    Example: evergreen init rides.csv --target late --time departed
    """
    from training.guess import init_spec

    if out.exists() and not force:
        raise click.ClickException(f"{out} exists; --force overwrites it, --out names another")
    out.write_text(init_spec(table, target, time), encoding="utf-8")
    screen.text(f"Wrote {out}. Read it, change what is wrong, then: evergreen train {out}", {"model_file": str(out)})


@click.command("train")
@click.argument("model_file", type=FILE)
@screen_option
@click.pass_obj
def train_verb(bench: Workbench, model_file: Path, screen: Screen) -> None:
    """Train a version from MODEL_FILE and register it; the first one becomes the champion.

    Later ones become the challenger: `evergreen promote` is yours to say. Requests that the new version would refuse and the
    champion takes are listed.

    Example: evergreen train model.yaml
    """
    from monitoring.onboarding import train_file

    done = train_file(bench, model_file, TrainingBar(screen))
    screen.facts(f"{done.model}: a new {done.alias}", vars_of(done), hidden=("metrics", "warnings"))
    warn(screen, done.warnings)
    if not screen.as_json:
        screen.rows("on the newest rows, not learned from", metric_rows(done.metrics))


@click.command("import")
@click.argument("payload", type=FILE)
@click.option("--schema", "model_file", type=FILE, required=True, help="The model file it answers to; its data gives the reference.")
@click.option("--yes", is_flag=True, help="Trust the file without being asked.")
@screen_option
@click.pass_obj
def import_verb(bench: Workbench, payload: Path, model_file: Path, yes: bool, screen: Screen) -> None:
    """Register a scikit-learn pipeline trained elsewhere (PAYLOAD: model.joblib).

    Unpickling runs code: only import what you would run.

    Example: evergreen import model.joblib --schema model.yaml
    """
    from monitoring.onboarding import import_file

    screen.note(WARNING.format(path=payload))
    if not yes:
        click.confirm("Do you trust it?", abort=True, err=True)
    done = import_file(bench, payload, model_file)
    screen.facts(f"{done.model}: imported as {done.alias}", vars_of(done), hidden=("metrics", "warnings"))
    warn(screen, done.warnings)


@click.command("predict")
@click.argument("table", type=FILE)
@click.option("--out", "-o", type=FILE, required=True, help="Where to write: .parquet, .csv or .csv.gz.")
@click.option("--version", metavar="VERSION", help="Which version; the champion by default.")
@model_option
@screen_option
@click.pass_obj
def predict_verb(bench: Workbench, table: Path, out: Path, version: str | None, model: str | None, screen: Screen) -> None:
    """Predict the rows of a TABLE without a server; nothing is logged.

    Example: evergreen predict rows.csv -o out.parquet
    """
    from monitoring.offline import predict_table

    done = predict_table(bench, bench.model_named(model), version, table, out)
    screen.facts("predicted", vars_of(done))


def warn(screen: Screen, warnings: Sequence[str]) -> None:
    """Tell people what may be wrong with the rows; programs have it in the result."""
    for text in () if screen.as_json else warnings:
        screen.note(f"warning: {text}")


def vars_of(value: object) -> dict[str, object]:
    """Return the fields of a frozen dataclass by name."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}  # type: ignore[attr-defined]


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return metrics as table rows: name, value, 95 % interval, number of rows."""
    overall = metrics.get("overall", metrics)
    return [
        {"metric": name, "value": one["value"], "low": one["low"], "high": one["high"], "rows": one["n"]} for name, one in overall.items()
    ]
