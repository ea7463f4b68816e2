"""``python -m benchmarks.serving setup | run | fronts | report``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.serving.load import TRIES


def main() -> int:
    """Do what was asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    setup = verbs.add_parser("setup", help="make a virtual environment a peer")
    setup.add_argument("names", nargs="*")
    run = verbs.add_parser("run", help="measure Evergreen and each installed peer")
    run.add_argument("--rounds", type=int, default=5)
    run.add_argument("--seconds", type=float, default=10.0, help="of each cell")
    run.add_argument("--tries", type=int, default=TRIES, help="of a cell while other processes are busy on the cores")
    run.add_argument("--peers", help="comma-separated; all that are installed by default; evergreen: no peer")
    run.add_argument("--models", default="logistic,forest,boosting")
    run.add_argument("--cells", help="comma-separated: c1,c16,c64,rows100,rows10000 (all)")
    run.add_argument("--out", default="serving-benchmark.json")
    run.add_argument("--resume", action="store_true", help="go on with the file, with what was prepared")
    fronts = verbs.add_parser("fronts", help="gunicorn's workers and ours with a constant route; slow clients; the ceiling")
    fronts.add_argument("--rounds", type=int, default=5)
    fronts.add_argument("--seconds", type=float, default=10.0)
    fronts.add_argument("--out", default="serving-fronts.json")
    report = verbs.add_parser("report", help="write the tables of one or more files")
    report.add_argument("files", nargs="+", type=Path)
    report.add_argument("--into", type=Path, help="replace what stands between the markers of this page")
    asked = parser.parse_args()
    return _do(asked)


def _do(asked: argparse.Namespace) -> int:
    if asked.verb == "setup":
        from benchmarks.serving.venvs import set_up

        return set_up(asked.names)
    if asked.verb == "run":
        from benchmarks.serving.rounds import plan_of, run

        return run(plan_of(asked))
    if asked.verb == "fronts":
        from benchmarks.serving.fronts import run_fronts

        return run_fronts(asked.rounds, asked.seconds, Path(asked.out))
    from benchmarks.serving.report import write_report

    return write_report(asked.files, asked.into)


if __name__ == "__main__":
    sys.exit(main())
