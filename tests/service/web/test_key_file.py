"""The key file is followed: what it says holds within two seconds, in every worker, and what is wrong in it changes nothing."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring.admin.api_keys import add_key, revoke
from service.errors import UnauthenticatedError
from service.web.api_keys import load_keys
from service.web.key_file import LOOK_SECONDS, KeyFile
from service.web.last_keys import KEPT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api_keys.json"


@pytest.fixture
def shop(path: Path) -> str:
    """A key for predictions, beside another one."""
    add_key(path, "other", ["read"])
    return add_key(path, "shop", ["predict"])


@pytest.fixture
def key_file(path: Path, shop: str, tmp_path: Path) -> KeyFile:
    """The file as a worker has read it at its start."""
    followed = KeyFile(path, load_keys(path), tmp_path)
    followed.look()
    return followed


def passes(key_file: KeyFile, text: str) -> bool:
    """Whether a key may predict."""
    try:
        return key_file.api_keys.check("predict.predict", "bikes", text) == "shop"
    except UnauthenticatedError:
        return False


def test_it_is_looked_at_often_enough() -> None:
    assert LOOK_SECONDS <= 1


def test_a_revoked_key_is_refused(key_file: KeyFile, path: Path, shop: str) -> None:
    before = passes(key_file, shop)

    revoke(path, "shop")
    key_file.look()

    assert (before, passes(key_file, shop)) == (True, False)


def test_a_new_key_is_known_and_its_rate_holds(key_file: KeyFile, path: Path) -> None:
    new = add_key(path, "new", ["predict"], rate=0.001, burst=1)

    key_file.look()

    assert key_file.api_keys.check("predict.predict", "bikes", new) == "new"
    with pytest.raises(Exception, match="asked too often"):
        key_file.api_keys.check("predict.predict", "bikes", new)


def test_what_a_key_has_used_stays_used_when_the_file_changes(path: Path, tmp_path: Path) -> None:
    slow = add_key(path, "slow", ["predict"], rate=0.001, burst=1)
    key_file = KeyFile(path, load_keys(path), tmp_path)
    key_file.api_keys.check("predict.predict", "bikes", slow)

    add_key(path, "new", ["predict"], rate=5)
    key_file.look()

    with pytest.raises(Exception, match="asked too often"):
        key_file.api_keys.check("predict.predict", "bikes", slow)


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": [', b'{"keys": []}', b"\xff\xfe", None], ids=str)
def test_a_file_that_is_no_key_file_leaves_the_last_good_keys_with_one_line(
    key_file: KeyFile, path: Path, shop: str, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path.unlink() if content is None else path.write_bytes(content)

    with caplog.at_level(logging.INFO):
        [key_file.look() for _ in range(3)]

    assert passes(key_file, shop)
    assert len(caplog.records) == 1
    assert "api_keys.json" in caplog.text


def test_after_a_wrong_file_a_good_one_is_taken_again(key_file: KeyFile, path: Path, shop: str) -> None:
    good = path.read_text()
    path.write_text(good[:40])
    key_file.look()

    path.write_text(json.dumps({"keys": json.loads(good)["keys"][:1]}))
    key_file.look()

    assert not passes(key_file, shop)


def test_a_file_that_appears_ends_the_time_without_keys(path: Path, tmp_path: Path) -> None:
    key_file = KeyFile(path, None, tmp_path)
    key_file.look()
    before = key_file.api_keys.exist

    add_key(path, "shop", ["predict"])
    key_file.look()

    assert (before, key_file.api_keys.exist) == (False, True)


def test_a_revoked_key_is_refused_by_every_worker_while_they_run(
    place: Any, serve: Any, ride: dict[str, Any], until: Callable[..., Any]
) -> None:
    text = add_key(place.home.api_keys, "shop", ["predict"])
    add_key(place.home.api_keys, "other", ["predict"])
    each_anew = httpx.Limits(max_keepalive_connections=0)
    headers = {"X-API-Key": text}

    with serve(place, WORKERS="3") as running, httpx.Client(base_url=running.client.base_url, limits=each_anew, headers=headers) as client:

        def answered() -> set[int]:
            return {client.post("/models/bikes/predict", json={"rows": [ride]}).status_code for _ in range(12)}

        before = answered()
        revoke(place.home.api_keys, "shop")
        until(lambda: running.log.read_text().count("gone ['shop']") == 3)
        revoked = answered()
        path = place.home.api_keys
        path.write_text(path.read_text()[:50])
        until(lambda: running.log.read_text().count("what held before it stays") == 3)
        after = answered()
        # a new worker of a service that began with a key file comes up with keys or not at all
        path.unlink()
        (place.settings(port=client.base_url.port).metrics_home / KEPT).unlink()
        os.kill(next(line["pid"] for line in map(json.loads, running.log.read_text().splitlines()) if "gone ['shop']" in line["msg"]), 9)
        until(lambda: "another tries in" in running.log.read_text())
        client.headers.pop("X-API-Key")
        without = answered()

    assert (before, revoked, after, without) == ({200}, {401}, {401}, {401})
