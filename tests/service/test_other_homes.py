"""A service that cannot reach what its registry names, or whose tables a newer Evergreen made, is not ready and says why."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app, service_of
from service.prediction_log.tables import prepare
from tests.databases import dump, migrate_further
from tests.service.conftest import Place
from training.errors import SigningKeyError
from training.settings import Home
from training.storage.database import open_database

Serve = Callable[[Place], FlaskClient]


@pytest.fixture
def serve_in() -> Iterator[Serve]:
    """Return a function that starts the service over a place, without gunicorn."""
    with ExitStack() as stack:

        def start(place: Place) -> FlaskClient:
            app = create_app(place.settings(alias_poll_seconds=3600))
            stack.callback(service_of(app).stop)
            service_of(app).start()
            return app.test_client()

        yield start


@pytest.mark.parametrize("component", ["registry", "log"])
def test_tables_of_a_newer_evergreen_are_left_alone_and_told(
    place_on: Callable[[str], Place], database_url: str, serve_in: Serve, ride: dict[str, Any], component: str
) -> None:
    place = place_on(database_url)
    with closing(open_database(database_url)) as database:
        prepare(database)  # a home has tables of a log too, which a service makes where there are none
    migrate_further(database_url, component)
    before = dump(database_url)

    client = serve_in(place)
    ready = client.get("/readyz")
    predicted = client.post("/models/bikes/predict", json={"rows": [ride]})
    labelled = client.post("/models/bikes/labels", json={"labels": [{"own_id": "1", "label": True}]})

    assert (ready.status_code, ready.json["models"]) == (503, {})
    assert ready.json["reason"].startswith(f"the {component} tables are at version 99, this Evergreen knows them up to version ")
    assert [(each.status_code, each.json["code"]) for each in (predicted, labelled)] == [(503, "model.not_ready")] * 2
    assert dump(database_url) == before


def test_a_champion_that_is_in_another_home_only_makes_the_service_not_ready(
    place: Place, serve_in: Serve, ride: dict[str, Any], tmp_path: Path
) -> None:
    other = replace(place, home=Home(tmp_path / "other").ensure())
    shutil.copytree(place.home.keys, other.home.keys, dirs_exist_ok=True)
    shutil.copytree(place.home.artifacts, other.home.artifacts, dirs_exist_ok=True)
    shutil.rmtree(other.home.artifacts / "bikes" / place.bikes[1].version)
    here, there = serve_in(place), serve_in(other)

    place.promote(1, 0)
    for client in (here, there):
        client.post("/v2/repository/models/bikes/load")
    answers = [client.post("/models/bikes/predict", json={"rows": [ride]}).json["version"] for client in (here, there)]
    ready = [client.get("/readyz") for client in (here, there)]
    place.promote(0, 1)
    there.post("/v2/repository/models/bikes/load")

    assert answers == [place.bikes[0 if client is there else 1].version for client in (here, there)]
    assert [each.status_code for each in ready] == [200, 503]
    assert (
        f"bikes: champion {place.bikes[1].version} was refused: the registry names it, and it is not in this home"
        in ready[1].json["reason"]
    )
    assert there.get("/readyz").status_code == 200


def replace_key(home: Home) -> None:
    """Give a home a key of its own."""
    home.signing_key.write_text(secrets.token_hex(32) + "\n")


def test_a_champion_signed_with_the_key_of_another_home_makes_the_service_not_ready(place: Place, serve_in: Serve, tmp_path: Path) -> None:
    other = replace(place, home=Home(tmp_path / "other").ensure())
    shutil.copytree(place.home.path, other.home.path, dirs_exist_ok=True)
    replace_key(other.home)

    here, there = serve_in(place).get("/readyz"), serve_in(other).get("/readyz")

    assert (here.status_code, there.status_code) == (200, 503)
    assert f"was signed with another key than {other.home.signing_key}" in there.json["reason"]


def test_a_signature_that_was_changed_is_no_other_home(place: Place, serve_in: Serve) -> None:
    client = serve_in(place)
    signature = place.bikes_path(1) / "signature"
    signature.unlink()
    signature.write_text("0" * 64 + "\n")

    place.promote(1, 0)
    client.post("/v2/repository/models/bikes/load")
    ready = client.get("/readyz")

    assert (ready.status_code, ready.json["models"]["bikes"]) == (200, place.bikes[0].version)
    assert "signed with another key, or changed after it was signed" in ready.json["reason"]


def test_a_home_whose_signing_key_is_gone_gets_no_new_one(place: Place, serve_in: Serve) -> None:
    place.home.signing_key.unlink()

    with pytest.raises(SigningKeyError, match="there is no signing key"):
        serve_in(place)

    assert not place.home.signing_key.exists()


def test_an_empty_home_on_the_database_of_another_gets_no_key_either(place: Place, serve_in: Serve, tmp_path: Path) -> None:
    empty = replace(place, home=Home(tmp_path / "empty"))

    with pytest.raises(SigningKeyError, match="use the home in which they were trained"):
        serve_in(empty)

    assert not empty.home.signing_key.exists()
