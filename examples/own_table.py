"""A table of one's own, unattended: init, train on its older rows, serve and watch, replay its newer rows with late labels.

    python examples/own_table.py rides.csv --target late --time departed

TABLE is a CSV in its folder (the folder alone, where there is no other). A fresh home (`.evergreen-own`) takes the model file that
`evergreen init` writes, the two parts of the table, and all that is logged and decided.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from monitoring.admin.terminal import Screen
from monitoring.admin.workbench import Workbench
from monitoring.cli.main import sentence
from monitoring.errors import InputError, MonitoringError
from monitoring.local.processes import BIND_VARIABLES, Processes
from monitoring.local.replay import replay
from monitoring.local.up import addresses, child_environment, end_on_signals, prepare, start
from service.errors import ServiceError
from service.ports import refuse_taken
from training.clock import from_us
from training.dataset.dataset import read_table, rows_from_columns
from training.errors import EvergreenError
from training.evaluation.scores import evaluate
from training.model_file.model_spec import ModelSpec, parse_spec
from training.proposing.proposing import propose
from training.schema.feature import Feature

PLACE = "the place of a row in the file"


def main() -> int:
    """Run from the table to the figures; exit code 1 and one sentence when something is in the way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="a CSV, or a folder with one CSV in it")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--time", required=True, help="the column that orders the rows")
    parser.add_argument("--older", type=float, default=0.6, help="the share of rows to learn from at first")
    parser.add_argument("--home", type=Path, default=Path(".evergreen-own"), help="where all of it goes")
    options = parser.parse_args()
    screen = Screen(as_json=False)
    try:
        run(screen, only_table(options.table), options.target, options.time, options.older, options.home.absolute())
    except KeyboardInterrupt:
        screen.note("stopped")
        return 130
    except (EvergreenError, ServiceError, MonitoringError, OSError) as error:
        screen.note(f"error: {sentence(error)}")
        return 1
    return 0


def only_table(path: Path) -> Path:
    """Return the CSV, or the only one of a folder."""
    tables = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if len(tables) != 1:
        raise InputError(f"{path} holds {len(tables)} CSV files; name one of them")
    return tables[0]


def run(screen: Screen, table: Path, target: str, time: str, older: float, home: Path) -> None:
    """Write the model file and both parts, train, serve, replay, show what came of it."""
    if home.exists():
        raise InputError(f"{home} exists; remove it, or name another with --home")
    bench = Workbench({**os.environ, "EVERGREEN_HOME": str(home), "EVERGREEN_TICK_SECONDS": "0.1", "EVERGREEN_ALIAS_POLL_SECONDS": "0.1"})
    binds = addresses(bench.environment)
    for module, bind in binds.items():
        refuse_taken(bind, BIND_VARIABLES[module])
    folder, text = home / "table", proposed(screen, table, target, time)
    folder.mkdir(parents=True, mode=0o700)
    write_parts(table, parse_spec(text), older, folder)
    model_file = folder / "model.yaml"
    model_file.write_text(re.sub(r"^data: .*$", "data: older.csv", text, count=1, flags=re.MULTILINE), encoding="utf-8")
    screen.note(f"init: wrote {model_file}, older.csv and newer.csv beside it")
    end_on_signals()
    (spec,) = prepare(bench, [model_file], screen)
    with Processes(child_environment(bench, [spec.model]), home / "logs") as processes:
        start(processes, binds)
        screen.note(f"service http://{binds['service']}   monitor http://{binds['monitoring']}/metrics")
        rows = read_table(folder / "newer.csv", spec.schema, spec.read)
        replayed = replay(
            rows,
            spec,
            f"http://{binds['service']}",
            database=bench.database,
            on_slot=lambda slot: screen.note(
                f"{from_us(slot.slot_us):%Y-%m-%d}  {slot.verdict}  {slot.reasons[0] if slot.reasons else ''}"
            ),
        )
    known = np.array([label is not None and label == label for label in replayed.rows.labels.tolist()])
    scores = evaluate(replayed.rows.take(known), replayed.prediction.take(known), spec.schema, more=spec.more_metrics)
    moves = Counter(line.action for line in bench.registry.ledger(spec.model, None))
    screen.facts(
        "replayed",
        {
            "rows": len(replayed.rows),
            "labels": replayed.label_counts,
            "slots": len(replayed.slots),
            "versions that answered": len(set(replayed.version.tolist())),
            **{action: moves[action] for action in ("promote", "refuse", "rollback", "failed")},
            spec.metric: str(scores[spec.metric]),
        },
    )
    bench.close()
    screen.note(f"Look around: {Path(sys.executable).with_name('evergreen')} --home {home} verdicts   (or ledger, versions, show, status)")


def proposed(screen: Screen, table: Path, target: str, time: str) -> str:
    """Return the model file that `evergreen init` writes; where more than one reading fits, a person has to choose."""
    proposal = propose(table, target, time)
    for note in proposal.notes:
        screen.note(f"note: {note}")
    if proposal.choices:
        raise InputError(
            f"more than one reading fits all cells of {table}: {'; '.join(proposal.choices)}. Write it another way, or use evergreen init"
        )
    return proposal.text


def write_parts(table: Path, spec: ModelSpec, older: float, folder: Path) -> None:
    """Write the rows of a CSV, as they stand there, into `older.csv` and `newer.csv`, in the order of their time."""
    layout = {"sep": spec.read.delimiter, "encoding": spec.read.encoding, "quotechar": spec.read.quote}
    cells = pd.read_csv(table, dtype=str, keep_default_na=False, **layout)
    timed = replace(spec.schema, features=(Feature(PLACE, "integer"),), extra="ignore")
    order = (
        rows_from_columns(cells.drop(columns=spec.schema.target).assign(**{PLACE: np.arange(len(cells))}), timed).columns[PLACE].astype(int)
    )
    cut = round(len(cells) * older)
    for name, places in (("older.csv", order[:cut]), ("newer.csv", order[cut:])):
        cells.iloc[places].to_csv(folder / name, index=False, **layout)


if __name__ == "__main__":
    sys.exit(main())
