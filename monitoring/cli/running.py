"""Verbs that run: up, replay and backtest."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from monitoring.admin.terminal import Screen, TrainingBar
from monitoring.admin.workbench import Workbench
from monitoring.cli.options import INPUT_FILE, INPUT_TABLE, screen_option


@click.command("up")
@click.argument("model_files", type=INPUT_FILE, nargs=-1)
@screen_option
@click.pass_obj
def up_verb(bench: Workbench, model_files: tuple[Path, ...], screen: Screen) -> None:
    """Train what has no champion yet, start the service and the monitor, and stay until Ctrl-C.

    Without MODEL_FILES all models that are registered are served, later ones too; with them only those. A file that changes the
    contract of a model with a champion is refused: `evergreen train` it first.

    Example: evergreen up model.yaml
    """
    from monitoring.local.up import up

    up(bench, model_files, screen)


@click.command("replay")
@click.argument("model_file", type=INPUT_FILE)
@click.argument("table", type=INPUT_FILE)
@click.option("--url", metavar="URL", help="The running service; default http://$EVERGREEN_BIND, else http://127.0.0.1:8000.")
@screen_option
@click.pass_obj
def replay_verb(bench: Workbench, model_file: Path, table: Path, url: str | None, screen: Screen) -> None:
    """Send the rows of a labelled TABLE to a running service in their order, labels with their delay.

    Waits for the monitor at each slot, so the outcome does not depend on the machine's speed. Reads the service's database to know
    when to go on, so it runs on the same machine. With keys, $EVERGREEN_KEY is sent.

    Example: evergreen replay examples/bikes/model.yaml examples/bikes/live.csv.gz
    """
    from monitoring.local.client import url_of
    from monitoring.local.replay import replay
    from service.settings import from_environment as service_settings
    from training.clock import from_us
    from training.dataset.dataset import read_table
    from training.model_file.model_spec import load_spec

    spec = load_spec(model_file)
    done = replay(
        read_table(table, spec.schema, spec.read),
        spec,
        url_of(service_settings(bench.environment).bind) if url is None else url,
        database=bench.database,
        key=bench.environment.get("EVERGREEN_KEY"),
        on_slot=lambda slot: screen.note(f"{from_us(slot.slot_us):%Y-%m-%d %H:%M}  {slot.verdict:<10} {'; '.join(slot.reasons)}"),
    )
    verdicts = Counter(slot.verdict for slot in done.slots)
    screen.facts(
        "replayed",
        {"model": spec.model, "rows": len(done.rows), "slots": len(done.slots), "verdicts": verdicts, "labels": done.label_counts},
    )


@click.command("backtest")
@click.argument("model_file", type=INPUT_FILE)
@click.argument("table", type=INPUT_TABLE)
@click.option("--first", default="15%", show_default=True, metavar="SHARE", help="What the first version learns from; or '5000 rows'.")
@click.option(
    "--label-delay", metavar="DELAY", help="How late labels are: 7d, '500 rows', 1d..10d, 'exponential 3d', 'lognormal 3d 20d'; "
    "default: labels.delay of the model file.",
)  # fmt: skip
@click.option(
    "--label-delay-column", metavar="COLUMN", help="The column with it: days, durations such as 36h, or times when labels were known."
)
@click.option(
    "--policies",
    metavar="NAMES",
    default="",
    help="never, maps, every3-all ..., periodic, alarm, keeper, hindsight, with commas; default all.",
)
@click.option(
    "--against", type=INPUT_FILE, multiple=True, metavar="MODEL_FILE", help="Another model file to compare; more than once for more."
)
@click.option(
    "--fault", type=click.Choice(["flip", "constant", "stuck"]), help="What goes wrong in three stretches of rows: labels, or a column."
)
@click.option(
    "--shuffle", is_flag=True, help="Let rows change places, so that nothing drifts: what does a policy cost where it has no use?"
)
@click.option("--training-takes", metavar="DURATION", help="How long a training takes in model time: 2h; default none.")
@click.option("--price", default=0.0, metavar="LOSS", help="What a fit costs, as a sum of the loss of rows; default nothing.")
@click.option("--processes", type=click.IntRange(1), help="How many policies at a time; default one a processor.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the report there, as one HTML file."
)
@screen_option
def backtest_verb(model_file: Path, table: Path, out: Path | None, screen: Screen, policies: str, **wanted: Any) -> None:
    """Live through a TABLE as if its rows came now, under MODEL_FILE and under other policies: which would have served them best?

    Each policy has the loop as it is, in this process and a home that is thrown away: verdicts, trainings, gate, promotions, roll-backs.
    Losses are those of the rows as they were answered, by their true labels. Where a policy is surely better than the model file,
    what to paste into it is shown.

    Policies: yours (the model file), never (the first version for ever), maps (that, its answers mapped slot by slot), every3-all,
    every3-recent, every9-..., every27-... (retrained every so many slots, on all rows or the recent ones), alarm (only when it does
    worse), keeper (six members), hindsight (bare refits at every slot, on the window that turned out best: nobody could have known it).

    Example: evergreen backtest model.yaml history.parquet --out report.html

    Example: evergreen backtest model.yaml history.parquet --label-delay 1d..10d --fault flip --policies never,alarm
    """
    from monitoring.backtest.backtest import backtest
    from monitoring.backtest.scoring import table_row
    from monitoring.backtest.stream import Circumstances
    from training.clock import parse_duration

    how = Circumstances(*(wanted.pop(name) for name in ("first", "label_delay", "label_delay_column", "fault", "shuffle")))
    takes = wanted.pop("training_takes")
    names = [name.strip() for name in policies.split(",") if name.strip()]
    duration = timedelta() if takes is None else parse_duration(takes)
    with screen.aside():
        done = backtest(model_file, table, how=how, policies=names, training_takes=duration, progress=TrainingBar(screen), **wanted)
    if out is not None:
        from monitoring.backtest.page import page_of

        out.write_text(page_of(done), encoding="utf-8")
        screen.note(f"the report is in {out}")
    if screen.as_json:
        screen.text("", done.to_dict())
        return
    for note in done.notes:
        screen.note(f"note: {note}")
    title = f"{done.loss} (lower is better) of {done.live_rows:,} rows after the first {done.first_rows:,}"
    screen.rows(title, [table_row(score, has_price=done.price > 0) for score in done.scores])
    screen.text(done.verdict, None)
    if done.better:
        screen.text(f"To do as {done.better[0].policy} does, put into {model_file}:\n{done.better[0].block}", None)
