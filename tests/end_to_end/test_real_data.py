"""Real drifting data over HTTP: trained, served, labelled late, retrained, gated; a stuck column is quarantined."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from monitoring.local.replay import Replayed, replay
from tests.end_to_end.system import Launch, System, parts
from training.clock import duration_us
from training.dataset.dataset import read_table
from training.model_file.model_spec import load_spec
from training.schema.rows import Rows

Times = npt.NDArray[np.int64]
HISTORY, LIVE = 0.25, 0.20  # shares of the rows: to train on first, and to replay
STUCK = {"bike_sharing": "temp", "bank_marketing": "age", "elec2": "nswdemand", "kdd99": "c23"}
STUCK_FROM = {"bike_sharing": 0.55, "bank_marketing": 0.55, "elec2": 0.55, "kdd99": 0.17}  # of kdd99's live rows the rest hardly vary


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a replayed stretch of real data left behind."""

    system: System
    replayed: Replayed
    stuck: Times
    delay_rows: int


@pytest.fixture(scope="module", params=parts("real data", sorted(STUCK), quick=()))
def stretch(
    request: pytest.FixtureRequest,
    launch: Launch,
    repository: Path,
    data_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stretch:
    """Train on the first quarter, then replay a fifth of the rows, with a column stuck for some buckets."""
    name = request.param
    text = (repository / "examples" / "real" / f"{name}.yaml").read_text()
    folder = tmp_path_factory.mktemp(name)
    spec = load_spec(repository / "examples" / "real" / f"{name}.yaml")
    rows = read_table(data_folder / name / f"{name}.csv.gz", spec.schema)
    cut, end = (start_of_tie(rows, int(len(rows) * share)) for share in (HISTORY, HISTORY + LIVE))
    pd.read_csv(data_folder / name / f"{name}.csv.gz", nrows=cut).to_csv(folder / "history.csv.gz", index=False)
    (folder / "model.yaml").write_text(text.replace(f"../../../shared/data/{name}/{name}.csv.gz", "history.csv.gz"))
    live = rows.slice(cut, end)
    live, stuck = stick(live, STUCK[name], STUCK_FROM[name], duration_us(spec.watching.bucket))
    system = launch(folder / "model.yaml")
    replayed = replay(live, system.spec, system.url, database=system.bench.database)
    delay = json.loads((data_folder / name / "meta.json").read_text())["delay_rows"]
    return Stretch(system, replayed, stuck, delay)


def test_every_row_is_answered_and_logged_once(stretch: Stretch) -> None:
    size = stretch.system.bench.log.size(stretch.system.spec.model)

    assert size.rows == len(stretch.replayed.rows) == len(set(stretch.replayed.ids))


def test_every_label_that_was_due_is_matched_with_the_delay_of_the_data_set(stretch: Stretch) -> None:
    counts = stretch.replayed.label_counts

    assert stretch.system.spec.labels.delay_rows == stretch.delay_rows
    assert counts == {"matched": len(stretch.replayed.rows) - stretch.delay_rows}


def test_a_challenger_is_trained_and_gated(stretch: Stretch) -> None:
    lines = stretch.system.bench.registry.ledger(stretch.system.spec.model, None)

    judged = [line for line in lines if line.action in ("promote", "refuse") and "run" in line.evidence]

    assert judged
    assert all("gain_low" in line.evidence for line in judged), [line.why for line in judged]


def test_the_stuck_column_is_quarantined(stretch: Stretch) -> None:
    column, model = STUCK[stretch.system.spec.model], stretch.system.spec.model

    held = [q for q in stretch.system.bench.journal.quarantines(model) if f"constant {column}" in q.reason]

    assert len(stretch.stuck) > 0
    assert {t for t in stretch.stuck.tolist() if not any(q.start_us <= t < q.end_us for q in held)} == set()


def start_of_tie(rows: Rows, index: int) -> int:
    """Return the first row that has the time of row `index`."""
    return int(np.searchsorted(rows.time_us, rows.time_us[index], side="left"))


def stick(rows: Rows, column: str, share: float, bucket_us: int) -> tuple[Rows, Times]:
    """Freeze a column at its last reading for three whole buckets from a share of `rows` on; return the rows and which."""
    first = int(rows.time_us[int(len(rows) * share)]) // bucket_us * bucket_us + bucket_us
    stuck = (rows.time_us >= first) & (rows.time_us < first + 3 * bucket_us)
    values = np.where(stuck, rows.columns[column][stuck.argmax()], rows.columns[column])
    return Rows({**rows.columns, column: values}, rows.labels, rows.time_us), rows.time_us[stuck]
