"""A champion changes under load: nothing fails, every answer is of the version it names, and the old one leaves after its last request.

How long requests wait meanwhile is measured by `python -m benchmarks.swap`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from monitoring.local.client import Client
from tests.end_to_end.arena import PREDICT, Arena, compiled, fare_table
from tests.end_to_end.load import Load, Sent
from tests.end_to_end.puppet import HOLD, Puppet, noted
from tests.end_to_end.wire import request
from tests.patience import PATIENCE_SECONDS

ROWS = [{"distance": float(distance), "hour": float(n % 24)} for n, distance in enumerate(np.linspace(0.5, 9.5, 50))]
REQUESTS = [request(PREDICT, {"rows": [row]}) for row in ROWS]


def plain(factor: float) -> Any:
    """Return a fitted estimator whose answers are `factor` times the fares."""
    table = fare_table()
    return LinearRegression().fit(table[["distance", "hour"]], table["fare"] * factor)


def is_everywhere(served: Arena, version: str) -> bool:
    """Return whether both workers answer with a version."""
    answering = served.answering()
    return len(answering) == 2 and set(answering.values()) == {version}


def value_of(each: Sent) -> Any:
    return each.content["predictions"][0]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("fitted", [compiled, plain])
def test_champions_change_under_500_requests_a_second_without_a_failed_or_mixed_up_answer(
    arena: Callable[..., Arena], fitted: Callable[[float], Any]
) -> None:
    served = arena(fitted(1.0), fitted(-2.0)).start(ALIAS_POLL_SECONDS="0.2")
    values = {version: served.predicted_by(version, ROWS) for version in served.versions}

    with Load(served.port, REQUESTS, per_second=500, lifetime=100) as load:
        load.wait_for(500)
        for place in (1, 0, 1):
            version = served.promote(place)
            served.until(lambda version=version: is_everywhere(served, version))  # type: ignore[misc]
            load.wait_for(250)

    assert load.failures() == []
    assert {each.content["version"] for each in load.sent} == set(served.versions)
    expected = [values[each.content["version"]][each.number % len(ROWS)] for each in load.sent]
    assert [value_of(each) for each in load.sent] == pytest.approx(expected, rel=1e-9)
    assert sorted(each.number for each in load.sent) == list(range(len(load.sent)))


def test_a_move_counts_as_followed_once_the_last_worker_answers_in_it(puppets: Arena, strings: Path) -> None:
    served = puppets.start(ALIAS_POLL_SECONDS="0.1")
    (strings / "hold").touch()

    with closing(Client(f"http://127.0.0.1:{served.port}")) as client:
        new = served.promote(1)
        served.until(lambda: set(served.answering().values()) == set(served.versions))
        while_one_is_held = client.followed_move(served.model)
        (strings / "go").touch()
        served.until(lambda: client.followed_move(served.model) == 2)

    assert while_one_is_held == 1
    assert is_everywhere(served, new)


def test_a_champion_that_fails_its_golden_rows_is_refused_and_the_old_one_goes_on(puppets: Arena, strings: Path) -> None:
    served = puppets.start(ALIAS_POLL_SECONDS="0.1")
    (strings / "lie").touch()

    with Load(served.port, REQUESTS, per_second=200) as load:
        refused = served.promote(1)
        served.until(lambda: served.log.read_text().count(f"champion {refused} was refused") >= 2)
        load.wait_for(100)
        with served.wire() as wire:
            ready = wire.ask(request("/readyz"))

    assert load.failures() == []
    assert {each.content["version"] for each in load.sent} == {served.versions[0]}
    assert (ready.status, ready.json["degraded"], ready.json["models"]) == (200, True, {"fares": served.versions[0]})
    assert f"champion {refused} was refused: golden row 0" in ready.json["reason"]


def test_the_old_model_leaves_after_its_last_request_and_not_before(arena: Callable[..., Arena], strings: Path) -> None:
    served = arena(Puppet(), compiled(1.0)).start(ALIAS_POLL_SECONDS="0.1")
    answers: list[Any] = []
    held = threading.Thread(target=lambda: answers.append(served.predict({"distance": HOLD, "hour": 1.0})))

    with Load(served.port, REQUESTS, per_second=100, lifetime=20) as load:
        held.start()
        [holder] = served.until(lambda: noted(strings, "entered"))
        [other] = served.workers() - {holder}
        new = served.promote(1)
        served.until(lambda: is_everywhere(served, new))
        served.until(lambda: other in noted(strings, "left.0"))
        left_while_held = noted(strings, "left.0")
        (strings / "go").touch()
        held.join(PATIENCE_SECONDS)
        served.until(lambda: holder in noted(strings, "left.0"))

    assert load.failures() == []
    assert holder not in left_while_held
    assert [answer["version"] for answer in answers] == [served.versions[0]]
    assert answers[0]["predictions"][0]["value"] == HOLD
