"""The doctor says what is broken, and only that."""

from __future__ import annotations

import importlib
import socket
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from monitoring.admin.doctor import Check, examine
from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from service.models.load_attempts import LoadAttempts
from tests.conftest import Once
from tests.monitoring.world import DAY_US, make_world, weather
from tests.ports import free_port
from tests.trouble import FOLDER, ROOT, Troubled, die_twice
from training.clock import to_us
from training.model_file.model_spec import parse_spec
from training.registry.tables import Cause
from training.run import wrap_imported


def look(home: Path, **variables: str) -> dict[str, Check]:
    bench = Workbench({"EVERGREEN_HOME": str(home), **variables})
    checks = examine(bench)
    bench.close()
    return {check.check: check for check in checks}


def test_a_home_in_order_has_nothing_broken(trained_home: Path) -> None:
    checks = look(trained_home)

    assert [check for check in checks.values() if check.state == "broken"] == []
    assert checks["champion of bikes"].state == "ok"
    assert "registry 1" in checks["database"].detail


def test_a_home_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    checks = look(tmp_path / "nothing")

    assert [check for check in checks.values() if check.state == "broken"] == []
    assert not (tmp_path / "nothing").exists()


def test_a_database_that_is_gone_from_its_home_is_broken(trained_home: Path) -> None:
    (trained_home / "evergreen.db").unlink()

    assert look(trained_home)["database"].state == "broken"
    assert not (trained_home / "evergreen.db").exists()


def test_a_key_that_others_can_read_is_broken(trained_home: Path) -> None:
    (trained_home / "keys" / "signing.key").chmod(0o644)

    assert look(trained_home)["signing key"].state == "broken"


def test_a_home_that_others_can_look_into_is_told(trained_home: Path) -> None:
    trained_home.chmod(0o755)

    assert look(trained_home)["home"].state == "warning"


def test_a_tampered_champion_is_broken(trained_home: Path) -> None:
    model = next((trained_home / "artifacts" / "bikes").glob("*/model.joblib"))
    model.write_bytes(model.read_bytes() + b"x")

    assert look(trained_home)["champion of bikes"].state == "broken"


def test_a_database_that_is_none_is_broken_and_the_rest_is_still_looked_at(trained_home: Path) -> None:
    (trained_home / "evergreen.db").write_bytes(b"this is no database, whatever its name says")

    checks = look(trained_home)

    assert checks["database"].state == "broken"
    assert {"disk", "port of the service", "clocks"} <= checks.keys()


@pytest.mark.parametrize("variable", ["EVERGREEN_BIND", "EVERGREEN_MONITOR_BIND"])
def test_a_port_in_use_is_told(trained_home: Path, variable: str) -> None:
    binds = {name: f"127.0.0.1:{free_port()}" for name in ("EVERGREEN_BIND", "EVERGREEN_MONITOR_BIND")}
    host, _, port = binds[variable].partition(":")
    with socket.socket() as holder:
        holder.bind((host, int(port)))
        holder.listen()

        checks = look(trained_home, **binds)

    states = {check.detail.split()[0]: check.state for name, check in checks.items() if name.startswith("port")}
    assert states == {bind: "warning" if name == variable else "ok" for name, bind in binds.items()}


@pytest.mark.parametrize("variable", ["EVERGREEN_BIND", "EVERGREEN_MONITOR_BIND"])
@pytest.mark.parametrize(
    ("bind", "detail"),
    [
        ("a..b:8000", "cannot listen on a..b:8000: "),
        ("localhost", "{} is 'localhost'; it must be host:port"),
        ("127.0.0.1:99999", "{} is '127.0.0.1:99999'; it must be host:port"),
    ],
)
def test_an_address_nobody_can_listen_on_is_broken_and_not_in_use(tmp_path: Path, variable: str, bind: str, detail: str) -> None:
    checks = look(tmp_path / "home", **{variable: bind})

    check = checks["port of the service" if variable == "EVERGREEN_BIND" else "port of the monitoring"]
    assert (check.state, check.detail.startswith(detail.format(variable))) == ("broken", True)


@pytest.mark.parametrize(("version", "state"), [((3, 51, 2), "warning"), ((3, 51, 3), "ok")], ids=["older", "fixed"])
def test_a_sqlite_with_the_wal_bug_is_warned_of(
    version: tuple[int, int, int], state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)

    assert look(tmp_path / "nothing")["sqlite"].state == state


def test_models_that_take_their_process_along_are_told_and_the_others_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench({"EVERGREEN_HOME": str(tmp_path / "home")})
    bench.begin()
    table, now = pd.DataFrame({"a": range(120), "y": range(120)}), datetime(2026, 3, 1, tzinfo=UTC)
    for place, name in enumerate(("abacus", "bead", "cube")):
        spec = parse_spec(f"model: {name}\nschema: {{target: y, task: regression, features: {{a: numeric}}}}\n")
        bench.registry.put_model(spec)
        made = wrap_imported(Troubled(name), spec, table, home=bench.home, registry=bench.registry, now=now + timedelta(hours=place))
        bench.registry.promote(name, made.version, expected=None, cause=Cause("test", "test"))
    die_twice(LoadAttempts(bench.home.loading), "cube", made.version, move=1)
    bench.close()
    (tmp_path / "trouble").mkdir()
    (tmp_path / "trouble" / "abacus.predict").write_text("SIGSEGV")
    (tmp_path / "trouble" / "bead.unpickle").write_text("os._exit(0)")
    monkeypatch.setenv(FOLDER, str(tmp_path / "trouble"))
    monkeypatch.setenv("EVERGREEN_CODE", str(ROOT))

    checks = look(tmp_path / "home")

    champions = {name.removeprefix("champion of "): check for name, check in checks.items() if name.startswith("champion")}
    assert [check.state for check in champions.values()] == ["broken"] * 3
    assert champions["abacus"].detail.endswith(": the process that loaded it died of SIGSEGV")
    assert champions["bead"].detail.endswith(": the process that loaded it ended with 0")
    assert "the service refuses it: 2 workers died on it; it loads here: the service tries it again" in champions["cube"].detail


def test_tables_of_a_newer_evergreen_are_broken_and_left_alone(trained_home: Path) -> None:
    with sqlite3.connect(trained_home / "evergreen.db") as connection:
        connection.execute("INSERT OR REPLACE INTO evergreen_schema VALUES ('journal', 99)")

    check = look(trained_home)["database"]

    assert (check.state, check.detail.startswith("the journal tables are at version 99")) == ("broken", True)


def test_training_rows_that_are_gone_are_told(trained_home: Path) -> None:
    for path in (trained_home / "rows").iterdir():
        path.unlink()

    assert look(trained_home)["rows of bikes"].state == "broken"


def test_a_disk_without_room_and_files_that_were_kept_are_told(trained_home: Path) -> None:
    (trained_home / "spool" / "0123456789-00.damaged").write_bytes(b"damage")

    checks = look(trained_home, EVERGREEN_DISK_RESERVE=str(1 << 59))

    assert checks["disk"].state == "broken"
    assert "predictions are refused until there is room" in checks["disk"].detail
    assert (checks["spool"].state, "1 files of 6 bytes" in checks["spool"].detail) == ("warning", True)


def test_a_model_whose_module_is_gone_is_named_and_the_other_checks_go_on(
    trained_home: Path, bikes_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "our_models_of_1998.py").write_text(
        "from sklearn.base import BaseEstimator, RegressorMixin\n"
        "class Ours(RegressorMixin, BaseEstimator):\n"
        "    def fit(self, X, y): return self\n"
        "    def predict(self, X): return X.to_numpy(dtype=float).sum(axis=1)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("EVERGREEN_CODE", str(folder))
    module = importlib.import_module("our_models_of_1998")
    spec = parse_spec("model: sums\nschema: {target: y, task: regression, features: {a: numeric}}")
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0] * 20, "y": [1.0, 2.0, 3.0] * 20})
    bench = Workbench({"EVERGREEN_HOME": str(trained_home)})
    made = wrap_imported(module.Ours().fit(table, None), spec, table, registry=bench.registry, home=bench.home, now=datetime.now(UTC))
    bench.registry.promote("sums", made.version, expected=None, cause=Cause("test", "the first"))
    bench.close()
    del sys.modules["our_models_of_1998"]
    (folder / "our_models_of_1998.py").unlink()

    checks = look(trained_home)

    assert checks["champion of sums"].state == "broken"
    assert "our_models_of_1998" in checks["champion of sums"].detail
    assert checks["champion of bikes"].state == "ok"
    assert checks["model time of sums"].state == "ok"


def test_model_time_in_the_future_is_told_with_the_way_back(trained_home: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=3650)
    set_clock(trained_home, future)
    detail = look(trained_home)["model time of bikes"].detail
    way_back = detail.split("evergreen ")[1].split()

    code = run(way_back, {"EVERGREEN_HOME": str(trained_home)})
    after = look(trained_home)["model time of bikes"]

    assert f"it is {future:%Y-%m-%d}" in detail
    assert way_back[:4] == ["resume", "--model", "bikes", "--set-clock"]
    assert (code, after.state) == (0, "ok")


def test_a_registered_model_file_that_a_later_rule_refuses_is_named_and_used(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    text = world.spec.text.replace("every: 7d, window: 14d", "every: 7d, window: 2d")
    world.stores.registry.put_model(parse_spec(text, stored=True), who="test", now=datetime.now(UTC))
    world.close()

    checks = look(tmp_path / "home")

    assert checks["model file of rain"].state == "warning"
    assert "watching.window: 2d is under a slot" in checks["model file of rain"].detail
    assert checks["model time of rain"].state == "ok"


@pytest.mark.parametrize("ahead", [timedelta(days=-400), timedelta(seconds=-1), timedelta(minutes=4)], ids=str)
def test_model_time_that_the_clock_has_reached_is_in_order(trained_home: Path, ahead: timedelta) -> None:
    set_clock(trained_home, datetime.now(UTC) + ahead)

    assert look(trained_home)["model time of bikes"].state == "ok"


def test_ordinal_times_have_no_future(tmp_path: Path, once: Once) -> None:
    world = make_world(tmp_path, once=once)
    world.stores.log.set_watermark("rain", to_us(datetime.now(UTC) + timedelta(days=3650)))
    world.close()

    assert look(tmp_path / "home")["model time of rain"].state == "ok"


def set_clock(home: Path, moment: datetime) -> None:
    bench = Workbench({"EVERGREEN_HOME": str(home)})
    bench.log.set_watermark("bikes", to_us(moment))
    bench.close()


def test_labels_that_mostly_came_to_nothing_are_told_with_what_to_do(tmp_path: Path, once: Once) -> None:
    world = make_world(tmp_path, once=once)
    rows = weather(1, 60, 4)
    world.log(rows)
    world.label(rows.between(60 * DAY_US, 61 * DAY_US))
    fine = look(world.stores.home.path)["labels of rain"]
    world.label(weather(2, 10, 2))
    lost = look(world.stores.home.path)["labels of rain"]
    world.close()

    assert fine == Check("labels of rain", "ok", "40 labels: 40 matched")
    assert lost.state == "warning"
    assert lost.detail.startswith("120 labels: 40 matched, 80 unknown; 80 of the 120 labels that came since 1970-02-19 ")
