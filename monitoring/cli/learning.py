"""Verbs that make versions or use one without a server: init, train, import, predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitoring.admin.terminal import Screen, TrainingBar
from monitoring.admin.workbench import Workbench
from monitoring.cli.options import INPUT_FILE, INPUT_TABLE, model_option, one_table, screen_option
from monitoring.errors import InputError

if TYPE_CHECKING:
    from training.proposing.proposing import Proposed

FILE = click.Path(path_type=Path, dir_okay=False)
MODEL_FILE = Path("model.yaml")
WARNING = "Loading {path} runs whatever code is in it, with your rights. Import only what you would run."


@click.command("init")
@click.argument("tables", metavar="TABLE", type=INPUT_TABLE, nargs=-1, required=True)
@click.option("--target", required=True, metavar="COLUMN", help="What to predict.")
@click.option("--time", metavar="COLUMN", help="What orders the rows; without it they have no order, and requests the time they come.")
@click.option("--out", type=FILE, default=Path("model.yaml"), show_default=True, help="The model file to write.")
@click.option("--force", is_flag=True, help="Overwrite the model file.")
@screen_option
def init_verb(tables: tuple[Path, ...], target: str, time: str | None, out: Path, force: bool, screen: Screen) -> None:
    """Write a commented model file guessed from a TABLE (CSV, JSON lines, Excel, Parquet; a folder; a pattern, or files it matches).

    Example: evergreen init rides.csv --target late --time departed

    Example: evergreen init 'parts/*.csv' --target late
    """
    from monitoring.admin.onboarding import propose_file

    if out.exists() and not force:
        raise click.ClickException(f"{out} exists; --force overwrites it, --out names another")
    table = one_table(tables)
    if len(tables) > 1:
        screen.note(f"note: {len(tables)} files are read as one table, {table}")
    proposed = propose_file(table, (target, time), out, TrainingBar(screen))
    show_proposed(screen, proposed, table, out)
    screen.text(
        f"Wrote {out}. Read it, change what is wrong, then: evergreen train {out}", {"model_file": str(out), "notes": proposed.notes}
    )


@click.command("train")
@click.argument("model_file", type=INPUT_FILE)
@screen_option
@click.pass_obj
def train_verb(bench: Workbench, model_file: Path, screen: Screen) -> None:
    """Train a version from MODEL_FILE and register it; the first one becomes the champion.

    Later ones become the challenger: `evergreen promote` is yours to say. Requests that the new version would refuse and the
    champion takes are listed.

    Example: evergreen train model.yaml
    """
    from monitoring.admin.onboarding import train_file

    with screen.aside():
        done = train_file(bench, model_file, TrainingBar(screen))
    screen.facts(f"{done.model}: a new {done.alias}", vars_of(done), hidden=("metrics", "warnings", "held_out", "moving"))
    warn(screen, done.warnings, done.moving)
    say_where_not_served(bench, done.model, screen)
    if not screen.as_json:
        screen.rows(f"on {done.held_out}, not learned from", metric_rows(done.metrics))


@click.command("import")
@click.argument("pipeline_file", type=INPUT_FILE)
@click.option("--schema", "model_file", type=INPUT_FILE, help="The model file it answers to; its data gives the reference.")
@click.option("--data", "table", type=INPUT_TABLE, help="Without a model file: the table to write one for.")
@click.option("--target", metavar="COLUMN", help="With --data: what it predicts.")
@click.option("--time", metavar="COLUMN", help="With --data: what orders the rows.")
@click.option("--yes", is_flag=True, help="Trust the file without being asked.")
@screen_option
@click.pass_obj
def import_verb(  # 8 parameters: the options of the verb
    bench: Workbench,
    pipeline_file: Path,
    model_file: Path | None,
    table: Path | None,
    target: str | None,
    time: str | None,
    yes: bool,
    screen: Screen,
) -> None:
    """Register a scikit-learn pipeline trained elsewhere (PIPELINE_FILE: model.joblib).

    It answers to a model file, or to one that is written for the columns it was fitted on, model.yaml. Unpickling runs code: only import
    what you would run.

    Example: evergreen import model.joblib --schema model.yaml

    Example: evergreen import model.joblib --data rides.csv --target late
    """
    from monitoring.admin.onboarding import import_file, write_model_file

    path = model_file or MODEL_FILE
    if (model_file is None) == (table is None) or (table is None) != (target is None) or (table is None and time is not None):
        raise click.UsageError("give --schema MODEL_FILE, or --data TABLE with --target COLUMN")
    if table is not None and path.exists():
        raise InputError(f"{path} exists; name it with --schema, or move it away")
    screen.note(WARNING.format(path=pipeline_file))
    if not yes and not is_trusted():
        raise InputError(f"{pipeline_file} was not imported: say y when you are asked, or --yes, if you trust it")
    with screen.aside():
        if table is not None and target is not None:
            show_proposed(screen, write_model_file(bench, pipeline_file, table, (target, time), path), table, path)
            screen.note(f"Wrote {path}; its labels, watching and retraining are guesses: read them.")
        done = import_file(bench, pipeline_file, path)
    screen.facts(f"{done.model}: imported as {done.alias}", vars_of(done), hidden=("metrics", "warnings", "held_out", "moving"))
    warn(screen, done.warnings, done.moving)
    say_where_not_served(bench, done.model, screen)
    if not screen.as_json:
        screen.rows(f"on {done.held_out}; nobody here knows whether it was fitted on them", metric_rows(done.metrics))


@click.command("predict")
@click.argument("table", type=INPUT_FILE)
@click.option("--out", "-o", type=FILE, required=True, help="Where to write: .parquet, .csv, .jsonl; the last two also .gz.")
@click.option("--version", metavar="VERSION", help="Which version; the champion by default.")
@click.option("--prefix", metavar="TEXT", default="", help="Put before the names of the columns that are added.")
@click.option("--skip-bad", is_flag=True, help="Write rows that break the contract too, with an empty prediction and their `error`.")
@model_option
@screen_option
@click.pass_obj
def predict_verb(bench: Workbench, /, table: Path, version: str | None, model: str | None, screen: Screen, **wanted: Any) -> None:
    """Predict the rows of a TABLE without a server; nothing is logged.

    What is in TABLE is written as it is, in its order, with `prediction`, `probability_<class>` and `version` at its right. The target
    may be missing or wrong. A row that breaks the contract ends it with nothing written, unless --skip-bad is said.

    Example: evergreen predict rows.csv -o out.csv
    """
    from monitoring.batch.predict import Wanted, predict_table

    with screen.aside():
        done = predict_table(bench, bench.model_named(model), version, table, Wanted(**wanted), TrainingBar(screen))
    screen.facts("predicted", vars_of(done))


def show_proposed(screen: Screen, proposed: Proposed, table: Path, out: Path) -> None:
    """Show what was seen of a table; raise InputError where a person must choose how it is read."""
    for note in proposed.notes:
        screen.note(f"note: {note}")
    if proposed.choices:
        lines = "".join(f"\n  {line}" for line in proposed.choices)
        raise InputError(
            f"more than one reading fits all cells of {table}. {out} is written but for that; paste one of these lines:{lines}"
        )


def is_trusted() -> bool:
    """Ask whether a file is trusted; no answer, as from an empty or closed input, is a no, and Ctrl-C ends the command."""
    try:
        return click.confirm("Do you trust it?", err=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):
            click.echo(err=True)
            return False
        raise


def warn(screen: Screen, warnings: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Show people what may be wrong with the rows, and what else was seen in them; programs have it in the result."""
    for kind, texts in (("warning", warnings), ("note", notes)):
        for text in () if screen.as_json else texts:
            screen.note(f"{kind}: {text}")


def say_where_not_served(bench: Workbench, model: str, screen: Screen) -> None:
    """Say, on standard error to who reads JSON, that the running `evergreen up` leaves this model out."""
    from monitoring.admin.served_only import why_not_served

    reason = why_not_served(bench.home, model)
    if reason is not None:
        screen.note(f"note: {reason}")


def vars_of(value: object) -> dict[str, object]:
    """Return the fields of a frozen dataclass by name."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}  # type: ignore[attr-defined]


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return metrics as table rows: name, value, 95 % interval, number of rows."""
    overall = metrics.get("overall", metrics)
    return [
        {"metric": name, "value": one["value"], "low": one["low"], "high": one["high"], "rows": one["n"]} for name, one in overall.items()
    ]
