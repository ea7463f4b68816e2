"""One contender, one reference, one check, in a fresh process: ``python speed_run.py NAME REFERENCE CURRENT`` prints a line of JSON.

It runs in the contender's own environment, so it imports nothing of Evergreen but for Evergreen.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

WARM_ROWS = 2000
CHUNKS = 10


class Contender(NamedTuple):
    """Makes of a table what it works on (not timed), of the reference a state, and of state and current table its findings."""

    prepare: Callable[[pd.DataFrame], Any]
    fit: Callable[[Any], Any]
    check: Callable[[Any, Any], Any]


def evergreen(*, derived: bool) -> Contender:
    """Count under the reference's measures, and all statistics of all columns from the counts."""
    import numpy as np

    from monitoring.drift.comparing import compare_profiles
    from training.policies import WatchingPolicy
    from training.profiles.bin_edges import learn_bins
    from training.profiles.bins import Bins
    from training.profiles.measures import Measures
    from training.profiles.reference import learn_measures
    from training.schema.feature import Feature
    from training.schema.rows import Rows
    from training.schema.schema import Schema

    def prepare(table: pd.DataFrame) -> Rows:
        """Return the columns as the service has them."""
        columns = {
            name: np.array(column.where(column.notna(), None), dtype=object) if column.dtype == object else column.to_numpy(np.float64)
            for name, column in table.items()
        }
        return Rows(columns, None, np.arange(len(table), dtype=np.int64) * 1_000_000)

    def fit(rows: Rows) -> tuple[Measures, Any]:
        features = tuple(Feature(n, "categorical" if v.dtype == object else "numeric", nullable=True) for n, v in rows.columns.items())
        if derived:
            measures = learn_measures(rows, Schema(features, "target", "regression"), WatchingPolicy())
        else:
            measures = Measures(Bins(tuple(learn_bins(name, values) for name, values in rows.columns.items())))
        return measures, next(measures.profiles(rows.columns, rows.time_us))[1]

    def check(state: tuple[Measures, Any], rows: Rows) -> Any:
        measures, reference = state
        return compare_profiles(measures.bins, reference, next(measures.profiles(rows.columns, rows.time_us))[1])

    return Contender(prepare, fit, check)


def evergreen_frames() -> Contender:
    """Compare two DataFrames whose columns are guessed, each read as `init` reads."""
    from monitoring.batch.comparison import compare

    return Contender(_as_it_is, _as_it_is, compare)


def nannyml() -> Contender:
    """Take its univariate drift with its defaults; the current table is one chunk of its own."""
    import nannyml

    def fit(reference: pd.DataFrame) -> Any:
        calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference), chunk_size=max(len(reference) // CHUNKS, 1))
        return calculator.fit(reference)

    return Contender(_as_it_is, fit, lambda calculator, current: calculator.calculate(current).to_df())


def alibi() -> Contender:
    """Take TabularDrift with its defaults; it takes one matrix without missing values, and the making of it is timed."""
    import numpy as np
    from alibi_detect.cd import TabularDrift

    def matrix(table: pd.DataFrame) -> Any:
        columns = [
            column.map({f"v{level:03d}": float(level) for level in range(50)}).fillna(-1.0)
            if column.dtype == object
            else column.fillna(0.0)
            for _, column in table.items()
        ]
        return np.column_stack([column.to_numpy(np.float64) for column in columns])

    def fit(reference: pd.DataFrame) -> Any:
        categories = {place: None for place, (_, column) in enumerate(reference.items()) if column.dtype == object}
        return TabularDrift(matrix(reference), p_val=0.05, categories_per_feature=categories)

    return Contender(_as_it_is, fit, lambda detector, current: detector.predict(matrix(current)))


def whylogs() -> Contender:
    """Profile, then the drift scores of the two profiles, with its defaults."""
    import whylogs
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    def check(reference: Any, current: pd.DataFrame) -> Any:
        return calculate_drift_scores(target_view=whylogs.log(current).view(), reference_view=reference, with_thresholds=True)

    return Contender(_as_it_is, lambda reference: whylogs.log(reference).view(), check)


def evidently() -> Contender:
    """Run its drift preset with its defaults."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def check(reference: pd.DataFrame, current: pd.DataFrame) -> Any:
        texts = [name for name, column in reference.items() if column.dtype == object]
        definition = DataDefinition(numerical_columns=[name for name in reference if name not in texts], categorical_columns=texts)
        both = [Dataset.from_pandas(table, data_definition=definition) for table in (current, reference)]
        return Report([DataDriftPreset()]).run(*both).dict()

    return Contender(_as_it_is, _as_it_is, check)


def _as_it_is(value: Any) -> Any:
    return value


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "evergreen": lambda: evergreen(derived=False),
    "evergreen, derived columns": lambda: evergreen(derived=True),
    "evergreen, two DataFrames": evergreen_frames,
    "nannyml": nannyml,
    "alibi": alibi,
    "whylogs": whylogs,
    "evidently": evidently,
}


def memory(field: str) -> float:
    """Return what the kernel says of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def main(name: str, *paths: str) -> None:
    """Measure after a warm-up with few rows, which pays for imports and caches."""
    warnings.filterwarnings("ignore")
    contender = CONTENDERS[name]()
    tables = [pd.read_parquet(path) for path in paths]
    reference, current = [
        contender.prepare(table.astype({column: object for column in table if table[column].dtype == "category"})) for table in tables
    ]
    few = [contender.prepare(table.head(WARM_ROWS).astype({c: object for c in table if table[c].dtype == "category"})) for table in tables]
    del tables
    contender.check(contender.fit(few[0]), few[1])
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    began = time.perf_counter()
    state = contender.fit(reference)
    fitted, cpu = time.perf_counter(), time.process_time()
    contender.check(state, current)
    figures = {
        "fit": fitted - began,
        "check": time.perf_counter() - fitted,
        "cpu": time.process_time() - cpu,
        "peak": max(memory("VmHWM") - before, 0.0),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
