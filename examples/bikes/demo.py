"""Months of the example's traffic in minutes, over HTTP, with delayed labels, watched live in the terminal.

A fresh home (`.evergreen-demo`), the real service, the real monitor. On the way a person promotes a bad version by force, to be
taken back. The result does not depend on the machine's speed: the replay waits for the monitor at every slot.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from monitoring.admin.manual_actions import promote
from monitoring.admin.terminal import Screen
from monitoring.admin.workbench import Workbench
from monitoring.backtest.judged_slots import JudgedSlot
from monitoring.cli.main import sentence
from monitoring.errors import MonitoringError
from monitoring.local.processes import BIND_VARIABLES, Processes
from monitoring.local.replay import Replayed, replay
from monitoring.local.up import addresses, child_environment, prepare, start
from service.errors import ServiceError
from service.ports import refuse_taken
from training.artifacts.artifact import load_verified
from training.clock import from_us, to_us
from training.dataset.dataset import read_table
from training.errors import EvergreenError
from training.evaluation.gate import jackknife_difference
from training.evaluation.losses import METRICS
from training.evaluation.scores import evaluate
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHAMPION
from training.run import train
from training.schema.prediction import Prediction
from training.schema.rows import Rows

sys.path.insert(0, str(Path(__file__).parent))
import stream

HERE = Path(__file__).parent
FORCED = datetime(2024, 11, 19, tzinfo=UTC)
SHOWN_SLOTS = 14
COLOURS = {"keep": "green", "watch": "yellow", "retrain": "cyan", "blind": "blue", "quarantine": "red", "roll_back": "magenta"}


@dataclass
class View:
    """What the terminal shows: the last slots, what happened at them, and the tally."""

    bench: Workbench
    model: str
    slots: deque[tuple[str, ...]] = field(default_factory=lambda: deque(maxlen=SHOWN_SLOTS))
    seen_seq: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    announced: set[str] = field(default_factory=set)

    def add(self, slot: JudgedSlot) -> None:
        """Take in one slot and the ledger lines since the last one."""
        self.counts[slot.verdict] += 1
        moves = [line for line in reversed(self.bench.registry.ledger(self.model, 50)) if line.seq > self.seen_seq]
        self.seen_seq = max([self.seen_seq, *(line.seq for line in moves)])
        done = [line for line in moves if line.action in ("promote", "refuse", "rollback", "failed")]
        self.counts.update(line.action for line in done)
        world = [event.name for event in stream.EVENTS if event.name not in self.announced and to_us(event.first) <= slot.slot_us]
        self.announced.update(world)
        self.slots.append(
            (
                f"{from_us(slot.slot_us):%Y-%m-%d}",
                ", ".join(world),
                slot.verdict,
                slot.reasons[0] if slot.reasons else "",
                "; ".join(f"{line.action}: {line.why}" for line in done),
                slot.champion[-12:],
            )
        )

    def __rich__(self) -> Group:
        table = Table(expand=True)
        for name, width in (("model date", 10), ("the world", 12), ("verdict", 10), ("why", None), ("done", None), ("champion", 12)):
            table.add_column(name, width=width, overflow="fold")
        for date, world, verdict, why, done, champion in self.slots:
            colour = COLOURS.get(verdict, "white")
            table.add_row(date, Text(world, "bold"), Text(verdict, colour), Text(_short(why)), Text(_short(done), "bold"), champion)
        counts = "   ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return Group(table, Text(counts))


def main() -> int:
    """Run the demo; exit code 1 and one sentence when something is in the way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--days", type=int, default=stream.YEAR_DAYS, help="how much of the live year to replay")
    parser.add_argument("--no-events", action="store_true", help="the negative control: nothing but the seasons happens")
    options = parser.parse_args()
    screen = Screen(as_json=False)
    try:
        run(screen, options.seed, options.days, events=not options.no_events)
    except KeyboardInterrupt:
        screen.note("stopped")
        return 130
    except (EvergreenError, ServiceError, MonitoringError, OSError) as error:
        screen.note(f"error: {sentence(error)}")
        return 1
    return 0


def run(screen: Screen, seed: int, days: int, *, events: bool) -> None:
    """Make a fresh home, replay the live time line, show what came of it."""
    home = Path(".evergreen-demo").absolute()
    bench = Workbench({**os.environ, "EVERGREEN_HOME": str(home), "EVERGREEN_TICK_SECONDS": "0.1", "EVERGREEN_ALIAS_POLL_SECONDS": "0.1"})
    binds = addresses(bench.environment)
    for module, bind in binds.items():
        refuse_taken(bind, BIND_VARIABLES[module])
    shutil.rmtree(home, ignore_errors=True)
    folder = write_example(home / "example", seed, days, events=events)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    (spec,) = prepare(bench, [folder / "model.yaml"], screen)
    first = champion(bench, spec.model)
    bad = train_badly(bench, spec)
    with Processes(child_environment(bench, [spec.model]), home / "logs") as processes:
        start(processes, binds)
        screen.note(f"\nservice http://{binds['service']}   monitor http://{binds['monitoring']}/metrics   logs {home / 'logs'}\n")
        rows = read_table(folder / "live.csv.gz", spec.schema)
        replayed = watch(screen.console, bench, spec, rows, f"http://{binds['service']}", bad)
    bench.close()
    show_result(screen, bench, spec, first, replayed)


def write_example(folder: Path, seed: int, days: int, *, events: bool) -> Path:
    """Write model file, history and live table of a seed."""
    folder.mkdir(parents=True, mode=0o700)
    stream.history(seed).to_csv(folder / "history.csv.gz", index=False)
    stream.live(seed, events=events, days=days).to_csv(folder / "live.csv.gz", index=False)
    shutil.copy(HERE / "model.yaml", folder / "model.yaml")
    return folder


def train_badly(bench: Workbench, spec: ModelSpec) -> str:
    """Register a version that learned from a badly joined table: the labels of most rows belong to other rows, as happens."""
    assert spec.data is not None
    rows = read_table(spec.data, spec.schema)
    rng = np.random.default_rng(0)
    mixed = np.flatnonzero(rng.random(len(rows)) < 0.7)
    labels = rows.labels.copy()
    labels[mixed] = labels[rng.permutation(mixed)]
    wrong = Rows(rows.columns, labels, rows.time_us)
    return train(wrong, spec, home=bench.home, registry=bench.registry, now=bench.now(), who="somebody", why="a hasty join").version


def watch(console: Console, bench: Workbench, spec: ModelSpec, rows: Rows, url: str, bad: str) -> Replayed:
    """Replay `rows` and show each slot; at `FORCED` the bad version is promoted over the gate's head."""
    view = View(bench, spec.model)
    view.seen_seq = max(line.seq for line in bench.registry.ledger(spec.model))
    pending = [to_us(FORCED)]

    with Live(view, console=console, refresh_per_second=4, vertical_overflow="visible") as live:

        def on_slot(slot: JudgedSlot) -> None:
            if pending and slot.slot_us >= pending[0]:
                pending.clear()
                promote(bench, spec.model, bad, "looked good on my machine", force=True)
            view.add(slot)
            live.refresh()

        return replay(rows, spec, url, database=bench.database, on_slot=on_slot)


def champion(bench: Workbench, model: str) -> str:
    """Return the version that answers."""
    alias = bench.registry.alias(model, CHAMPION)
    assert alias is not None
    return alias.version


def show_result(screen: Screen, bench: Workbench, spec: ModelSpec, first: str, replayed: Replayed) -> None:
    """Compare what was answered with what the first champion would have answered, and count what was done."""
    record = bench.registry.version(spec.model, first)
    loaded = load_verified(bench.home.artifacts / record.path, bench.home.cache, bench.key, expected_digest=record.digest)
    frozen = loaded.predictor.predict(replayed.rows.columns)
    parts = [("the whole time line", np.ones(len(replayed.rows), dtype=bool))]
    if int(replayed.rows.time_us[-1]) > to_us(stream.FARE_CHANGE.first):
        parts.append(("since the fare change", replayed.rows.time_us >= to_us(stream.FARE_CHANGE.first)))
    for title, part in parts:
        screen.rows(f"\n{title}: {int(part.sum()):,} rows", scores(spec, replayed, frozen, part))
    ledger = Counter(line.action for line in bench.registry.ledger(spec.model, None))
    runs = bench.journal.runs(spec.model, "retrain", limit=None)
    quarantined = bench.journal.quarantines(spec.model)
    by_gate = [line for line in bench.registry.ledger(spec.model, None) if line.action == "promote" and line.who == "monitor"]
    screen.rows(
        "\nwhat was done",
        [
            {
                "slots": len(replayed.slots),
                "retrains": len(runs),
                "promotions by the gate": len(by_gate),
                "refusals": ledger["refuse"],
                "promotions by force": ledger["promote"] - len(by_gate) - 1,
                "rollbacks": ledger["rollback"],
                "quarantines": len(quarantined),
            }
        ],
    )
    command = Path(sys.executable).with_name("evergreen")
    screen.note(f"\nLook around: {command} --home {bench.home.path.name} verdicts   (or ledger, versions, show, status)")
    bench.close()


def scores(spec: ModelSpec, replayed: Replayed, frozen: Prediction, part: np.ndarray) -> list[dict[str, object]]:
    """Return a line a metric: the watched model, the never-retrained one, and the gain with its 95 % interval."""
    rows, watched, never = replayed.rows.take(part), replayed.prediction.take(part), frozen.take(part)
    ours, theirs = evaluate(rows, watched, spec.schema), evaluate(rows, never, spec.schema)
    lines: list[dict[str, object]] = []
    for name in ("log_loss", "accuracy", "roc_auc"):
        gain = jackknife_difference(METRICS[name], rows.labels, never, watched, level=0.025)
        lines.append(
            {
                "metric": name,
                "watched": ours[name].value,
                "never retrained": theirs[name].value,
                "gain": f"{gain.estimate:+.4f}",
                "95 % interval": f"{gain.low:+.4f} to {gain.high:+.4f}",
            }
        )
    return lines


def _short(text: str, letters: int = 110) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


if __name__ == "__main__":
    sys.exit(main())
