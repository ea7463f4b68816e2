"""Keys that were good last stay in force for workers that start while the key file is damaged or gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.web.api_keys import Key
from service.web.last_keys import forget_keys, load_or_last
from service.web.rate_limits import Rate

KEYS = [
    Key("shop", "a" * 64, frozenset({"predict", "label"}), frozenset({"bikes"}), Rate(2.5, 7)),
    Key("ops", "b" * 64, frozenset({"read"}), frozenset({"*"})),
]
CONTENT = json.dumps(
    {
        "keys": [
            {"id": "shop", "sha256": "a" * 64, "scopes": ["predict", "label"], "models": ["bikes"], "rate": 2.5, "burst": 7},
            {"id": "ops", "sha256": "b" * 64, "scopes": ["read"]},
        ]
    }
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "api_keys.json"
    path.write_text(CONTENT)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kept"
    made.mkdir()
    return made


@pytest.mark.parametrize("content", ['{"keys": [', "", "{}", '{"keys": []}', CONTENT[:-1], "\x00" * 100, "[" * 100_000])
def test_a_damaged_file_leaves_the_last_good_keys_in_force(file: Path, folder: Path, content: str) -> None:
    load_or_last(file, folder)

    file.write_text(content)

    assert load_or_last(file, folder) == KEYS


def test_a_file_that_goes_away_takes_no_keys_along(file: Path, folder: Path) -> None:
    load_or_last(file, folder)
    file.unlink()

    assert (load_or_last(file, folder), load_or_last(None, folder)) == (KEYS, KEYS)


def test_a_new_good_file_replaces_what_was_kept(file: Path, folder: Path) -> None:
    load_or_last(file, folder)
    file.write_text(json.dumps({"keys": [{"id": "ops", "sha256": "b" * 64, "scopes": ["read"]}]}))
    load_or_last(file, folder)
    file.write_text("{")

    assert load_or_last(file, folder) == KEYS[1:]


def test_what_is_kept_is_private_and_has_no_more_than_hashes(file: Path, folder: Path) -> None:
    load_or_last(file, folder)

    [kept] = folder.iterdir()

    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text())["keys"][1] == {"id": "ops", "sha256": "b" * 64, "scopes": ["read"], "models": ["*"]}


@pytest.mark.parametrize("damage", [lambda kept: forget_keys(kept.parent), lambda kept: kept.write_text("{")], ids=["forgotten", "damaged"])
def test_without_kept_keys_a_damaged_file_is_refused(file: Path, folder: Path, damage: object) -> None:
    load_or_last(file, folder)
    file.write_text("{")
    [kept] = folder.iterdir()
    damage(kept)  # type: ignore[operator]

    with pytest.raises(SettingsError, match="is wrong"):
        load_or_last(file, folder)


def test_outside_of_gunicorn_nothing_is_kept(file: Path) -> None:
    load_or_last(file, None)
    file.write_text("{")

    with pytest.raises(SettingsError, match="is wrong"):
        load_or_last(file, None)


def test_a_disk_that_refuses_costs_only_what_is_kept(file: Path, tmp_path: Path) -> None:
    assert load_or_last(file, tmp_path / "nowhere") == KEYS
    assert load_or_last(None, tmp_path / "nowhere") is None
