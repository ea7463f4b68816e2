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

from benchmarks.serving.data import ASKED, TRAINING, make_table
from benchmarks.serving.estimators import ESTIMATORS, fitted
from benchmarks.serving.homes import MODEL, make_home
from benchmarks.serving.places import APPS, is_installed, python_of, say, work


def prepare(models: list[str]) -> None:
    """Write everything a run needs; what lay there before is removed."""
    folder = work() / "prepared"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table, labels = make_table(TRAINING, seed=7)
    asked, _ = make_table(ASKED, seed=11)
    _write_rows(asked, folder)
    facts = {}
    for name in models:
        began = time.perf_counter()
        with threadpool_limits(1):
            pipeline = fitted(ESTIMATORS[name](), table, labels)
            _write_expected(pipeline, asked, folder / f"{name}.expected.json")
        payload = folder / f"{name}.joblib"
        joblib.dump(pipeline, payload)
        said = make_home(folder / f"{name}.home", {MODEL: payload}, table, labels)
        facts[name] = {"megabytes": round(payload.stat().st_size / 1e6, 2), "serving": said[MODEL].removeprefix("- serving: ")}
        say(f"prepared {name} in {time.perf_counter() - began:.0f} s: {facts[name]}")
    if is_installed("mlflow"):
        save = [str(python_of("mlflow")), str(APPS / "mlflow_save.py"), str(folder), *models]
        subprocess.run(save, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (folder / "facts.json").write_text(json.dumps(facts))


def _write_rows(asked: pd.DataFrame, folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps(asked.to_dict("records")))
    asked.to_parquet(folder / "rows.parquet", index=False)
    table = pa.Table.from_pandas(asked, preserve_index=False)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _write_expected(pipeline: Any, asked: pd.DataFrame, path: Path) -> None:
    """Write the probability of the second class of every row, as scikit-learn gives it."""
    path.write_text(json.dumps(pipeline.predict_proba(asked)[:, 1].tolist()))


if __name__ == "__main__":
    prepare(sys.argv[1:] or list(ESTIMATORS))
