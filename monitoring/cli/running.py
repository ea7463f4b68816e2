"""Verbs that run: up and replay."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from monitoring.admin.terminal import Screen
from monitoring.admin.workbench import Workbench
from monitoring.cli.options import INPUT_FILE, screen_option


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
