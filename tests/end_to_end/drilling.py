"""A whole Evergreen under load, watched by Prometheus and Alertmanager, for one thing to go wrong in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest

from monitoring.local.processes import Processes
from tests.conftest import Once
from tests.end_to_end.observing import Observed, observing
from tests.end_to_end.wire import Wire, request
from tests.monitoring.world import A_DAY, MODEL_FILE, make_world, weather
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from training.model_file.model_spec import parse_spec
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry
from training.registry.tables import Cause, VersionRecord
from training.run import train, wrap_imported
from training.schema.rows import Rows
from training.settings import Home
from training.storage.database import Database, open_database

REPORT = "EVERGREEN_DRILL_REPORT"
CAUSE = Cause("somebody", "a drill")
HISTORY_DAYS = 60
TRAFFIC_DAYS = 3000
AT_ONCE = 500  # rows or labels: no transaction keeps others waiting
DRILLED = (
    MODEL_FILE.replace("watching: {every: 7d,", "watching: {promise: 36500d, every: 7d,")
    .replace("act: auto", "act: auto\n  schedule: 84d")  # a training takes some weeks of this model time
    .replace("cool_down: 14d", "cool_down: 7d")
    .replace("budget_per_week: 3", "budget_per_week: 10000")
)
OFTEN_TRAINED = DRILLED.replace("schedule: 84d", "schedule: 28d")
NOTIFIES = DRILLED.replace("act: auto\n  schedule: 84d", "act: notify")
SELDOM_JUDGED = DRILLED.replace("every: 7d, window: 14d", "every: 28d, window: 28d")  # an alert waits for minutes, which are days here
DRILL = [
    pytest.mark.slow,
    pytest.mark.xdist_group("drills"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("prometheus-alertmanager") is None,
        reason="Prometheus or Alertmanager is not installed: NO alert is drilled",
    ),
]
Row = dict[str, Any]
Bend = Callable[[Row], Row]


class Traffic:
    """Sends the weather to a service, a request a row, and its labels; model time passes by it, evenly.

    Parameters
    ----------
    days_per_second
        How fast it passes.

    Attributes
    ----------
    labelled_after
        Labels are those of so many days ago; None sends none.
    bend
        What becomes of a row before it is sent.
    labels_one_in
        Of so many rows one is labelled.
    flips
        Whether the labels are the opposite.
    extra
        So many rows more are sent with the next ones; they are labelled as all are.
    day
        The day that is being sent.
    statuses
        How many requests got which answer; 0 is none.
    """

    def __init__(self, port: int, days_per_second: float, labelled_after: int) -> None:
        self._port = port
        self._gap = 1.0 / (days_per_second * A_DAY)
        rows = weather(7, HISTORY_DAYS, TRAFFIC_DAYS)
        self._rows, self._labels = payloads(rows), rows.labels.tolist()
        self._ids: dict[int, list[tuple[str, str]]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._wire: Wire | None = None
        self.labelled_after: int | None = labelled_after
        self.bend: Bend = dict
        self.labels_one_in = 1
        self.flips = False
        self._goes_on, self._rests = threading.Event(), threading.Event()
        self._goes_on.set()
        self.extra = 0
        self.day = HISTORY_DAYS
        self.statuses: Counter[int] = Counter()
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the traffic waits for an answer"
        if self._wire is not None:
            self._wire.socket.close()
        if self.error is not None:
            raise self.error

    @property
    def row(self) -> Row:
        """Return a row of today."""
        return self._rows[(self.day - HISTORY_DAYS) * A_DAY]

    def pass_days(self, days: int) -> None:
        """Wait until so many more days were sent."""
        for day in range(self.day + 1, self.day + days + 1):
            until(lambda day=day: self.day >= day or self.error, lambda: f"a day after {self.day}; {self.statuses}")  # type: ignore[misc]
        assert self.error is None, self.error

    def rest(self) -> None:
        """Send nothing any more; what was sent is answered when this returns."""
        self._rests.clear()
        self._goes_on.clear()
        assert self._rests.wait(PATIENCE_SECONDS), "the traffic waits for an answer"

    def go_on(self) -> None:
        """Send again."""
        self._goes_on.set()

    def _run(self) -> None:
        try:
            due, place = time.monotonic(), 0
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                due = max(due + self._gap, time.monotonic() - 1.0)
                if not self._goes_on.is_set():
                    self._rests.set()
                    continue
                self._send(place)
                place += 1
        except BaseException as error:  # noqa: BLE001 - raised where the traffic is left
            self.error = error

    def _send(self, place: int) -> None:
        self.day = HISTORY_DAYS + place // A_DAY
        first, n = len(self._rows) - self.extra, min(self.extra, AT_ONCE)
        places, self.extra = [place, *range(first, first + n)], self.extra - n
        rows = [self.bend({**self._rows[each], "at": self._rows[place]["at"]}) for each in places]
        answer = self._ask("/models/rain/predict", {"rows": rows})
        if answer is not None:
            ids = [prediction["id"] for prediction in answer["predictions"]]
            self._ids.setdefault(self.day, []).extend(zip(ids, (self._labels[each] for each in places), strict=True))
        after = self.labelled_after
        if place % A_DAY == A_DAY // 2 and after is not None:
            for day in [day for day in self._ids if day <= self.day - after]:
                if self._label(self._ids[day]):
                    del self._ids[day]

    def _label(self, known: list[tuple[str, str]]) -> bool:
        """Send labels; return whether they need not be sent again."""
        other = {"yes": "no", "no": "yes"}
        items = [{"id": id_, "label": other[label] if self.flips else label} for id_, label in known[:: self.labels_one_in]]
        answers = [self._ask("/models/rain/labels", {"labels": items[i : i + AT_ONCE]}) for i in range(0, len(items), AT_ONCE)]
        return all(answer is not None and "pending" not in answer["counts"] for answer in answers)

    def _ask(self, path: str, content: Any) -> Any:
        """Return the answer where it is 200."""
        status, body = 0, None
        try:
            self._wire = self._wire or Wire(self._port)
            reply = self._wire.ask(request(path, content))
            status, body = reply.status, reply.json
        except (OSError, EOFError, ValueError, IndexError):
            if self._wire is not None:
                self._wire.socket.close()
            self._wire = None
        self.statuses[status] += 1
        return body if status == 200 else None


def payloads(rows: Rows) -> list[Row]:
    """Return rows as they are sent."""
    columns = {name: values.tolist() for name, values in rows.columns.items()}
    at = (rows.time_us // 60_000_000).tolist()
    return [
        {"at": at[i], **{name: None if values[i] != values[i] else values[i] for name, values in columns.items()}} for i in range(len(at))
    ]


@dataclass
class Drill:
    """One Evergreen under load, and who watches it.

    Attributes
    ----------
    model_file
        Its text.
    environment
        Of both processes.
    began
        When the fault was made (monotonic seconds).
    """

    home: Path
    model_file: str
    binds: Mapping[str, str]
    environment: dict[str, str]
    processes: Processes
    traffic: Traffic
    observed: Observed
    stack: ExitStack
    began: float = 0.0
    alert: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Note that the fault is made now; nobody was told of anything before."""
        assert (self.observed.notices(), self.observed.prometheus.has_fired()) == ([], set())
        self.began = time.monotonic()

    def wait_for(self, alert: str) -> None:
        """Wait until the webhook is told of an alert."""
        self.observed.wait_for(alert, "firing")
        self.report |= {"alert": alert, "fires": time.monotonic() - self.began}
        self.began = time.monotonic()
        self.alert = alert

    def mended(self) -> tuple[set[str], set[str]]:
        """Wait until the webhook is told that the alert is over, and all is calm; return what it was told of, and what it was spared."""
        self.observed.wait_for(self.alert, "resolved")
        self.report |= {"ends": time.monotonic() - self.began}
        self.observed.wait_for_calm()
        notified = {one.alert for one in self.observed.notices()}
        spared = self.observed.prometheus.has_fired() - notified
        if (path := os.environ.get(REPORT)) and notified == {self.alert}:
            with open(path, "a") as file:
                file.write(json.dumps(self.report | {"spared": sorted(spared)}) + "\n")
        return notified, spared

    @property
    def port(self) -> int:
        """Return the port of the service."""
        return int(self.binds["service"].rpartition(":")[2])

    @contextmanager
    def database(self, lock_timeout_seconds: float = PATIENCE_SECONDS) -> Iterator[Database]:
        """Open the database of a home on SQLite."""
        with closing(open_database(f"sqlite:///{self.home / 'evergreen.db'}", lock_timeout_seconds=lock_timeout_seconds)) as database:
            yield database

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """Open its registry."""
        with self.database() as database:
            yield Registry(database)

    def trained_aside(self, registry: Registry) -> VersionRecord:
        """Train and register a version that answers nothing."""
        rows, spec = weather(9, 0, HISTORY_DAYS), parse_spec(self.model_file)
        made = train(rows, spec, home=Home(self.home), registry=registry, now=datetime.now(UTC))
        return registry.version("rain", made.version)

    def imported(self, registry: Registry, pipeline: Any) -> VersionRecord:
        """Register a version of a pipeline that answers nothing."""
        rows, spec = weather(9, 0, HISTORY_DAYS), parse_spec(self.model_file)
        made = wrap_imported(pipeline, spec, rows, home=Home(self.home), registry=registry, now=datetime.now(UTC))
        return registry.version("rain", made.version)

    def champion(self, registry: Registry) -> str:
        """Return the version that answers."""
        alias = registry.alias("rain", CHAMPION)
        assert alias is not None
        return alias.version

    def promote(self, registry: Registry, version: VersionRecord) -> None:
        """Have a version answer."""
        registry.promote("rain", version.version, expected=self.champion(registry), cause=CAUSE)

    def evergreen(self, *arguments: str, home: Path | None = None) -> None:
        """Run a command of ours, on this home or another."""
        command = [sys.executable, "-m", "monitoring.cli", "--home", str(home or self.home), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, part: str) -> None:
        """Start a part of Evergreen that is gone."""
        processes = self.stack.enter_context(Processes(self.environment, self.home / "logs"))
        processes.start(part, self.binds[part])

    def start_replica(self, home: Path) -> None:
        """Start another service over a home, and have it scraped too."""
        bind = f"127.0.0.1:{free_port()}"
        processes = self.stack.enter_context(
            Processes(self.environment | {"EVERGREEN_HOME": str(home), "EVERGREEN_BIND": bind}, home / "logs")
        )
        processes.start("service", bind)
        processes.wait_ready("service", "/readyz", seconds=PATIENCE_SECONDS)
        self.observed.prometheus.scrape_also("evergreen-service", bind)


Begin = Callable[..., Drill]


@contextmanager
def drilling(
    folder: Path,
    once: Once,
    model_file: str = DRILLED,
    database_url: str = "",
    days_per_second: float = 1.0,
    labelled_after: int = 1,
    **variables: str,
) -> Iterator[Drill]:
    """Run service and monitor over a new home, send traffic, watch; the first slots are judged when the block begins.

    Parameters
    ----------
    variables
        Of the environment of both.
    """
    binds = {part: f"127.0.0.1:{free_port()}" for part in ("service", "monitoring")}
    world = make_world(folder, model_file, HISTORY_DAYS, database_url or None, once)
    world.close()
    home = folder / "home"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")},
        "EVERGREEN_HOME": str(home),
        "EVERGREEN_BIND": binds["service"],
        "EVERGREEN_MONITOR_BIND": binds["monitoring"],
        "EVERGREEN_TICK_SECONDS": "0.1",
        "EVERGREEN_ALIAS_POLL_SECONDS": "0.1",
        "PYTHONUNBUFFERED": "1",
        **({"EVERGREEN_DATABASE_URL": database_url} if database_url else {}),
        **variables,
    }
    with ExitStack() as stack:
        processes = stack.enter_context(Processes(environment, home / "logs"))
        for part, address in binds.items():
            processes.start(part, address)
        processes.wait_ready("service", "/readyz", seconds=PATIENCE_SECONDS)
        processes.wait_ready("monitoring", "/livez", seconds=PATIENCE_SECONDS)
        traffic = stack.enter_context(Traffic(int(binds["service"].rpartition(":")[2]), days_per_second, labelled_after))
        targets = {"evergreen-service": binds["service"], "evergreen-monitor": binds["monitoring"]}
        traffic.pass_days(15)  # two slots are judged
        observed = stack.enter_context(observing(targets, folder))
        judged = "evergreen:request_errors:ratio_rate6h and on() evergreen_verdict"
        until(lambda: observed.prometheus.ask(judged), "the rules are in force, and a slot is judged")
        yield Drill(home, model_file, binds, environment, processes, traffic, observed, stack)
