"""The poisoning probe: 16 clients at once, 10 of 160 requests bad, and each of the other 150 answered as if it were alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.arena import Arena
from tests.end_to_end.brittle import BREAKS, SPEC, brittle_pipeline, rides
from tests.end_to_end.wire import Reply, request
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port
from training.artifacts.artifact import load_verified
from training.artifacts.signing import load_or_make_key

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("neighbours")]

CLIENTS, EACH = 16, 10
FEATURES = ["distance", "hour", "district"]
PATH = "/models/rides/predict"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """What is wrong with the row of a request, and what its answer must name."""

    kind: str
    row: int
    field: str
    code: str

    def spoil(self, row: Row) -> Row:
        return {
            "a wrong type": {**row, "hour": "noon"},
            "a missing field": {name: value for name, value in row.items() if name != "district"},
            "an unknown column": {**row, "weather": "fog"},
            "a row the pipeline raises on": {**row, "distance": BREAKS + 1},
        }[self.kind]


def bad_ones() -> list[Bad]:
    """Return ten of four kinds, at different places in their requests."""
    kinds = [
        ("a wrong type", "hour", "schema.type"),
        ("a missing field", "district", "schema.missing_field"),
        ("an unknown column", "weather", "schema.extra_field"),
        ("a row the pipeline raises on", "", "model.failed_rows"),
        ("a row the pipeline raises on", "", "model.failed_rows"),
    ]
    return [Bad(kind, place % 3, field, code) for place, (kind, field, code) in enumerate(kinds * 2)]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was sent, what was wrong with it, and what came back."""

    rows: list[Row]
    bad: Bad | None
    reply: Reply


@dataclass(frozen=True, slots=True)
class Probe:
    """A service under the probe, and what it answered."""

    arena: Arena
    exchanges: list[Exchange]

    @property
    def good(self) -> list[Exchange]:
        return [each for each in self.exchanges if each.bad is None]

    @property
    def bad(self) -> list[tuple[Bad, Reply]]:
        return [(each.bad, each.reply) for each in self.exchanges if each.bad is not None]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """Serve a pipeline of a user's own, and let all clients go at once."""
    with Arena(tmp_path_factory.mktemp("rides"), free_port(), [brittle_pipeline()], SPEC, rides()) as arena:
        arena.start()
        yield Probe(arena, converse(arena))


def converse(arena: Arena) -> list[Exchange]:
    rng = np.random.default_rng(5)
    rows = rides(3 * CLIENTS * EACH, seed=1)[FEATURES].to_dict("records")
    plan: list[Bad | None] = [*bad_ones(), *[None] * (CLIENTS * EACH - 10)]
    rng.shuffle(plan)  # type: ignore[arg-type]
    begin = threading.Barrier(CLIENTS)

    def talk(client: int) -> list[Exchange]:
        exchanges = []
        with arena.wire() as wire:
            begin.wait(PATIENCE_SECONDS)
            for number in range(client * EACH, (client + 1) * EACH):
                sent, bad = [dict(row) for row in rows[3 * number : 3 * number + 3]], plan[number]
                if bad is not None:
                    sent[bad.row] = bad.spoil(sent[bad.row])
                exchanges.append(Exchange(sent, bad, wire.ask(request(PATH, {"rows": sent}))))
        return exchanges

    with ThreadPoolExecutor(CLIENTS) as clients:
        return [each for exchanges in clients.map(talk, range(CLIENTS)) for each in exchanges]


def test_the_pipeline_is_served_as_it_is_and_measured_to_gain_by_batching(probe: Probe) -> None:
    [version] = (probe.arena.home.artifacts / "rides").iterdir()

    loaded = load_verified(version, probe.arena.home.cache, load_or_make_key(probe.arena.home.signing_key))

    assert loaded.compiled is None
    assert loaded.cost is not None
    assert (loaded.cost.is_expensive, loaded.cost.is_shared_with_gain) == (True, True)


def test_every_good_request_is_answered(probe: Probe) -> None:
    statuses = [exchange.reply.status for exchange in probe.good]

    assert statuses == [200] * 150


def test_every_good_answer_is_that_of_scikit_learn_for_its_own_rows(probe: Probe) -> None:
    answered = [[row["probabilities"]["yes"] for row in exchange.reply.json["predictions"]] for exchange in probe.good]

    pipeline = brittle_pipeline()
    wanted = [pipeline.predict_proba(pd.DataFrame(exchange.rows)[FEATURES])[:, 1].tolist() for exchange in probe.good]
    np.testing.assert_allclose(answered, wanted, rtol=0, atol=1e-12)


def test_every_bad_request_is_refused_by_row_and_field(probe: Probe) -> None:
    answered = [
        (reply.status, reply.json["code"], reply.json["fields"][0]["row"], reply.json["fields"][0]["field"]) for _, reply in probe.bad
    ]

    assert answered == [(422, bad.code, bad.row, bad.field) for bad, _ in probe.bad]
    assert len(answered) == 10


def test_what_the_pipeline_said_stays_in_the_log(probe: Probe) -> None:
    answers = [reply.body for bad, reply in probe.bad if bad.code == "model.failed_rows"]

    assert [b"nobody rides" in answer for answer in answers] == [False] * 4
    assert "so far nobody rides" in Path(probe.arena.log).read_text()
