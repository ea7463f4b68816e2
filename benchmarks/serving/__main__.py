"""``python -m benchmarks.serving setup | run | fronts | neighbours | report | compare``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.serving.load import TRIES


def main() -> int:
    """Run one verb."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    setup = verbs.add_parser("setup", help="make a virtual environment a peer")
    setup.add_argument("names", nargs="*")
    run = verbs.add_parser("run", help="measure Evergreen and each installed peer")
    run.add_argument("--rounds", type=int, default=5)
    run.add_argument("--seconds", type=float, default=10.0, help="of each cell")
    run.add_argument("--tries", type=int, default=TRIES, help="of a cell while other processes are busy on the cores")
    run.add_argument("--peers", help="comma-separated; all that are installed by default; evergreen: no peer")
    run.add_argument("--before", type=Path, metavar="CHECKOUT", help="an older checkout with its .venv, measured in turn with this one")
    run.add_argument("--models", default="logistic,forest,boosting")
    run.add_argument("--cells", help="comma-separated: c1,c16,c64,rows100,rows10000 (all)")
    run.add_argument("--out", default="serving-benchmark.json")
    run.add_argument("--resume", action="store_true", help="go on with the file, with what was prepared")
    fronts = verbs.add_parser("fronts", help="gunicorn's workers and ours with a constant route; slow clients; the ceiling")
    fronts.add_argument("--rounds", type=int, default=5)
    fronts.add_argument("--seconds", type=float, default=10.0)
    fronts.add_argument("--out", default="serving-fronts.json")
    neighbours = verbs.add_parser("neighbours", help="probes beside slow readers, slow writers and a model that raises or hangs")
    neighbours.add_argument("--rounds", type=int, default=5)
    neighbours.add_argument("--seconds", type=float, default=10.0, help="of each cell; the one that hangs takes 40 at least")
    neighbours.add_argument("--tries", type=int, default=TRIES, help="of a cell while other processes are busy on the cores")
    neighbours.add_argument("--peers", help="comma-separated; all that are installed by default; evergreen: no peer")
    neighbours.add_argument("--out", type=Path, default=Path("serving-neighbours.json"))
    neighbours.add_argument("--into", type=Path, help="replace what stands between the markers of this page")
    report = verbs.add_parser("report", help="write the tables of one or more files")
    report.add_argument("files", nargs="+", type=Path)
    report.add_argument("--into", type=Path, help="replace what stands between the markers of this page")
    compare = verbs.add_parser("compare", help="this checkout against the older one of a run with --before")
    compare.add_argument("file", type=Path)
    options = parser.parse_args()
    return _do(options)


def _do(options: argparse.Namespace) -> int:
    if options.verb == "setup":
        from benchmarks.serving.venvs import set_up

        return set_up(options.names)
    if options.verb == "run":
        from benchmarks.serving.rounds import plan_of, run

        return run(plan_of(options))
    if options.verb == "fronts":
        from benchmarks.serving.fronts import run_fronts

        return run_fronts(options.rounds, options.seconds, Path(options.out))
    if options.verb == "neighbours":
        from benchmarks.serving.neighbours import Effort, run_neighbours

        peers = options.peers.split(",") if options.peers else []
        return run_neighbours(Effort(options.rounds, options.seconds, options.tries), peers, options.out, options.into)
    if options.verb == "compare":
        from benchmarks.serving.compare import compare

        return compare(options.file)
    from benchmarks.serving.report import write_report

    return write_report(options.files, options.into)


if __name__ == "__main__":
    sys.exit(main())
