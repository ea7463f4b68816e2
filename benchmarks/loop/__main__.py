"""``python -m benchmarks.loop``: what the loop is worth on real streams, by policy, against refits at every tick chosen in hindsight.

Each stream (EVERGREEN_TEST_DATA) is thinned to 45,500 rows at most; a first version is trained on its first part, then 60 ticks (slots) are
answered, and labels come so many rows later as its `meta.json` says. All policies and the reference fit the same candidate: the
first setting of the learner. Loss: log-loss or absolute error, by the true labels of the ticks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.loop.policies import MEMBERS
from benchmarks.loop.streams import FAULTS, LEARNERS, TICKS, Case
from benchmarks.loop.table import loop
from benchmarks.serving.places import say
from benchmarks.serving.report import replace_between

QUICK_TICKS = 8


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for and show the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="where 'stream, policy' has it; may be given again")
    parser.add_argument("--learner", choices=LEARNERS, default="boosting")
    parser.add_argument("--start", type=float, choices=(0.13, 0.15, 0.17), default=0.15, help="share that is trained on first")
    parser.add_argument("--shuffle", action="store_true", help="rows in an order that means nothing")
    parser.add_argument("--fault", choices=FAULTS, default="", help="labels or a column that are wrong in three stretches")
    parser.add_argument("--delay-factor", type=float, default=1.0, metavar="X", help="labels come X times as late")
    parser.add_argument("--members", type=int, action="append", help=f"of the mixture, {MEMBERS} unless said; may be given again")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TICKS} ticks, to see that it works")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="where finished runs are kept, and not run again")
    parser.add_argument("--processes", type=int, default=1, help="at a time")
    parser.add_argument("--into", type=Path, help="a page whose table 'loop' is replaced")
    options = parser.parse_args(arguments)
    if options.delay_factor <= 0:
        parser.error(f"--delay-factor {options.delay_factor:g}: wanted a number above 0")
    ticks = QUICK_TICKS if options.quick else TICKS
    case = Case(options.learner, options.start, options.delay_factor, options.shuffle, options.fault, ticks)
    members = options.members or [MEMBERS]
    text = "\n".join(loop(case, members=members, processes=options.processes, only=options.only, runs=options.runs))
    say(f"\n## loop, {case}\n\n{text}\n")
    if options.into:
        replace_between(options.into, "<!-- loop: begin -->", "<!-- loop: end -->", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
