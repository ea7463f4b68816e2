"""``python -m benchmarks.monitoring promise|delay|faults|streams|slot|speed [--quick]``: what the watch promises, sees and takes."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.monitoring.delay import delay
from benchmarks.monitoring.faults import measure_faults
from benchmarks.monitoring.promise import promise
from benchmarks.monitoring.replayed_streams import replayed_streams
from benchmarks.monitoring.slot import slot
from benchmarks.monitoring.speed import speed
from benchmarks.serving.places import say
from benchmarks.serving.report import replace_between

BENCHMARKS = {"promise": promise, "delay": delay, "faults": measure_faults, "streams": replayed_streams, "slot": slot, "speed": speed}


def main() -> int:
    """Measure one, or all, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", default=list(BENCHMARKS), help=f"any of {', '.join(BENCHMARKS)}; all unless said"
    )
    parser.add_argument("--quick", action="store_true", help="two short runs of each, to see that it works")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time; as many as there are processors unless said")
    parser.add_argument("--only", default="", metavar="TEXT", help="the streams whose name has it: shuffled, elec2, 'example 0'")
    parser.add_argument("--into", type=Path, help="a page whose table of the same name is replaced")
    options = parser.parse_args()
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(BENCHMARKS)}")
    benchmarks = {**BENCHMARKS, "streams": partial(replayed_streams, only=options.only)}
    for name in options.names:
        table = "\n".join(benchmarks[name](options.quick, options.processes))
        say(f"\n## {name}\n\n{table}\n")
        if options.into:
            replace_between(options.into, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
