"""Keys: made once, kept as hashes, taken away by name."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from monitoring.admin.api_keys import add_key, list_keys, revoke
from monitoring.errors import ApiKeyError
from service.errors import ForbiddenError, UnauthenticatedError
from service.web.api_keys import ApiKeys, load_keys
from service.web.rate_limits import Rate


def test_a_made_key_opens_what_its_scopes_say_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"

    text = add_key(path, "shop", ["predict"], ["bikes"])

    api_keys = ApiKeys(load_keys(path))
    assert api_keys.check("predict.predict", "bikes", text) == "shop"
    with pytest.raises(ForbiddenError):
        api_keys.check("labels.label", "bikes", text)
    with pytest.raises(ForbiddenError):
        api_keys.check("predict.predict", "trams", text)


def test_the_file_holds_no_key_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"

    text = add_key(path, "shop", ["predict"])

    assert text not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list_keys(path) == [{"name": "shop", "scopes": ["predict"], "models": ["*"]}]


def test_a_revoked_key_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    text = add_key(path, "shop", ["predict"])
    add_key(path, "desk", ["read"])

    revoke(path, "shop")

    with pytest.raises(UnauthenticatedError):
        ApiKeys(load_keys(path)).check("predict.predict", "bikes", text)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    add_key(path, "shop", ["predict"])

    with pytest.raises(ApiKeyError, match="already"):
        add_key(path, "shop", ["label"])


def test_the_last_key_stays_because_none_would_open_everything(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    add_key(path, "shop", ["predict"])

    with pytest.raises(ApiKeyError, match="last key"):
        revoke(path, "shop")


def test_an_unknown_key_cannot_be_revoked(tmp_path: Path) -> None:
    with pytest.raises(ApiKeyError, match="no key 'shop'"):
        revoke(tmp_path / "api_keys.json", "shop")


def test_a_rate_is_kept_with_its_key_when_another_is_added(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    add_key(path, "shop", ["predict"], rate=5, burst=7)

    add_key(path, "desk", ["read"])

    assert load_keys(path)[0].rate == Rate(5, 7)
    assert list_keys(path) == [
        {"name": "shop", "scopes": ["predict"], "models": ["*"], "rate": 5.0, "burst": 7},
        {"name": "desk", "scopes": ["read"], "models": ["*"]},
    ]


@pytest.mark.parametrize(("rate", "burst"), [(0, None), (float("nan"), None), (1, 0), (None, 3)])
def test_a_rate_that_is_none_is_refused_and_no_key_made(tmp_path: Path, rate: float | None, burst: int | None) -> None:
    path = tmp_path / "api_keys.json"

    with pytest.raises(ApiKeyError, match=r"rate|burst"):
        add_key(path, "shop", ["predict"], rate=rate, burst=burst)

    assert not path.exists()
