"""Fit the models, ask scikit-learn for the right answers, write the tables, make the homes: ``<work>/prepared``.

A process of its own, so that the one that measures loads neither numpy nor scikit-learn: pages it shared with a server would be
taken off that server's memory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks.serving.brittle import Brittle
from benchmarks.serving.data import SAMPLED, TRAINING, make_table
from benchmarks.serving.estimators import ESTIMATORS, fitted
from benchmarks.serving.homes import MODEL, make_home
from benchmarks.serving.places import APPS, is_installed, python_of, say, work


def prepare(models: list[str]) -> None:
    """Write everything a run needs; what lay there before is removed."""
    folder = work() / "prepared"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table, labels = make_table(TRAINING, seed=7)
    sample, _ = make_table(SAMPLED, seed=11)
    _write_rows(sample, folder)
    facts = {}
    for name in models:
        began = time.perf_counter()
        with threadpool_limits(1):
            pipeline = fitted(ESTIMATORS[name](), table, labels)
            _write_expected(pipeline, sample, folder / f"{name}.expected.json")
        pipeline_file = folder / f"{name}.joblib"
        joblib.dump(pipeline, pipeline_file)
        lines = make_home(folder / f"{name}.home", {MODEL: pipeline_file}, table, labels)
        facts[name] = {"megabytes": round(pipeline_file.stat().st_size / 1e6, 2), "serving": lines[MODEL].removeprefix("- serving: ")}
        say(f"prepared {name} in {time.perf_counter() - began:.0f} s: {facts[name]}")
    if is_installed("mlflow"):
        save = [str(python_of("mlflow")), str(APPS / "mlflow_save.py"), str(folder), *models]
        subprocess.run(save, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (folder / "facts.json").write_text(json.dumps(facts))


def add_brittle() -> None:
    """Write a model that may raise or hang, and a home in which it stands beside a good one; what a run needs is made if it is missing."""
    folder = work() / "prepared"
    if not (folder / "logistic.joblib").exists():
        prepare(["logistic"])
    table, labels = make_table(TRAINING, seed=7)
    payload, home = folder / "brittle.joblib", folder / "brittle.home"
    joblib.dump(Brittle(joblib.load(folder / "logistic.joblib")).fit(table, labels), payload)
    shutil.rmtree(home, ignore_errors=True)
    make_home(home, {MODEL: folder / "logistic.joblib", "bad": payload}, table, labels)
    if is_installed("mlflow"):
        save = [str(python_of("mlflow")), str(APPS / "mlflow_save.py"), str(folder), "brittle"]
        subprocess.run(save, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _write_rows(sample: pd.DataFrame, folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps(sample.to_dict("records")))
    sample.to_parquet(folder / "rows.parquet", index=False)
    table = pa.Table.from_pandas(sample, preserve_index=False)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _write_expected(pipeline: Any, sample: pd.DataFrame, path: Path) -> None:
    """Write the probability of the second class of every row, as scikit-learn gives it."""
    path.write_text(json.dumps(pipeline.predict_proba(sample)[:, 1].tolist()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--brittle"]:
        add_brittle()
    else:
        prepare(sys.argv[1:] or list(ESTIMATORS))
