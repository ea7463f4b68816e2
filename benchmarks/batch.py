"""What a table costs: `evergreen predict` against pandas around the same pipeline, and the memory of ten times as many rows.

``python -m benchmarks.batch`` (times), ``python -m benchmarks.batch --memory`` (peak memory at 10⁶ and 10⁷ rows)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import joblib
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from sklearn.naive_bayes import GaussianNB

from benchmarks.serving.data import make_table
from benchmarks.serving.estimators import ESTIMATORS, fitted
from benchmarks.serving.homes import make_home
from benchmarks.serving.places import ROOT, say

ROWS, PIECE, ROUNDS = 500_000, 100_000, 3
PLAIN = {"bayes": GaussianNB}  # has no compiled form
PANDAS = """
import sys, joblib, pandas as pd
payload, source, out = sys.argv[1:]
pipeline = joblib.load(payload)
table = pd.read_parquet(source) if source.endswith("parquet") else pd.read_csv(source)
probability = pipeline.predict_proba(table[pipeline.feature_names_in_])
table["prediction"] = pipeline.classes_[probability.argmax(axis=1)]
for column, name in enumerate(pipeline.classes_):
    table[f"probability_{name}"] = probability[:, column]
table["version"] = "1"
table.to_parquet(out, index=False) if out.endswith("parquet") else table.to_csv(out, index=False)
"""


def write_rows(path: Path, count: int) -> Path:
    """Write `count` rows, a piece at a time."""
    sink = None
    for first in range(0, count, PIECE):
        table, labels = make_table(min(PIECE, count - first), seed=first)
        piece = pa.Table.from_pandas(table.assign(label=labels), preserve_index=False)
        if sink is None:
            sink = pq.ParquetWriter(path, piece.schema) if path.suffix == ".parquet" else pacsv.CSVWriter(path, piece.schema)
        sink.write_table(piece)
    assert sink is not None
    sink.close()
    return path


class Cost(NamedTuple):
    """What a process took: seconds, seconds of the processor, the most memory it had in bytes."""

    seconds: float
    worked: float
    peak: int


def run(command: list[str], home: Path) -> Cost:
    """Run a command to its end."""
    began = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "EVERGREEN_HOME": str(home)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def ours(model: str, source: Path, out: Path) -> list[str]:
    """Return the command of Evergreen."""
    return [sys.executable, "-m", "monitoring.cli", "predict", str(source), "-o", str(out), "--model", model]


def compare(folder: Path, count: int) -> None:
    """Print the seconds of both, whole processes taken in turn: start, reading, predicting, writing."""
    for kind in ("csv", "parquet"):
        source, out = write_rows(folder / f"rows.{kind}", count), folder / f"out.{kind}"
        for name in (*ESTIMATORS, *PLAIN):
            theirs = [sys.executable, "-c", PANDAS, str(folder / f"{name}.joblib"), str(source), str(out)]
            pairs = [(run(ours(name, source, out), folder / "home"), run(theirs, folder / "home")) for _ in range(ROUNDS)]
            ratio, worked = (median(mine[at] / other[at] for mine, other in pairs) for at in (0, 1))
            mine, other = (median(cost.seconds for cost in costs) for costs in zip(*pairs, strict=True))
            say(f"{kind:8} {name:9} evergreen {mine:6.2f} s   pandas {other:6.2f} s   ratio {ratio:.2f}, of processor time {worked:.2f}")


def weigh(folder: Path, counts: tuple[int, int]) -> None:
    """Print the peak memory of few and many rows."""
    for kind in ("csv", "parquet"):
        peaks = []
        for count in counts:
            source = write_rows(folder / f"rows.{kind}", count)
            cost = run(ours("logistic", source, folder / f"out.{kind}"), folder / "home")
            peaks.append(cost.peak)
            say(f"{kind:8} {count:>10,} rows  {cost.seconds:6.1f} s  peak {cost.peak / 2**20:6.0f} MiB")
        say(f"{kind:8} grows by {peaks[1] / peaks[0] - 1:+.1%}")


def main() -> None:
    """Train, write the rows, measure."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--memory", action="store_true", help="measure memory instead of time")
    arguments.add_argument("--rows", type=int, default=ROWS)
    options = arguments.parse_args()
    say(f"{psutil.cpu_count()} cores, pandas {pd.__version__}, {options.rows:,} rows")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, labels = make_table(5_000, seed=1)
        payloads = {}
        for model, estimator in {**ESTIMATORS, **PLAIN}.items():
            payloads[model] = folder / f"{model}.joblib"
            joblib.dump(fitted(estimator(), table, labels), payloads[model])
        for line in make_home(folder / "home", payloads, table, labels).values():
            say(line)
        if options.memory:
            weigh(folder, (1_000_000, 10_000_000))
        else:
            compare(folder, options.rows)


if __name__ == "__main__":
    main()
