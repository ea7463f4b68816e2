"""Metrics of workers that are gone: told on, each number once, at any moment and after any crash, in files that do not grow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from service.folding import GONE, WorkerMetrics, forget_worker, start_anew
from service.metrics import DeploymentInfo, scrape

FIRST_PID = 5_000_000  # above what Linux gives, so none of them is alive
WORKERS = 500
ROUTES = ("/livez", "/models/<model>/predict")


def key(name: str, sample: str, **labels: str) -> str:
    return str(mmap_key(name, sample, list(labels), list(labels.values()), "Help."))


def write(path: Path, values: dict[str, tuple[float, float]]) -> None:
    file = MmapedDict(str(path))
    for name, (value, at) in values.items():
        file.write_value(name, value, at)
    file.close()


def work(folder: Path, pid: int, amount: float = 1.0) -> None:
    """Leave the files that a worker leaves."""
    write(folder / f"counter_{pid}.db", {key("a", "a_total", route=route): (amount, 0.0) for route in ROUTES})
    buckets = {key("h_seconds", "h_seconds_bucket", le=le): (amount, 0.0) for le in ("0.5", "1.0", "+Inf")}
    write(folder / f"histogram_{pid}.db", {**buckets, key("h_seconds", "h_seconds_sum"): (2 * amount, 0.0)})
    write(folder / f"gauge_max_{pid}.db", {key("last", "last"): (float(pid), 0.0)})
    write(folder / f"gauge_mostrecent_{pid}.db", {key("rows", "rows"): (float(pid), float(-pid % 1000 + 1))})
    write(folder / f"gauge_livesum_{pid}.db", {key("now", "now"): (1.0, 0.0)})


def told(folder: Path) -> dict[str, float]:
    """What a scrape says, by sample and labels."""
    samples = [sample for metric in WorkerMetrics(folder).collect() for sample in metric.samples]
    return {sample.name + "".join(sample.labels.values()): sample.value for sample in samples}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.db"))


def test_what_gone_workers_have_counted_is_told_on(tmp_path: Path) -> None:
    [work(tmp_path, FIRST_PID + n, amount=n) for n in range(3)]
    before = told(tmp_path)

    [forget_worker(FIRST_PID + n, tmp_path) for n in range(3)]

    after = told(tmp_path)
    assert after == {name: value for name, value in before.items() if name != "now"}
    assert after["a_total/livez"] == 3
    assert (after["h_seconds_bucket0.5"], after["h_seconds_bucket+Inf"], after["h_seconds_count"], after["h_seconds_sum"]) == (3, 9, 9, 6)
    assert after["last"] == FIRST_PID + 2
    assert files(tmp_path) == ["counter_gone.db", "gauge_max_gone.db", "gauge_mostrecent_gone.db", "histogram_gone.db"]


def test_five_hundred_restarts_leave_nothing_that_grows_and_sums_that_are_exact(tmp_path: Path) -> None:
    sizes = set()

    for n in range(WORKERS):
        work(tmp_path, FIRST_PID + n)
        forget_worker(FIRST_PID + n, tmp_path)
        sizes.add(sum(path.stat().st_size for path in tmp_path.iterdir()))

    assert told(tmp_path)["a_total/models/<model>/predict"] == WORKERS
    assert told(tmp_path)["h_seconds_sum"] == 2 * WORKERS
    assert len(files(tmp_path)) == 4
    assert len(sizes) == 1


def test_scrapes_that_run_meanwhile_never_see_a_counter_go_down_or_twice(tmp_path: Path) -> None:
    seen: list[float] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            seen.append(told(tmp_path).get("a_total/livez", 0.0))

    [work(tmp_path, FIRST_PID + n) for n in range(100)]
    threads = [threading.Thread(target=ask) for _ in range(2)]
    [thread.start() for thread in threads]
    [forget_worker(FIRST_PID + n, tmp_path) for n in range(100)]
    is_over.set()
    [thread.join() for thread in threads]

    assert set(seen) == {100.0}
    assert told(tmp_path)["a_total/livez"] == 100


@pytest.mark.parametrize("round_", range(5))
def test_a_master_that_is_killed_while_it_folds_loses_and_doubles_nothing(tmp_path: Path, round_: int, until: Callable[..., Any]) -> None:
    [work(tmp_path, FIRST_PID + n) for n in range(200)]
    child = os.fork()
    if child == 0:
        for n in range(200):
            forget_worker(FIRST_PID + n, tmp_path)
        os._exit(0)
    until(lambda: len(files(tmp_path)) < 1000 - 150 * round_)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    after_the_kill = told(tmp_path)
    forget_worker(FIRST_PID + 199, tmp_path)

    assert after_the_kill["a_total/livez"] == told(tmp_path)["a_total/livez"] == 200
    assert [name for name in files(tmp_path) if not name.endswith("_gone.db")] == []  # all who are gone, not only the one named


def leave_behind(folder: Path, step: str) -> None:
    """Make what a master leaves that was killed right before or after it put the new file in place."""
    dead = folder / f"counter_{FIRST_PID}.db"
    copy = folder / "copy"
    shutil.copy(dead, copy)
    forget_worker(FIRST_PID, folder)
    target = folder / "counter_gone.db"
    inode = target.stat().st_ino
    if step == "before":
        target.rename(folder / "counter_gone.partial")
    copy.rename(dead)
    (folder / "fold.json").write_text(json.dumps({"target": target.name, "inode": inode, "folded": [dead.name]}))


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_step_that_was_left_undone_is_seen_through_and_finished(tmp_path: Path, step: str) -> None:
    work(tmp_path, FIRST_PID)
    leave_behind(tmp_path, step)
    work(tmp_path, FIRST_PID + 1)

    between = told(tmp_path)["a_total/livez"]
    forget_worker(FIRST_PID + 1, tmp_path)

    assert between == told(tmp_path)["a_total/livez"] == 2
    assert (tmp_path / f"counter_{FIRST_PID}.db").exists() is False
    assert (tmp_path / "fold.json").exists() is False


def test_a_damaged_file_is_put_aside_and_stops_neither_master_nor_scrape(tmp_path: Path) -> None:
    work(tmp_path, FIRST_PID)
    (tmp_path / f"counter_{FIRST_PID}.db").write_bytes(b"\xff\xff\0\0" + b"\x07" * 500)

    forget_worker(FIRST_PID, tmp_path)

    assert "h_seconds_count" in told(tmp_path)
    assert [path.name for path in tmp_path.glob("*.damaged")] == [f"counter_{FIRST_PID}.damaged"]


def test_a_scrape_that_hangs_does_not_hold_up_the_master_and_nothing_is_lost(tmp_path: Path) -> None:
    import fcntl

    work(tmp_path, FIRST_PID)
    with open(tmp_path / "fold.lock", "w") as hanging:
        fcntl.flock(hanging, fcntl.LOCK_SH)
        forget_worker(FIRST_PID, tmp_path)
        during = told(tmp_path)["a_total/livez"]

    work(tmp_path, FIRST_PID + 1)
    forget_worker(FIRST_PID + 1, tmp_path)

    assert (during, told(tmp_path)["a_total/livez"]) == (1, 2)
    assert len(files(tmp_path)) == 4


def test_workers_that_live_keep_their_files(tmp_path: Path) -> None:
    work(tmp_path, os.getpid())
    work(tmp_path, FIRST_PID)

    forget_worker(FIRST_PID, tmp_path)

    assert f"counter_{os.getpid()}.db" in files(tmp_path)
    assert told(tmp_path)["now"] == 1


def test_a_new_run_starts_with_nothing_of_the_last(tmp_path: Path) -> None:
    work(tmp_path, FIRST_PID)
    leave_behind(tmp_path, "after")

    start_anew(tmp_path)

    assert told(tmp_path) == {}
    assert {path.name for path in tmp_path.iterdir()} <= {"fold.lock"}


COUNT = """
import os, sys
from prometheus_client import CollectorRegistry
from service.metrics import ServiceMetrics
metrics = ServiceMetrics(CollectorRegistry())
metrics.of_route("POST", "/models/<model>/predict", 200).note(0.003, 300)
metrics.of_model("bikes", "v1").note(0.002, 3, [("true", 2), ("false", 1)])
metrics.last_label.labels("bikes").set(17)
metrics.log_rows.set(5)
metrics.flush()
print(os.getpid())
"""


def count_in_a_worker(folder: Path) -> int:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    return int(done.stdout)


def told_by_scrape(folder: Path) -> str:
    return scrape(CollectorRegistry(), folder, DeploymentInfo(list)).decode()


def lines(text: str, *beginnings: str) -> Iterable[str]:
    return [line for line in text.splitlines() if line.startswith(beginnings)]


def test_the_service_s_own_metrics_are_the_same_before_and_after(tmp_path: Path) -> None:
    pids = [count_in_a_worker(tmp_path) for _ in range(2)]
    before = told_by_scrape(tmp_path)

    [forget_worker(pid, tmp_path) for pid in pids]

    after = told_by_scrape(tmp_path)
    assert sorted(after.splitlines()) == sorted(line for line in before.splitlines() if line in after.splitlines())
    assert lines(after, "evergreen_predictions_total") == [
        'evergreen_predictions_total{model="bikes",outcome="true",version="v1"} 4.0',
        'evergreen_predictions_total{model="bikes",outcome="false",version="v1"} 2.0',
    ]
    assert lines(after, "evergreen_labels_last", "evergreen_prediction_log_rows") == [
        'evergreen_labels_last_received_timestamp_seconds{model="bikes"} 17.0',
        "evergreen_prediction_log_rows 5.0",
    ]
    assert generate_latest(CollectorRegistry()) == b""


def workers_of(pid: int) -> list[int]:
    """The processes that a master has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def predicted(running: Any) -> float:
    """How many rows a scrape says were predicted."""
    found = lines(running.client.get("/metrics").text, "evergreen_predictions_total")
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_a_real_master_folds_the_files_of_workers_that_were_killed(
    place: Any, serve: Any, ride: dict[str, Any], until: Callable[..., Any]
) -> None:
    with serve(place, WORKERS="2") as running:
        folder = next(place.home.metrics.glob("service-*"))
        assert [running.predict(ride).status_code for _ in range(7)] == [200] * 7
        until(lambda: predicted(running) == 7)
        killed = workers_of(running.process.pid)

        [os.kill(pid, signal.SIGKILL) for pid in killed]
        until(lambda: not {name for name in files(folder) if int(name.rpartition("_")[2][:-3].replace(GONE, "0")) in killed})

        until(running.is_ready)
        assert predicted(running) == 7
        assert "counter_gone.db" in files(folder)
