"""Metrics of workers that are gone: counted on by who comes after them, in files that do not grow."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.telemetry.metrics import DeploymentInfo, ServiceMetrics, scrape
from service.telemetry.multiprocess import WorkerMetrics, forget_live_gauges, lowest_free, prepare_slot, start_anew, use_slot

KINDS = ("counter", "histogram", "gauge_max", "gauge_mostrecent", "gauge_livesum", "gauge_livemax", "gauge_livemin")


def live(folder: Path, slot: int, rows: int = 1) -> None:
    """Be a worker: forked, counting, gone without a word."""
    child = os.fork()
    if child == 0:
        try:
            use_slot(folder, str(slot))
            metrics = ServiceMetrics(CollectorRegistry())
            metrics.of_route("POST", "/models/<model>/predict", 200).note(0.003, 300)
            metrics.of_model("bikes", "v1").note(0.002, rows, [("true", rows)])
            metrics.last_label.labels("bikes").set(slot + 17)
            metrics.log_rows.set(5)
            metrics.flush()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it is, this is no pytest any more
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0


def samples(folder: Path) -> dict[str, float]:
    """Read a scrape, by sample and labels."""
    samples = [sample for metric in WorkerMetrics(folder).collect() for sample in metric.samples]
    return {sample.name + "".join(sample.labels.values()): sample.value for sample in samples}


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.db"))}


@pytest.mark.parametrize(("taken", "free"), [((), 0), ((0,), 1), ((1, 2), 0), ((0, 1, 3), 2)])
def test_the_next_worker_takes_the_lowest_free_slot(taken: Collection[int], free: int) -> None:
    assert lowest_free(taken) == free


def test_a_successor_counts_on_from_where_a_dead_worker_was(tmp_path: Path) -> None:
    live(tmp_path, 0, rows=3)

    prepare_slot(tmp_path, "0")
    live(tmp_path, 0, rows=4)

    assert samples(tmp_path)["evergreen_predictions_totalbikestruev1"] == 7
    assert samples(tmp_path)["evergreen_http_request_duration_seconds_countPOST/models/<model>/predict"] == 2
    assert samples(tmp_path)["evergreen_predict_duration_seconds_sumbikes"] == pytest.approx(0.004)


def test_several_slots_are_added_up(tmp_path: Path) -> None:
    live(tmp_path, 0, rows=3)
    live(tmp_path, 1, rows=4)

    assert samples(tmp_path)["evergreen_predictions_totalbikestruev1"] == 7
    assert samples(tmp_path)["evergreen_labels_last_received_timestamp_secondsbikes"] == 18
    assert samples(tmp_path)["evergreen_prediction_log_rows"] == 5


@pytest.mark.parametrize("restarts", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_restarts_leave_nothing_that_grows_and_sums_that_are_exact(tmp_path: Path, restarts: int) -> None:
    live(tmp_path, 0)
    at_first = files(tmp_path)

    for _ in range(restarts - 1):
        prepare_slot(tmp_path, "0")
        live(tmp_path, 0)

    assert files(tmp_path) == at_first
    assert samples(tmp_path)["evergreen_predictions_totalbikestruev1"] == restarts


def test_what_a_dead_worker_told_of_itself_is_not_its_successor_s_first_value(tmp_path: Path) -> None:
    live(tmp_path, 0)
    live(tmp_path, 1)
    memory_of_both = samples(tmp_path)["evergreen_worker_resident_memory_bytes"]

    prepare_slot(tmp_path, "1")

    assert 0 < samples(tmp_path)["evergreen_worker_resident_memory_bytes"] < memory_of_both
    assert samples(tmp_path)["evergreen_predictions_totalbikestruev1"] == 2


def test_a_worker_that_has_no_successor_tells_nothing_of_itself(tmp_path: Path) -> None:
    live(tmp_path, 0)

    forget_live_gauges(tmp_path, "0")

    assert "evergreen_worker_resident_memory_bytes" not in samples(tmp_path)
    assert samples(tmp_path)["evergreen_predictions_totalbikestruev1"] == 1


@pytest.mark.parametrize("content", [b"\xff\xff\0\0" + b"\x07" * 500, b"\x10", b"\x30\0\0\0\0\0\0\0\x08\0\0\0no jsonA" + b"\0" * 64])
def test_a_damaged_file_is_set_aside_and_stops_neither_successor_nor_scrape(tmp_path: Path, content: bytes) -> None:
    live(tmp_path, 0)
    live(tmp_path, 10)
    (tmp_path / "counter_0.db").write_bytes(content)

    prepare_slot(tmp_path, "0")
    live(tmp_path, 0)

    assert samples(tmp_path)["evergreen_predictions_totalbikestruev1"] == 2
    assert samples(tmp_path)["evergreen_request_rows_countbikes"] == 3
    assert [path.name for path in tmp_path.glob("*.damaged")] == ["counter_0.damaged"]


def test_a_new_run_starts_with_nothing_of_the_last(tmp_path: Path) -> None:
    live(tmp_path, 0)
    (tmp_path / "counter_1.damaged").write_bytes(b"")

    start_anew(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_scrape_is_the_text_of_all_slots(tmp_path: Path) -> None:
    live(tmp_path, 0, rows=2)

    text = scrape(CollectorRegistry(), tmp_path, DeploymentInfo(list)).decode()

    assert 'evergreen_predictions_total{model="bikes",outcome="true",version="v1"} 2.0\n' in text


def workers_of(pid: int) -> list[int]:
    """List the processes that a master has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def predicted(running: Any) -> float:
    """Return how many rows a scrape counts as predicted."""
    lines = running.client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("evergreen_predictions_total"))


def test_the_counts_of_real_workers_are_right_after_all_were_killed(
    place: Any, serve: Any, ride: dict[str, Any], until: Callable[..., Any]
) -> None:
    with serve(place, WORKERS="2") as running:
        folder = next(place.home.metrics.glob("service-*"))
        assert [running.predict(ride).status_code for _ in range(7)] == [200] * 7
        until(lambda: predicted(running) == 7)
        up = running.client.get("/metrics").text
        killed, names = workers_of(running.process.pid), set(files(folder))

        [os.kill(pid, signal.SIGKILL) for pid in killed]
        until(lambda: len(workers_of(running.process.pid)) == len(killed) and not set(workers_of(running.process.pid)) & set(killed))
        until(running.is_ready)

        assert predicted(running) == 7
        assert [running.predict(ride).status_code for _ in range(3)] == [200] * 3
        until(lambda: predicted(running) == 10)
        assert "\nevergreen_db_up 1.0\n" in up  # though only one worker drains
        assert set(files(folder)) <= names | {f"{kind}_{running.process.pid}-{slot}.db" for kind in KINDS for slot in range(3)}
