"""How long all statistics of a million rows take, and how much memory, against what else does that."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.monitoring.mixed_table import CATEGORIES, NUMBERS, write_tables
from benchmarks.serving.places import ROOT, say, venvs, work

OURS = ("evergreen", "evergreen, derived columns", "evergreen, two DataFrames")
PEERS = ("nannyml", "alibi", "whylogs", "evidently")
FASTER = {"nannyml": 8, "alibi": 8, "whylogs": 50, "evidently": 150}
"""How many times as long each peer's check must take, at least."""
DERIVED_FASTER = 4  # than NannyML, with derived columns
MEMORY_SHARE = 0.10  # of NannyML's extra memory
ROUNDS = 3
ROWS = 1_000_000
QUICK_ROWS = 20_000
LONGEST = 900.0

Figures = dict[str, float]


def speed(quick: bool, processes: int | None = None) -> list[str]:
    """Measure every contender that is there, in interleaved rounds, each time in one fresh process; return the lines of a table."""
    rows, rounds = (QUICK_ROWS, 1) if quick else (ROWS, ROUNDS)
    paths = write_tables(work() / "monitoring", rows)
    absent = [peer for peer in PEERS if not python_of(peer).exists()]
    if absent:
        say(f"\nNOT THERE, SO NOT MEASURED: {', '.join(absent)} (one environment each in {venvs()}, $EVERGREEN_BENCH_VENVS)\n")
    names = [*OURS, *(peer for peer in PEERS if peer not in absent)]
    measured: dict[str, list[Figures]] = {name: [] for name in names}
    for place in range(rounds):
        for name in names:
            figures = run_once(name, paths)
            say(f"# round {place + 1}, {name}: {json.dumps(figures)}")
            if figures is not None:
                measured[name].append(figures)
    return [
        f"{rows:,} rows of {len(NUMBERS)} numbers and {len(CATEGORIES)} categories, medians of {rounds} fresh processes. A ratio is the",
        "smaller one of those by the clock and by processor time.",
        "",
        *table({name: runs for name, runs in measured.items() if runs}),
        *([f"Not measured, since not installed: {', '.join(absent)}."] if absent else []),
    ]


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer's environment, which need not be there."""
    return venvs() / peer / "bin" / "python"


def run_once(name: str, paths: Sequence[Path]) -> Figures | None:
    """Measure in a fresh process; None when it fails, which is told."""
    python = Path(sys.executable) if name in OURS else python_of(name)
    command = [str(python), str(Path(__file__).with_name("speed_run.py")), name, *map(str, paths)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", **({"PYTHONPATH": str(ROOT)} if name in OURS else {})}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, env=environment, check=False)
    except subprocess.TimeoutExpired:
        say(f"{name}: not done after {LONGEST:.0f} s")
        return None
    if done.returncode:
        say(f"{name} FAILED: {done.stderr[-500:]}")
        return None
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(measured: Mapping[str, Sequence[Figures]]) -> Iterator[str]:
    """Yield the lines of a table; a missed bar in bold. A ratio is the smaller one of those by the clock and by processor time."""
    middle = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in measured.items()}
    ours = middle.get(OURS[0])
    yield "| | check, s | of processor, s | times ours | bar | making the reference, s | extra memory, MiB |"
    yield "|---|---|---|---|---|---|---|"
    for name, figures in middle.items():
        ratio = _times(figures, ours)
        bar = f"{FASTER[name]}" if name in FASTER else ""
        shown = f"{ratio:.1f}" if ratio >= FASTER.get(name, 0) else f"**{ratio:.1f}, missed**"
        cells = f"{figures['check']:.3f} | {figures['cpu']:.3f} | {shown} | {bar} | {figures['fit']:.2f} | {figures['peak']:.0f}"
        yield f"| {name} | {cells} |"
    yield ""
    if ours and (peer := middle.get("nannyml")):
        derived = middle.get(OURS[1])
        more = f", with derived columns {derived['peak'] / peer['peak']:.0%}" if derived else ""
        yield f"Extra memory: {ours['peak'] / peer['peak']:.0%} of NannyML's (bar: {MEMORY_SHARE:.0%}){more}."
        if derived:
            yield f"With derived columns NannyML takes {_times(peer, derived):.1f} times as long (bar: {DERIVED_FASTER})."


def _times(peer: Figures, ours: Figures | None) -> float:
    return min(peer[key] / ours[key] for key in ("cpu", "check")) if ours else float("nan")
