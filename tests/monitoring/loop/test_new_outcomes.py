"""Labelled rows are counted once, at the slot at which they became known, whatever happens to the monitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from monitoring.journal import tables
from monitoring.judging.performance.outcome_sums import OutcomeSums, add_up, count_outcomes
from tests.conftest import Once
from tests.monitoring.world import DAY_US, MAPPED, World, make_world, weather
from training.artifacts.manifest import generation_of
from training.schema.rows import Rows

BY_PLACE = MAPPED.replace("bucket: 1d}", "bucket: 1d, segments: [place]}").replace(
    "cool_down: 14d", "cool_down: 14d\n  on_performance: false"
)
Make = Callable[..., World]
Totals = dict[tuple[int, str, str], OutcomeSums]


def of_journal(world: World) -> Totals:
    """Return what the journal counted, by bucket, generation and segment."""
    stored = world.stores.journal.outcomes
    parts: dict[tuple[int, str, str], list[OutcomeSums]] = {}
    for segment in stored.segments("rain"):
        for one in stored.find("rain", 0, 1000 * DAY_US, segment):
            parts.setdefault((one.bucket_us, one.version, segment), []).append(one.sums)
    return {key: add_up(some) for key, some in parts.items()}


def of_rows(world: World, slot_us: int) -> Totals:
    """Return the same from the labelled rows of the log, read at once."""
    logged = world.stores.windows(world.spec).labelled(0, slot_us, slot_us - 1)
    edges = world.stores.journal.outcomes.edges("rain")
    assert edges is not None
    segment = world.stores.load("rain", world.champion).reference.measures.segments[0]
    places = segment.places(logged.rows.columns["place"])
    whole: Totals = {}
    generation = np.array([generation_of(version) for version in logged.version.tolist()], dtype=object)
    for version in set(generation.tolist()):
        for key, of_key in [("", np.ones(len(logged), dtype=bool)), *((name, places == at) for at, name in enumerate(segment.keys))]:
            chosen = np.flatnonzero((generation == version) & of_key)
            starts, group = np.unique(logged.rows.time_us[chosen] // DAY_US * DAY_US, return_inverse=True)
            sums = count_outcomes(group, logged.rows.labels[chosen], logged.prediction.take(chosen), edges, is_binary=True)
            whole |= {(start, version, key): one for start, one in zip(starts.tolist(), sums, strict=True)}
    return whole


def of_slots(world: World, day: int) -> set[int]:
    """Return the slots at which labels of a day became known."""
    columns = tables.outcomes.c.known_slot_us, tables.outcomes.c.bucket_us
    with world.stores.database.read() as connection:
        return {slot_us // DAY_US for slot_us, bucket_us in connection.execute(sa.select(*columns)) if bucket_us == day * DAY_US}


def counts(totals: Totals) -> dict[Any, Any]:
    """Return what is counted of each key."""
    hits = {key: {at: (bin_.n, bin_.hits) for at, bin_ in one.confidence.items()} for key, one in totals.items()}
    return {key: (one.n, one.classes, one.confusion, one.scores, hits[key]) for key, one in totals.items()}


def losses(totals: Totals) -> list[float]:
    """Return the summed losses of all keys in order: what is added up in another order differs in the last bits."""
    return [number for _, one in sorted(totals.items()) for _, sums in sorted(one.losses.items()) for number in sums]


def replay(world: World, rows: Rows, days: range, *, rest: range = range(0), new_monitor_on: tuple[int, ...] = ()) -> None:
    """Log days; labels come one day later, of every third row nine days later; a monitor rests on some, another takes over on some."""
    watch = world.monitor()
    late = np.where(np.arange(len(rows)) % 3 == 0, 9, 1)
    for day in days:
        world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
        for delay in (1, 9):
            on_day = (rows.time_us >= (day - delay) * DAY_US) & (rows.time_us < (day - delay + 1) * DAY_US)
            world.label(rows.take((late == delay) & on_day))
        if day in new_monitor_on:
            watch.leadership.step_down()
            world.stores.label_counts.clear()
            watch = world.monitor(f"another on {day}")
        if day not in rest:
            world.settle(watch)
    world.settle(watch)


@pytest.fixture(params=["sqlite", "postgresql"])
def by_place(request: pytest.FixtureRequest, tmp_path: Path, once: Once) -> Iterator[World]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    with closing(make_world(tmp_path, BY_PLACE, database_url=url, once=once)) as made:
        yield made


def test_what_the_slots_counted_is_what_the_log_holds(by_place: World) -> None:
    rows = weather(1, 60, 26)

    replay(by_place, rows, range(60, 86))

    counted, whole = of_journal(by_place), of_rows(by_place, 84 * DAY_US)
    assert by_place.stores.journal.carry("rain").counted_us == 84 * DAY_US
    assert of_slots(by_place, 66) == {70, 77}
    assert counts(counted) == counts(whole)
    assert losses(counted) == pytest.approx(losses(whole), abs=1e-9)
    assert {segment for _, _, segment in counted} == {"", "place=hill", "place=lake", "place=town"}


def test_it_does_not_matter_who_looked_nor_when(make: Make) -> None:
    rows, results = weather(1, 60, 26), []
    for rest, others in ((range(66, 80), ()), (range(0), (64, 72, 78))):
        world = make(model_file=BY_PLACE.replace("map: true", "map: false"))
        replay(world, rows, range(60, 86), rest=rest, new_monitor_on=others)
        results.append(counts(of_journal(world)))
        world.close()

    assert results[0] == results[1] != {}


def test_a_slot_that_failed_for_good_is_made_up_for_by_the_next(make: Make) -> None:
    rows, world = weather(1, 60, 26), make(model_file=BY_PLACE)
    replay(world, rows, range(60, 72))
    before = of_journal(world)
    watch = world.monitors[-1]
    world.answer(rows.between(72 * DAY_US, 79 * DAY_US))
    world.fail_slot(watch, 8)
    failed = world.stores.journal.runs("rain", "tick", limit=1)[0]

    world.answer(rows.between(79 * DAY_US, 86 * DAY_US))
    world.settle(watch)

    assert failed.state == "failed"
    assert of_journal(world).keys() > before.keys()
    assert counts(of_journal(world)) == counts(of_rows(world, world.stores.journal.carry("rain").counted_us))
