"""A year of the example over HTTP, of five seeds: what must be learned is, and what is bad comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from monitoring.admin.manual_actions import promote
from monitoring.admin.workbench import Workbench
from monitoring.backtest.judged_slots import JudgedSlot
from monitoring.journal.tables import RETRAIN
from monitoring.local.replay import replay
from monitoring.retraining.plan import Plan
from monitoring.retraining.training_process import read_training_rows
from monitoring.stores import open_stores
from tests.end_to_end.system import QUICK_SEEDS, Example, Launch, Year, seeds
from training.artifacts.manifest import generation_of
from training.clock import to_us
from training.dataset.dataset import read_table
from training.evaluation.gate import Difference, jackknife_difference
from training.evaluation.losses import METRICS
from training.model_file.model_spec import ModelSpec
from training.run import train
from training.schema.rows import Rows

pytestmark = pytest.mark.slow  # a year is minutes; what it is made of has tests of its own
Times = npt.NDArray[np.int64]

FULL_RETRAIN = datetime(2024, 11, 5, tzinfo=UTC)
FORCED_PROMOTION = datetime(2024, 11, 19, tzinfo=UTC)


@pytest.fixture(scope="module", params=seeds("year"))
def year(request: pytest.FixtureRequest, launch: Launch, example: Example, stream: ModuleType) -> Year:
    """Replay a year with all its events, and with two things a person does on the way."""
    folder = example(request.param, True, request.param not in QUICK_SEEDS)
    system = launch(folder / "model.yaml")
    bench, spec = system.bench, system.spec
    forced = train_upside_down(bench, spec)
    moments = {
        FULL_RETRAIN: lambda: ask_to_retrain(bench, spec),
        FORCED_PROMOTION: lambda: promote(bench, spec.model, forced, "a bad idea", force=True),
    }

    def on_slot(slot: JudgedSlot) -> None:
        for moment in [m for m in moments if to_us(m) <= slot.slot_us]:
            moments.pop(moment)()

    rows = read_table(folder / "live.csv.gz", spec.schema)
    replayed = replay(rows, spec, system.url, database=bench.database, on_slot=on_slot)
    return Year(system, replayed, system.scored_by(system.first, rows), forced, stream)


def test_every_row_is_answered_and_logged_once(year: Year) -> None:
    size = year.system.bench.log.size(year.system.spec.model)

    assert size.rows == len(year.replayed.rows) == len(set(year.replayed.ids))


def test_after_the_fare_change_the_watched_model_beats_the_never_retrained_one(year: Year) -> None:
    gained = gain_between(year, year.stream.FARE_CHANGE.first, FORCED_PROMOTION)

    assert gained.low > 0, gained


def test_the_outage_is_quarantined(year: Year) -> None:
    outage = year.stream.OUTAGE

    held = year.system.bench.journal.quarantines(year.system.spec.model)

    assert any(q.start_us <= to_us(outage.first) and q.end_us >= to_us(outage.last) for q in held), held


def test_nothing_but_the_outage_is_quarantined(year: Year) -> None:
    outage, guard_band = year.stream.OUTAGE, timedelta(days=2)

    held = year.system.bench.journal.quarantines(year.system.spec.model)

    assert all(q.start_us >= to_us(outage.first - guard_band) and q.end_us <= to_us(outage.last + guard_band) for q in held), held


def test_nothing_learns_from_the_outage(year: Year) -> None:
    learned = [times for times in times_learned(year) if len(times) and times.max() > to_us(year.stream.OUTAGE.last)]

    assert learned
    assert sum(inside(times, year.stream.OUTAGE) for times in learned) == 0


def test_a_forced_bad_promotion_gives_way_to_the_version_before_it_or_to_one_that_beats_both(year: Year) -> None:
    lines = list(reversed(year.system.bench.registry.ledger(year.system.spec.model, None)))
    moves = [line for line in lines if line.action in ("promote", "rollback")]
    place = next(number for number, line in enumerate(moves) if line.action == "promote" and line.version == year.forced)

    after, slots = moves[place + 1], year.system.bench.journal.verdicts(year.system.spec.model, None)
    assert generation_of(after.previous) == year.forced
    if after.action == "promote":
        assert after.evidence["before"]["version"] == moves[place].previous
        assert after.evidence["before"]["gain_low"] > after.evidence["before"]["minimum_gain"]
    assert len([one for one in slots if generation_of(one.evidence["champion"]) == year.forced]) <= 2


def gain_between(year: Year, start: datetime, end: datetime) -> Difference:
    """Return by how much the watched model was better than the first version in a range, with a 95 % lower bound."""
    times = year.replayed.rows.time_us
    meant = (times >= to_us(start)) & (times < to_us(end))
    rows = year.replayed.rows.take(np.flatnonzero(meant))
    watched = year.replayed.prediction.aligned(year.static.classes or ()).take(meant)
    return jackknife_difference(METRICS["log_loss"], rows.labels, year.static.take(meant), watched, level=0.05)


def train_upside_down(bench: Workbench, spec: ModelSpec) -> str:
    """Register a version that learned the opposite of the labels."""
    assert spec.data is not None
    rows = read_table(spec.data, spec.schema)
    flipped = np.where(rows.labels == "true", "false", "true").astype(object)
    upside_down = Rows(rows.columns, flipped, rows.time_us)
    champion = bench.registry.alias(spec.model, "champion")
    result = train(upside_down, spec, home=bench.home, registry=bench.registry, parent=champion.version, now=bench.now(), who="test")
    return result.version


def ask_to_retrain(bench: Workbench, spec: ModelSpec) -> None:
    """Store the model file, as `evergreen up` does, and ask the loop to retrain."""
    bench.registry.put_model(spec, who="test", now=bench.now())
    bench.journal.add_request(spec.model, "retrain", who="test", machine_now=bench.now())


def times_learned(year: Year) -> list[Times]:
    """Return the times of the rows that each training of the loop learned from."""
    bench, spec = year.system.bench, year.system.spec
    stores = open_stores(bench.home, bench.database.url)
    try:
        plans = [Plan.from_dict(run.payload) for run in bench.journal.runs(spec.model, RETRAIN, limit=None)]
        return [read_training_rows(stores, spec, plan).time_us for plan in plans]
    finally:
        stores.close()


def inside(times: Times, event: Any) -> int:
    """Return how many of some times fall into an event."""
    return int(((times >= to_us(event.first)) & (times < to_us(event.last))).sum())
