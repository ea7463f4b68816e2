"""The watching process itself: it starts, tells of itself, and ends cleanly."""

import http.client
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import Gauge

from monitoring.app import Monitor, make_server
from monitoring.bounded_server import MOST_CONNECTIONS
from monitoring.journal.journal import Journal
from monitoring.journal.leases import MONITOR, Turn
from monitoring.journal.outbox import Message
from monitoring.loop.scheduler import Pulse
from monitoring.metrics import make_metrics
from monitoring.settings import MonitoringSettings, from_environment
from tests.databases import copy_registry, dump, migrate_further
from tests.monitoring.watched import read
from tests.monitoring.world import World, weather
from tests.patience import PATIENCE_SECONDS, until
from tests.ports import free_port
from tests.receivers import receiver
from training.errors import SettingsError
from training.settings import Home
from training.storage.database import open_database


@pytest.fixture
def bind() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def start(tmp_path: Path, bind: str) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    environment = {**os.environ, "EVERGREEN_HOME": str(tmp_path / "home"), "EVERGREEN_MONITOR_BIND": bind, "EVERGREEN_TICK_SECONDS": "0.1"}
    started: list[subprocess.Popen[bytes]] = []

    def one(**more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "monitoring"]
        started.append(subprocess.Popen(command, env=environment | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.communicate()


def get(bind: str, path: str) -> str:
    return until(lambda: read(bind, path), f"{path} is answered")


def eventually(bind: str, path: str, word: str) -> str:
    return until(lambda: text if word in (text := get(bind, path)) else "", f"{path} says {word!r}")


def last_tick(bind: str) -> float:
    return float(get(bind, "/metrics").split("\nevergreen_scheduler_last_tick_timestamp_seconds ")[1].split()[0])


def next_tick(bind: str, *, near: int) -> float:
    """Wait for a new tick by a clock that is `near` hours from ours."""
    before = last_tick(bind)
    return until(lambda: 0.0 if (tick := last_tick(bind)) == before or abs(tick - time.time() - near * 3600) > 1800 else tick)


def test_it_tells_of_itself_and_ends_cleanly(start: Callable[[], subprocess.Popen[bytes]], bind: str) -> None:
    process = start()

    metrics = eventually(bind, "/metrics", "evergreen_scheduler_is_leader 1.0")
    live = json.loads(get(bind, "/livez"))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert "evergreen_scheduler_last_tick_timestamp_seconds" in metrics
    assert live == {"live": True}
    assert process.returncode == 0, output.decode()


@pytest.mark.slow
def test_the_next_one_need_not_wait_for_the_lease(start: Callable[..., subprocess.Popen[bytes]], bind: str) -> None:
    first = start(EVERGREEN_LEASE_SECONDS="86400")
    eventually(bind, "/metrics", "evergreen_scheduler_is_leader 1.0")
    first.terminate()
    first.communicate(timeout=PATIENCE_SECONDS)

    start(EVERGREEN_LEASE_SECONDS="86400")
    eventually(bind, "/metrics", "evergreen_scheduler_is_leader 1.0")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc), so no clock of the monitor's machine that can be set")
def test_a_clock_that_is_set_stops_no_tick_and_costs_no_lease(
    start: Callable[..., subprocess.Popen[bytes]], bind: str, tmp_path: Path
) -> None:
    source, shim, step = Path(__file__).with_name("stepping_clock.c"), tmp_path / "clock.so", tmp_path / "step"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    start(LD_PRELOAD=str(shim), STEPPING_CLOCK=str(step))
    eventually(bind, "/metrics", "evergreen_scheduler_is_leader 1.0")

    ticks = []
    for hours in (-1, 1, -72, 72, 0):
        step.write_text(str(hours * 3600))
        ticks += [next_tick(bind, near=hours), next_tick(bind, near=hours)]

    assert len(set(ticks)) == 10
    assert "evergreen_scheduler_is_leader 1.0" in get(bind, "/metrics")
    assert json.loads(get(bind, "/livez")) == {"live": True}


class Noted(Gauge):
    """A gauge that counts how often it was set."""

    times = 0

    def set_to_current_time(self) -> None:
        self.times += 1


def test_a_loop_that_catches_up_is_seen_to_turn_at_each_slot(make: Callable[..., World]) -> None:
    world, last_tick = make(), Noted("last_tick", "Machine time of the last tick.", registry=None)
    world.answer(weather(0, 60, 30))
    monitor = Monitor(from_environment({"EVERGREEN_HOME": str(world.stores.home.path)}), {})
    monitor.metrics = replace(monitor.metrics, last_tick=last_tick)

    monitor.tick()
    monitor.stores.close()

    assert last_tick.times == len(world.verdicts()) + 1 > 4


def test_a_training_child_knows_no_secret_of_messages(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    secret = {"EVERGREEN_WEBHOOK_SECRET": "a", "EVERGREEN_SMTP_PASSWORD": "b", "EVERGREEN_WEBHOOK_URL": "c", "EVERGREEN_MAIL_TO": "d"}

    monitor = Monitor(MonitoringSettings(home, home.database_url), {**secret, "EVERGREEN_HOME": str(home.path)})

    assert dict(monitor.watch.retraining.children.environment) == {"EVERGREEN_HOME": str(home.path)}
    monitor.stores.close()


@pytest.mark.slow
def test_an_endpoint_that_hangs_holds_no_tick_up_and_a_monitor_that_is_killed_meanwhile_loses_no_message(
    start: Callable[..., subprocess.Popen[bytes]], bind: str, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home").ensure()
    with receiver(["hang"]) as hook, closing(open_database(home.database_url)) as database:
        options = {"EVERGREEN_WEBHOOK_URL": hook.url, "EVERGREEN_WEBHOOK_SECRET": f"whsec_{'k' * 32}", "EVERGREEN_LEASE_SECONDS": "1"}
        journal = Journal(database)
        message = Message("rain", "model.promoted", "a", {"summary": "rain: b is the champion now"})
        journal.add_quarantine(journal.outbox.announcing(Turn(datetime.now(UTC)), [message]), "rain", 1, 2, "rule x", slot_us=3)
        first = start(**options)
        hook.wait_for(1)
        ticks = [next_tick(bind, near=0) for _ in range(3)]
        first.kill()
        first.wait()
        waiting = 'evergreen_messages_waiting{destination="webhook"} '
        start(**options)
        hook.wait_for(2)
        eventually(bind, "/metrics", f"{waiting}0.0")

    assert len(set(ticks)) == 3
    assert len({(one.headers["webhook-id"], one.body) for one in hook.got}) == 1
    assert len(hook.got) == 2


def test_a_taken_port_is_a_sentence(start: Callable[[], subprocess.Popen[bytes]], bind: str) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, _, port = bind.rpartition(":")
        taken.bind((host, int(port)))
        taken.listen()
        process = start()
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert f"cannot listen on {bind}" in output.decode()


def test_two_starts_with_one_host_and_one_process_id_are_two_holders() -> None:
    assert from_environment({}).holder != from_environment({}).holder


@pytest.mark.parametrize("turns", [True, False], ids=["turns", "stands"])
def test_the_lease_is_renewed_only_while_the_loop_turns(turns: bool, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    settings = MonitoringSettings(home, f"sqlite:///{home.database}", lease=timedelta(microseconds=3))
    monitor = Monitor(settings, os.environ)
    monitor.tick()
    before = monitor.stores.journal.lease(MONITOR)

    monitor.pulse = Pulse(idle_seconds=60.0 if turns else 0.0, busy_seconds=60.0)
    monitor.renew_lease()
    after = monitor.stores.journal.lease(MONITOR)
    monitor.stores.close()

    assert (after != before) == turns


@pytest.mark.parametrize(
    ("bind", "method", "headers", "status"),
    [
        ("127.0.0.1:0", "GET", {"Host": "localhost:1"}, 200),
        ("127.0.0.1:0", "HEAD", {"Host": "lab.test"}, 200),
        ("127.0.0.1:0", "GET", {"Host": "evil.example"}, 403),
        ("127.0.0.1:0", "HEAD", {"Host": "evil.example"}, 403),
        ("127.0.0.1:0", "POST", {"Host": "localhost", "Origin": "https://evil.example"}, 403),
        ("127.0.0.1:0", "POST", {"Host": "localhost", "Sec-Fetch-Site": "none", "Content-Type": "text/plain"}, 415),
        ("127.0.0.1:0", "POST", {"Host": "localhost"}, 405),
        ("0.0.0.0:0", "GET", {"Host": "monitor.pods.example:8001"}, 200),
        ("[::1]:0", "GET", {"Host": "[::1]:1"}, 200),
        ("[::1]:0", "GET", {"Host": "evil.example"}, 403),
        ("[::]:0", "GET", {"Host": "monitor.pods.example:8001"}, 200),
    ],
    ids=str,
)
def test_on_loopback_a_web_page_reads_nothing_and_elsewhere_probes_come_under_any_name(
    bind: str, method: str, headers: dict[str, str], status: int
) -> None:
    server = make_server(replace(from_environment({"EVERGREEN_HOSTS": "lab.test"}), bind=bind), make_metrics(), lambda: True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    client = http.client.HTTPConnection(str(server.server_address[0]), server.server_port, timeout=PATIENCE_SECONDS)
    client.request(method, "/livez", headers=headers)
    answer = client.getresponse()
    answer.read()

    client.close()
    server.shutdown()
    server.server_close()
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")


def test_connections_without_end_take_a_bounded_number_of_threads_and_keep_no_probe_out(bind: str) -> None:
    server = make_server(replace(from_environment({}), bind=bind), make_metrics(), lambda: True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    before, host, port = threading.active_count(), str(server.server_address[0]), server.server_port

    strangers = [socket.create_connection((host, port), timeout=PATIENCE_SECONDS) for _ in range(3 * MOST_CONNECTIONS)]
    for stranger in strangers[::2]:
        with suppress(OSError):
            stranger.sendall(b"GET /livez HTTP/1.1\r\nX: ")
    live = json.loads(get(bind, "/livez"))
    with suppress(ConnectionResetError):
        assert strangers[1].recv(100) == b""  # the oldest are closed
    threads = threading.active_count() - before

    for stranger in strangers:
        stranger.close()
    server.shutdown()
    server.server_close()
    assert live == {"live": True}
    assert threads <= MOST_CONNECTIONS + 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVERGREEN_MONITOR_BIND", "8001"),
        ("EVERGREEN_MONITOR_BIND", "127.0.0.1:99999"),
        ("EVERGREEN_MONITOR_BIND", "127.0.0.1:²"),
        ("EVERGREEN_TICK_SECONDS", "often"),
        ("EVERGREEN_LEASE_SECONDS", "0"),
        ("EVERGREEN_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment({name: value})


def test_the_monitor_logs_in_the_service_s_format() -> None:
    code = "import logging, monitoring.app as app; app.set_up_logging('INFO'); logging.getLogger('loop').warning('it %s', 'moved')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])

    [line] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (line["level"], line["logger"], line["msg"]) == ("WARNING", "loop", "it moved")
    assert set(line) == {"ts", "level", "logger", "pid", "msg"}


# ---- a home that is another's ------------------------------------------------------------------------------------------


@pytest.fixture
def home_url(trained_home: Path, database_url: str) -> str:
    """A database of either kind with the registry of a home."""
    own_url = f"sqlite:///{trained_home}/evergreen.db"
    if database_url != own_url:
        copy_registry(own_url, database_url)
    return database_url


@pytest.fixture
def monitor(trained_home: Path, home_url: str) -> Iterator[Monitor]:
    """Return a monitor of a home with a champion; it is not run."""
    made = Monitor(from_environment({"EVERGREEN_HOME": str(trained_home), "EVERGREEN_DATABASE_URL": home_url}), {})
    yield made
    made.stores.close()


def spoil_key(home: Path) -> None:
    (home / "keys" / "signing.key").unlink()


def replace_key(home: Path) -> None:
    (home / "keys" / "signing.key").write_text("ab" * 32 + "\n")


def spoil_artifacts(home: Path) -> None:
    shutil.rmtree(home / "artifacts" / "bikes")


def spoil_rows(home: Path) -> None:
    shutil.rmtree(home / "rows")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_key, "keys/signing.key"),
        (replace_key, "keys/signing.key is another"),
        (spoil_artifacts, "artifacts/bikes/"),
        (spoil_rows, ".parquet"),
    ],
    ids=["no key", "another key", "artifacts", "rows"],
)
def test_a_monitor_that_cannot_reach_what_its_registry_names_says_so_once_and_writes_nothing(
    trained_home: Path, home_url: str, monitor: Monitor, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(trained_home)
    before = dump(home_url)

    for _ in range(3):
        monitor.tick()
        monitor.apply_retention()

    [error] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert error.startswith("nothing is done here: ")
    assert reason in error
    assert reason in str(monitor.why_not_ready())
    assert dump(home_url) == before
    assert (trained_home / "keys" / "signing.key").exists() == (spoil is not spoil_key)


@pytest.mark.parametrize("when", ["at its start", "while it leads"])
@pytest.mark.parametrize("component", ["registry", "log", "journal"])
def test_a_monitor_on_tables_of_a_newer_evergreen_says_so_once_and_writes_nothing(
    home_url: str, monitor: Monitor, caplog: pytest.LogCaptureFixture, component: str, when: str
) -> None:
    if when == "while it leads":
        monitor.tick()
    migrate_further(home_url, component)
    before = dump(home_url)

    for _ in range(3):
        monitor.tick()
        monitor.apply_retention()
        monitor.renew_lease()

    reason = f"the {component} tables are at version 99, this Evergreen knows them up to version"
    [error] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert error.startswith(f"nothing is done here: {reason}")
    assert reason in str(monitor.why_not_ready())
    assert dump(home_url) == before


def test_a_monitor_in_its_home_is_ready_and_acts(home_url: str, monitor: Monitor) -> None:
    before = dump(home_url)

    monitor.tick()

    assert monitor.why_not_ready() is None
    assert dump(home_url) != before


def test_a_monitor_that_waited_does_not_take_over_what_was_trained_in_another_home(
    trained_home: Path, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    journal = monitor.stores.journal
    token = journal.acquire(MONITOR, "another", timedelta(hours=1), datetime.now(UTC))
    assert token is not None
    monitor.tick()
    was_ready = monitor.why_not_ready() is None

    shutil.rmtree(trained_home / "artifacts" / "bikes")
    journal.release(MONITOR, token)
    monitor.tick()

    assert was_ready
    assert not journal.is_held(MONITOR, datetime.now(UTC))
    assert [record.levelname for record in caplog.records if "nothing is done here: bikes: the registry names" in record.message] == [
        "ERROR"
    ]
