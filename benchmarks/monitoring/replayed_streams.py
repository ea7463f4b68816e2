"""Streams replayed through the real service and the real monitor: which episodes opened, when, and how often *watch* was said.

    EVERGREEN_TEST_DATA=FOLDER python -m benchmarks.monitoring streams [--only TEXT]

The example's live year without its events (five seeds, daily and weekly slots) and with them; each real data set shuffled, where nothing
can move, and in its order. Product defaults; the model files are the examples', with the width of a slot changed where that is said, and
a budget of retrainings a week that does not end in the minutes a replay takes. `--only` replays the streams whose name has that text.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.monitoring.table import Row, markdown
from benchmarks.serving.places import say
from benchmarks.serving.processes import free_port
from monitoring.admin.terminal import Screen
from monitoring.admin.workbench import Workbench
from monitoring.drift.episodes import Episode
from monitoring.local.processes import Processes
from monitoring.local.replay import replay
from monitoring.local.up import child_environment, prepare, start
from training.clock import from_us, to_us
from training.dataset.dataset import read_table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples" / "bikes"))
import stream  # noqa: E402 - a script's own folder, not a package

OLDER = 0.4  # share of a real table that is trained on first
SEEDS = range(5)
PORT = 23_000
FEW_FITS = "budget: 3 fits"
MOST_WATCHED = 0.1  # of the slots without an episode


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one replay left behind."""

    name: str
    slots: int
    calm: int  # slots without an open episode
    watched: int  # of these, at how many somebody was asked to look
    episodes: tuple[Episode, ...]
    faults: int
    width_us: int

    def row(self) -> dict[str, object]:
        """Return a line of the table."""
        moved = [f"{from_us(e.opened_us):%Y-%m-%d} {', '.join(e.names[:3])}{' …' if len(e.names) > 3 else ''}" for e in self.episodes]
        return {
            "stream": self.name,
            "slots": self.slots,
            "episodes": len(self.episodes),
            "open at once": most_open(self.episodes),
            "watch without one": f"{self.watched} of {self.calm}",
            "quarantines": self.faults,
            "what": "; ".join(moved) or "-",
        }


def most_open(episodes: tuple[Episode, ...]) -> int:
    """Return how many episodes were open at the same time, at most.

    Examples
    --------
    >>> most_open((Episode(1, 10, 5, (), ended_us=20), Episode(2, 15, 5, ()), Episode(3, 20, 5, ())))
    2
    """
    moments = [e.opened_us for e in episodes]
    return max((sum(e.opened_us <= m and (e.ended_us is None or e.ended_us > m) for e in episodes) for m in moments), default=0)


def of_one_cause(episodes: tuple[Episode, ...]) -> int:
    """Return how many pairs of episodes were open at once though they are of one cause: one column is in both, or the later one
    had begun before the earlier was seen.

    Examples
    --------
    >>> from monitoring.drift.episodes import MovedColumn
    >>> wind, rain = (MovedColumn(name, 0.3, 4.0) for name in ("wind", "rain"))
    >>> first, apart, early = Episode(1, 10, 5, (wind,)), Episode(2, 30, 20, (rain,)), Episode(3, 30, 8, (rain,))
    >>> of_one_cause((first, apart)), of_one_cause((first, early)), of_one_cause((first, Episode(2, 30, 20, (wind,))))
    (0, 1, 1)
    """
    pairs = [(a, b) for a in episodes for b in episodes if a.number < b.number and (a.ended_us is None or b.opened_us < a.ended_us)]
    return sum(b.since_us <= a.opened_us or bool({*a.names} & {*b.names}) for a, b in pairs)


def with_budget(model_file: str) -> str:
    """Return a model file whose budget of retrainings, in machine time, lasts for a replay.

    Examples
    --------
    >>> with_budget("retraining: {schedule: 7d}")
    'retraining: {budget_per_week: 100, schedule: 7d}'
    """
    if "budget_per_week" in model_file:
        return model_file
    block = re.sub(r"^retraining:[ \t]*(#.*)?$", "retraining:\n  budget_per_week: 100", model_file, count=1, flags=re.MULTILINE)
    flow = re.sub(r"^retraining: *\{", "retraining: {budget_per_week: 100, ", block, count=1, flags=re.MULTILINE)
    return flow if "budget_per_week" in flow else f"{flow.rstrip()}\nretraining: {{budget_per_week: 100}}\n"


def run_stream(name: str, model_file: str, older: pd.DataFrame, newer: pd.DataFrame) -> Outcome:
    """Train on the older rows, replay the newer ones, read what the monitor wrote down."""
    with tempfile.TemporaryDirectory(prefix="evergreen-streams-") as folder, quiet() as screen:
        home, table = Path(folder) / "home", Path(folder) / "newer.csv.gz"
        older.to_csv(Path(folder) / "older.csv.gz", index=False)
        newer.to_csv(table, index=False)
        (Path(folder) / "model.yaml").write_text(with_budget(model_file))
        quick = {"EVERGREEN_TICK_SECONDS": "0.1", "EVERGREEN_ALIAS_POLL_SECONDS": "0.1"}
        bench = Workbench({**os.environ, **quick, "EVERGREEN_HOME": str(home)})
        (spec,) = prepare(bench, [Path(folder) / "model.yaml"], screen)
        ports = {"service": free_port(PORT), "monitoring": free_port(PORT + 500)}  # after the training: free for long is free no more
        binds = {"EVERGREEN_BIND": f"127.0.0.1:{ports['service']}", "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{ports['monitoring']}"}
        with Processes({**child_environment(bench, [spec.model]), **binds}, home / "logs") as processes:
            start(processes, {module: f"127.0.0.1:{port}" for module, port in ports.items()})
            rows = read_table(table, spec.schema, spec.read)
            replay(rows, spec, f"http://127.0.0.1:{ports['service']}", database=bench.database)
        verdicts = bench.journal.verdicts(spec.model, limit=None)
        episodes = tuple(sorted((one for one, _ in bench.journal.episodes(spec.model, None)), key=lambda e: e.number))
        calm = [v.verdict for v in verdicts if not v.evidence["drift"].get("episodes")]
        faults = len(bench.journal.quarantines(spec.model))
        bench.close()
        width_us = int(spec.watching.every.total_seconds() * 1e6)
        return Outcome(name, len(verdicts), len(calm), calm.count("watch"), episodes, faults, width_us)


@contextlib.contextmanager
def quiet() -> Iterator[Screen]:
    """Give a screen that shows nothing."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield Screen(as_json=False)


def example_outcomes(seeds: Iterable[int], only: str = "") -> Iterator[Outcome]:
    """The example's year: without events daily and weekly, with them daily and weekly; those whose name has `only`."""
    text = (ROOT / "examples" / "bikes" / "model.yaml").read_text().replace("history.csv.gz", "older.csv.gz")
    text = text.replace("budget: 12 fits", FEW_FITS)
    for seed, has_events, every in itertools.product(seeds, (False, True), ("1d", "7d")):
        title = f"example {seed}, {'events' if has_events else 'no events'}, every {every}"
        if only in title:
            live = stream.live(seed, events=has_events, days=stream.YEAR_DAYS)
            yield run_stream(title, text.replace("every: 7d", f"every: {every}"), stream.history(seed), live)


def real_outcomes(*, is_shuffled: bool, only: str = "") -> Iterator[Outcome]:
    """Each real data set whose name has `only`: its rows shuffled over their own times, or as they came."""
    folder = Path(os.environ.get("EVERGREEN_TEST_DATA", ""))
    for model_file in sorted((ROOT / "examples" / "real").glob("*.yaml")):
        name = model_file.stem
        title, table = f"{name}, {'shuffled' if is_shuffled else 'as it was'}", folder / name / f"{name}.csv.gz"
        if only not in title:
            continue
        if not table.exists():
            say(f"SKIPPED {name}: there is no {table}; set EVERGREEN_TEST_DATA")
            continue
        text = re.sub(r"^data: .*$", "data: older.csv.gz", model_file.read_text(), flags=re.MULTILINE)
        rows = pd.read_csv(table)
        if is_shuffled:
            rows = shuffled(rows, text)
        cut = int(len(rows) * OLDER)
        yield run_stream(title, text, rows[:cut], rows[cut:])


def shuffled(rows: pd.DataFrame, model_file: str) -> pd.DataFrame:
    """Return the rows in another order, each at the time of the one whose place it takes."""
    match = re.search(r"time:.*?column: *(\w+)", model_file)
    times = [match[1]] if match is not None and match[1] in rows.columns else []
    mixed = rows.drop(columns=times).sample(frac=1.0, random_state=0).reset_index(drop=True)
    return pd.concat([rows[times].reset_index(drop=True), mixed], axis=1)[list(rows.columns)]


def delay_of_district(outcome: Outcome) -> float:
    """Return how many slots after the new district opened it was named; infinite where it was not."""
    opened = to_us(next(event.first for event in stream.EVENTS if "district" in event.name))
    named = [e.opened_us for e in outcome.episodes if e.opened_us >= opened and any("district" in name for name in e.names)]
    return float(np.ceil((min(named) - opened) / outcome.width_us)) if named else float("inf")


def replayed_streams(quick: bool, processes: int | None = None, only: str = "") -> list[str]:
    """Replay all streams, or those whose name has `only`; return the lines of a table. Service and monitor are the processes.

    Quick is one seed of the example.
    """
    example = [_shown(o) for o in example_outcomes(SEEDS[:1] if quick else SEEDS, only)]
    real = [] if quick else [_shown(o) for is_shuffled in (True, False) for o in real_outcomes(is_shuffled=is_shuffled, only=only)]
    lines = list(markdown(("stream", "measured"), [*_of_example(example), *_of_real(real)]))
    if outcomes := [o.row() for o in example + real]:
        lines += ["", f"| {' | '.join(outcomes[0])} |", "|" + "---|" * len(outcomes[0])]
        lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in outcomes]
    return lines


def _of_example(outcomes: list[Outcome]) -> Iterator[Row]:
    if calm := [o for o in outcomes if "no events" in o.name]:
        n = sum(len(o.episodes) for o in calm)
        yield Row("example without events", f"{n} episodes", "1 in all", n <= 1)
    if delays := [delay_of_district(o) for o in outcomes if ", events" in o.name]:
        yield Row("its new district", f"{max(delays):g} slots at most", "2 slots", max(delays) <= 2)


def _of_real(outcomes: list[Outcome]) -> Iterator[Row]:
    if mixed := [o for o in outcomes if "shuffled" in o.name]:
        n = sum(len(o.episodes) for o in mixed)
        yield Row("shuffled", f"{n} episodes", "none", not n)
    if ordered := [o for o in outcomes if "as it was" in o.name]:
        twice = sum(of_one_cause(o.episodes) for o in ordered)
        yield Row("as it was: a second open episode of one cause", str(twice), "none", not twice)
    if outcomes:
        share, name = max((o.watched / max(1, o.calm), o.name) for o in outcomes)
        yield Row("*watch* without an episode", f"{share:.0%} of such slots at most ({name})", f"{MOST_WATCHED:.0%}", share <= MOST_WATCHED)


def _shown(outcome: Outcome) -> Outcome:
    say(f"# {outcome.row()}")
    return outcome
