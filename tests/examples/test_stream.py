"""The simulated stream: seeded, ordered, and doing what its table of events says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from tests.bikes import BIKES, stream_module
from training.clock import to_us
from training.dataset.dataset import read_table
from training.model_file.model_spec import load_spec


@pytest.fixture(scope="module")
def stream() -> ModuleType:
    return stream_module()


@pytest.fixture(scope="module")
def live(stream: ModuleType) -> pd.DataFrame:
    return stream.live(seed=0)


@pytest.fixture(scope="module")
def calm(stream: ModuleType) -> pd.DataFrame:
    return stream.live(seed=0, events=False)


def within(frame: pd.DataFrame, first: str, last: str) -> pd.DataFrame:
    return frame[(frame["observed_at"] >= first) & (frame["observed_at"] < last)]


def test_a_seed_gives_the_same_rows_and_another_seed_others(stream: ModuleType, live: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(stream.live(seed=0), live)
    assert not stream.live(seed=1).equals(live)


def test_rows_are_ordered_and_their_year_is_full(live: pd.DataFrame) -> None:
    assert live["observed_at"].is_monotonic_increasing
    assert len(live) == 365 * 56


def test_both_streams_are_the_same_until_the_first_event(live: pd.DataFrame, calm: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(within(live, "2024-01-01", "2024-03-01"), within(calm, "2024-01-01", "2024-03-01"))


def test_the_new_district_has_a_tenth_of_the_rows_and_was_never_seen_before(live: pd.DataFrame, calm: pd.DataFrame) -> None:
    after = within(live, "2024-03-01", "2025-01-01")

    assert np.mean(after["district"] == "harbour") == pytest.approx(0.1, abs=0.01)
    assert "harbour" not in set(within(live, "2024-01-01", "2024-03-01")["district"]) | set(calm["district"])


def test_the_recalibrated_sensor_moves_the_wind_and_nothing_else(live: pd.DataFrame, calm: pd.DataFrame) -> None:
    read, true = within(live, "2024-05-01", "2024-06-01"), within(calm, "2024-05-01", "2024-06-01")

    assert (read["wind"] / true["wind"]).median() == pytest.approx(1.4, abs=0.02)
    pd.testing.assert_series_equal(read["temperature"], true["temperature"])
    pd.testing.assert_series_equal(read["rain"], true["rain"])


def test_the_fare_change_changes_the_answers_and_no_input(live: pd.DataFrame, calm: pd.DataFrame) -> None:
    after, before = within(live, "2024-07-01", "2024-08-01"), within(calm, "2024-07-01", "2024-08-01")

    assert np.mean(after["runs_empty"] == "true") > np.mean(before["runs_empty"] == "true") + 0.1
    pd.testing.assert_series_equal(after["fare_plan"], before["fare_plan"])


def test_the_outage_sends_a_constant_while_the_labels_go_on(live: pd.DataFrame) -> None:
    outage = within(live, "2024-10-08", "2024-10-13")

    assert set(outage["bikes_available"]) == {0}
    assert set(outage["departures_last_hour"]) == {0}
    assert set(outage["runs_empty"]) == {"true", "false"}


def test_the_table_of_events_is_in_order_and_within_the_live_year(stream: ModuleType) -> None:
    firsts = [to_us(event.first) for event in stream.EVENTS]

    assert firsts == sorted(firsts)
    assert all(event.first >= stream.LIVE_START for event in stream.EVENTS)
    assert [event.kind for event in stream.EVENTS] == ["new category", "covariate drift", "concept change", "data fault"]


def test_the_model_file_reads_what_the_stream_writes(stream: ModuleType, tmp_path: Path) -> None:
    stream.history(seed=0, days=10).to_csv(tmp_path / "history.csv.gz", index=False)
    (tmp_path / "model.yaml").write_text((BIKES / "model.yaml").read_text())

    spec = load_spec(tmp_path / "model.yaml")
    rows = read_table(tmp_path / "history.csv.gz", spec.schema)

    assert len(rows) == 560
    assert set(rows.labels) == {"true", "false"}
