"""A hundred days of the example, replayed again and again: a monitor that is killed or stopped comes to equal verdicts and episodes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from monitoring.admin.onboarding import ensure_champion
from monitoring.admin.workbench import Workbench
from monitoring.local.client import Client
from monitoring.local.processes import Processes
from monitoring.local.replay import on_the_wire
from monitoring.local.replay_progress import ReplayProgress
from monitoring.local.up import addresses, child_environment, start
from tests.bikes import BIKES
from tests.end_to_end.system import with_few_fits
from tests.patience import until
from tests.ports import free_port
from training.artifacts.golden_rows import request_row
from training.dataset.dataset import read_table
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("equal replays")]

DAY_US = 86_400_000_000
DAYS, LATE_DAYS, FAULTY_DAY = 100, 3, 40
KILLED_AT = (12, FAULTY_DAY + 1, 55, 63, 80)
STOPPED_FOR = range(58, 68)  # the new district opens on day 60
Meddle = Callable[[Processes, int], None]


@pytest.fixture(scope="module")
def trained(stream: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example, judged every day and never retrained, some rows of one day without wind; and its trained home."""
    folder = tmp_path_factory.mktemp("trained")
    stream.history(0).to_csv(folder / "history.csv.gz", index=False)
    live = stream.live(0, days=DAYS)
    live.loc[(live.index % 4 > 0) & (day_of(live["observed_at"].astype("datetime64[us, UTC]").astype("int64")) == FAULTY_DAY), "wind"] = (
        None
    )
    live.to_csv(folder / "live.csv.gz", index=False)
    text = with_few_fits((BIKES / "model.yaml").read_text()).replace("every: 7d", "every: 1d").replace("bucket: 1d", "bucket: 6h")
    text = text.replace("schedule: 42d", "schedule: 4000d").replace("on_performance: true", "on_performance: false")
    (folder / "model.yaml").write_text(text)
    bench = Workbench({"EVERGREEN_HOME": str(folder / "home")})
    ensure_champion(bench, folder / "model.yaml", None)
    bench.close()
    return folder


def day_of(time_us: Any) -> Any:
    """Return the day of a time, counted from the first of the live year."""
    return time_us // DAY_US - 19723


class Sender:
    """Sends the rows of one day after the other, some of them three days late, and labels a day later."""

    def __init__(self, rows: Rows, spec: ModelSpec, url: str, progress: ReplayProgress) -> None:
        self._rows, self._spec, self._client, self._progress = rows, spec, Client(url), progress
        self.close = self._client.close
        self._ids: dict[int, str] = {}
        self._unlabelled: list[int] = []
        day = day_of(rows.time_us)
        self._came = day + LATE_DAYS * ((np.arange(len(rows)) % 7 == 3) & (day > 5))
        self._is_late = self._came > day

    def begin_day(self, day: int) -> None:
        """Send the first row of a day, which makes a slot due, once all that came before is in the log."""
        self._send(np.flatnonzero((self._came == day) & ~self._is_late)[:1])

    def go_on(self, day: int) -> None:
        """Send the other rows of the day, those that are late too, and the labels of the day before."""
        self._send(np.flatnonzero((self._came == day) & ~self._is_late)[1:])
        self._send(np.flatnonzero((self._came == day) & self._is_late))
        due = [i for i in self._unlabelled if self._came[i] < day]
        self._unlabelled = [i for i in self._unlabelled if self._came[i] >= day]
        if due:
            items = [{"id": self._ids[i], "label": on_the_wire(self._rows.labels[i], self._spec.schema)} for i in due]
            answer = self._client.post(f"/models/{self._spec.model}/labels", {"labels": items}, 60)
            assert {result["status"] for result in answer["results"]} == {"matched"}

    def _send(self, index: Any) -> None:
        rows = [request_row(self._rows.columns, int(self._rows.time_us[i]), int(i), self._spec.schema) for i in index]
        if rows:
            answer = self._client.post(f"/models/{self._spec.model}/predict", {"rows": rows}, 60)
            self._ids |= {int(i): str(one["id"]) for i, one in zip(index, answer["predictions"], strict=True)}
            self._unlabelled += [int(i) for i in index]
            self._progress.wait_drained(len(self._ids))


def replayed(
    trained: Path, folder: Path, meddle: Meddle = lambda processes, day: None, *, stopped_for: range = range(0)
) -> tuple[Any, ...]:
    """Replay all days in a copy of the trained home; return the verdicts, episodes and quarantines, without machine times."""
    shutil.copytree(trained / "home", folder / "home")
    binds = {"EVERGREEN_BIND": f"127.0.0.1:{free_port()}", "EVERGREEN_MONITOR_BIND": f"127.0.0.1:{free_port()}"}
    quick = {"EVERGREEN_TICK_SECONDS": "0.1", "EVERGREEN_LEASE_SECONDS": "1"}
    outer = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    bench = Workbench({**outer, **binds, **quick, "EVERGREEN_HOME": str(folder / "home")})
    spec, _ = ensure_champion(bench, trained / "model.yaml", None)
    rows = read_table(trained / "live.csv.gz", spec.schema)
    progress = ReplayProgress(bench.database, spec)
    progress.next_slot(rows.time_us)
    with Processes(child_environment(bench, [spec.model]), bench.home.path / "logs", too_short_seconds=0.0) as processes:
        start(processes, addresses(bench.environment))
        with closing(Sender(rows, spec, f"http://{binds['EVERGREEN_BIND']}", progress)) as sender:
            for day in range(DAYS):
                sender.begin_day(day)
                meddle(processes, day)
                if day not in stopped_for:
                    progress.wait_slots(int((19723 + day) * DAY_US))
                sender.go_on(day)
    journal = bench.journal
    verdicts = [(v.slot_us // DAY_US - 19723, v.verdict, v.reasons, v.evidence) for v in reversed(journal.verdicts(spec.model, limit=None))]
    episodes = [(one.to_dict(), answer) for one, answer in journal.episodes(spec.model, None)]
    quarantines = [(q.start_us, q.end_us, q.reason, q.slot_us) for q in journal.quarantines(spec.model)]
    bench.close()
    return verdicts, episodes, quarantines


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """What comes of it when nothing happens to the monitor."""
    return replayed(trained, tmp_path_factory.mktemp("whole"))


def test_it_is_replayed_twice_with_equal_verdicts_and_episodes(trained: Path, tmp_path: Path, whole: tuple[Any, ...]) -> None:
    verdicts, episodes, quarantines = whole

    assert [day for day, *_ in verdicts] == list(range(1, DAYS))
    assert episodes
    assert quarantines
    assert_equal(replayed(trained, tmp_path), whole)


def test_a_monitor_that_is_killed_five_times_comes_to_the_same(trained: Path, tmp_path: Path, whole: tuple[Any, ...]) -> None:
    rng, kills = random.Random(0), list[int]()

    def kill(processes: Processes, day: int) -> None:
        if day in KILLED_AT:
            time.sleep(rng.uniform(0.0, 0.3))  # somewhere between two ticks, or within one
            processes.signal("monitoring", signal.SIGKILL)
            until_ended(processes)
            kills.append(day)

    assert_equal(replayed(trained, tmp_path, kill), whole)
    assert kills == list(KILLED_AT)


def test_a_monitor_that_is_stopped_for_ten_slots_comes_to_the_same(trained: Path, tmp_path: Path, whole: tuple[Any, ...]) -> None:
    def stop(processes: Processes, day: int) -> None:
        if day == STOPPED_FOR[0]:
            processes.signal("monitoring", signal.SIGSTOP)
        if day == STOPPED_FOR.stop:
            processes.signal("monitoring", signal.SIGKILL)
            until_ended(processes)

    assert_equal(replayed(trained, tmp_path, stop, stopped_for=STOPPED_FOR), whole)


def until_ended(processes: Processes) -> None:
    """Look at the processes until the one that was killed is started again."""
    restarts: list[str] = []
    until(lambda: processes.look(restarts.append) or restarts, "the monitor that was killed ends")


def assert_equal(got: tuple[Any, ...], wanted: tuple[Any, ...]) -> None:
    """Compare slot by slot first, so that a difference says where it begins."""
    for mine, other in zip(got[0], wanted[0], strict=True):
        assert mine == other
    assert got == wanted
