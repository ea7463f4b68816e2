"""``python -m benchmarks.monitoring NAME [--quick]``: what the watch promises, sees and takes; all there are, without a name."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.monitoring.delay import delay
from benchmarks.monitoring.estimates import measure_estimates
from benchmarks.monitoring.faults import measure_faults
from benchmarks.monitoring.harm import keeps_its_promise, sees_returns, sees_rises
from benchmarks.monitoring.labels import measure_labels
from benchmarks.monitoring.late_labels.feeds import KINDS
from benchmarks.monitoring.late_labels.table import late_labels
from benchmarks.monitoring.promise import promise
from benchmarks.monitoring.replayed_streams import replayed_streams
from benchmarks.monitoring.slot import slot
from benchmarks.monitoring.speed import speed
from benchmarks.monitoring.unlearnable import unlearnable
from benchmarks.serving.places import say
from benchmarks.serving.report import replace_between

Table = Callable[[bool, int], Iterator[str]]
BENCHMARKS: dict[str, dict[str, Table]] = {
    "promise": {"promise": promise, "promise of harm": keeps_its_promise},
    "delay": {"delay": delay, "delay of harm": sees_rises, "return of harm": sees_returns},
    "faults": {"faults": measure_faults},
    "labels": {"labels": measure_labels},
    "unlearnable": {"unlearnable": unlearnable},
    "estimates": {"estimates": measure_estimates},
    "late-labels": {"late labels": late_labels},
    "streams": {"streams": replayed_streams},
    "slot": {"slot": slot},
    "speed": {"speed": speed},
}
HAS_SCENARIOS = ("promise", "delay", "late-labels", "streams", "unlearnable")
HEAD = 2  # lines of a table without rows


def main() -> int:
    """Measure one, or all, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", default=list(BENCHMARKS), help=f"any of {', '.join(BENCHMARKS)}; all unless said"
    )
    parser.add_argument("--quick", action="store_true", help="two short runs of each, to see that it works")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time; as many as there are processors unless said")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios whose name has it: shuffled, elec2, 'example 0', error")
    parser.add_argument("--into", type=Path, help="a page whose table of the same name is replaced")
    parser.add_argument(
        "--feed", action="append", default=[], metavar="TEXT",
        help=f"late-labels: another way of labels to come, such as 'class factor=5'; the first word is any of {', '.join(KINDS)}",
    )  # fmt: skip
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="late-labels: where finished runs are kept, and not run again")
    options = parser.parse_args()
    unknown = set(options.names) - BENCHMARKS.keys()
    if options.only and (alike := sorted(set(options.names) - set(HAS_SCENARIOS))):
        parser.error(f"{', '.join(alike)}: no scenarios to choose from; --only is for {', '.join(HAS_SCENARIOS)}")
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(BENCHMARKS)}")
    for name, table in ((name, table) for chosen in options.names for name, table in BENCHMARKS[chosen].items()):
        measure = partial(table, only=options.only) if options.only else table
        if table is late_labels:
            measure = partial(measure, feeds=options.feed, runs=options.runs)
        lines = list(measure(options.quick, options.processes))
        if options.only and len(lines) <= HEAD:
            continue  # none of its scenarios was meant
        text = "\n".join(lines)
        say(f"\n## {name}\n\n{text}\n")
        if options.into:
            replace_between(options.into, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
