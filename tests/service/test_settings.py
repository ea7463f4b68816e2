"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import SettingsError
from service.settings import VARIABLES, from_environment

DOCUMENT = Path(__file__).parents[2] / "docs" / "service.md"


def test_every_setting_has_a_sane_default() -> None:
    settings = from_environment({"EVERGREEN_HOME": "/srv/evergreen"})

    assert (settings.bind, settings.workers, settings.max_rows) == ("127.0.0.1:8000", 2, 100_000)
    assert settings.is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "[::]", "evergreen.example"])
def test_addresses_of_the_network_are_told_from_loopback(host: str) -> None:
    assert not from_environment({"EVERGREEN_BIND": f"{host}:8000"}).is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"])
def test_loopback_is_known_in_every_spelling(host: str) -> None:
    assert from_environment({"EVERGREEN_BIND": f"{host}:8000"}).is_loopback


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BIND", "8000"),
        ("BIND", "localhost:http"),
        ("BIND", "localhost:²"),
        ("WORKERS", "0"),
        ("MAX_ROWS", "many"),
        ("MAX_ROWS", "99999999"),
        ("ALIAS_POLL_SECONDS", "nan"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"EVERGREEN_{name}"):
        from_environment({f"EVERGREEN_{name}": value})


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_every_setting_stands_in_the_documentation(variable: object) -> None:
    row = f"| `EVERGREEN_{variable.name}` | `{variable.default}` | {variable.meaning} |"  # type: ignore[attr-defined]

    assert row in DOCUMENT.read_text()
