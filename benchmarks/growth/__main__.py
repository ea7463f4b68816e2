"""``python -m benchmarks.growth``: how cost grows with rows, features, trees, models; plots and tables go into docs/."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.growth.points import SWEEPS
from benchmarks.growth.sweeps import run
from benchmarks.growth.tables import BEGIN, END, tables
from benchmarks.serving.places import DRAW, PAGE, is_installed, python_of, say
from benchmarks.serving.report import replace_between


def main() -> int:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--only", default=",".join(SWEEPS), help="comma-separated: rows,features,trees,models")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each cell")
    parser.add_argument("--out", type=Path, default=Path("growth.json"))
    parser.add_argument("--page", type=Path, default=PAGE, help="its tables are replaced, its plots put into images/ beside it")
    parser.add_argument("--draw", action="store_true", help="measure nothing: plots and tables of the file")
    options = parser.parse_args()
    if not options.draw:
        run(options.only.split(","), options.seconds, options.out)
    replace_between(options.page, BEGIN, END, "\n".join(tables(json.loads(options.out.read_text()))).strip())
    if not is_installed("plots"):
        say("NOT DRAWN: the environment 'plots' is missing (python -m benchmarks.serving setup plots)")
        return 1
    subprocess.run([str(python_of("plots")), str(DRAW), str(options.out), str(options.page.parent / "images")], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
