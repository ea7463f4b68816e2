"""The doctor says what is broken, and only that."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from monitoring.doctor import Check, examine
from monitoring.workbench import Workbench


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
    assert checks["disk"].state in {"ok", "warning"}


@pytest.mark.parametrize("variable", ["EVERGREEN_BIND", "EVERGREEN_MONITOR_BIND"])
def test_a_port_in_use_is_told(trained_home: Path, variable: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        bind = f"127.0.0.1:{holder.getsockname()[1]}"

        checks = look(trained_home, **{variable: bind})

    assert [check.state for name, check in checks.items() if name.startswith("port")].count("warning") == 1
