"""Labels that come by themselves are few and lie; drawn ones are bought: the loop sees by them, and learns and promotes by them alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest

from monitoring.judging.label_delays import DRAWN, DelayBins
from monitoring.judging.performance.scores import CHALLENGER_LIVE
from monitoring.log_windows import Range
from monitoring.loop.label_counts import read_cohorts
from service.label_requests.drawing import LabelRequests, Wanted
from service.label_requests.written import rule_of
from tests.monitoring.world import A_DAY, DAY_US, MODEL_FILE, World, weather
from training.schema.rows import Rows

FIRST, LAST, EARLY, DRAWN_A_WEEK = 60, 98, 1, 120
LEARNS = MODEL_FILE.replace("budget: 2 fits", "budget: 2 fits, window: 30d").replace(
    "cool_down: 14d\n  budget_per_week: 3\n  gate: {rows: 200, min_train_rows: 100}",
    "cool_down: 7d\n  budget_per_week: 30\n  min_new_labels: 20\n  on_performance: false\n  gate: {rows: 100, min_train_rows: 50}",
)
Make = Callable[..., World]


class Buyer:
    """Draws of each week that is over, and labels what it drew."""

    def __init__(self, world: World, rows: Rows) -> None:
        self.world, self.rows = world, rows
        self.requests = LabelRequests(world.stores.database, self.now)

    def now(self) -> datetime:
        return self.world.machine_now

    def buy(self, day: int, share: float = 1.0) -> None:
        """Draw of the week before a day, and label a share of what was drawn."""
        wanted = Wanted(f"day-{day}", DRAWN_A_WEEK, (day - 7) * DAY_US, day * DAY_US)
        drawn = self.requests.predictions(self.requests.draw("rain", wanted, rule_of(self.world.spec)))
        times = np.array([each.event_us for each in drawn[: round(share * len(drawn))]])
        self.world.machine_now += timedelta(hours=1)
        self.world.label(self.rows.take(np.isin(self.rows.time_us, times)))


def replay(world: World, *, share: float | None, flipped_from: int | None = None, last: int = LAST) -> Rows:
    """Replay days of which an eighth gets its label early, nearly all of the one class, the others never but by request."""
    rows, watch = weather(1, FIRST, last - FIRST, flipped_from=flipped_from), world.monitor()
    chance = np.random.default_rng(11).random(len(rows))
    is_early, buyer = chance < np.where(rows.labels == "yes", 0.22, 0.025), Buyer(world, rows)
    for day in range(FIRST, last):
        world.machine_now += timedelta(hours=1)
        world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
        yesterday = (rows.time_us >= (day - EARLY) * DAY_US) & (rows.time_us < (day - EARLY + 1) * DAY_US)
        world.label(rows.take(is_early & yesterday))
        if share is not None and day % 7 == 1 and day > FIRST + 7:
            buyer.buy(day - 1, share)
        world.settle(watch)
    return rows


def kinds(world: World) -> dict[int, str]:
    return {v.slot_us // DAY_US: v.verdict for v in world.stores.journal.verdicts("rain", limit=None)}


@pytest.fixture
def bought(make: Make) -> World:
    world = make(model_file=LEARNS)
    replay(world, share=1.0)
    return world


def test_a_loop_that_buys_labels_is_not_blind(make: Make) -> None:
    def replayed(share: float | None) -> dict[int, str]:
        world = make(model_file=LEARNS)
        replay(world, share=share)
        concluded = kinds(world)
        world.close()
        return concluded

    poor, bought = replayed(None), replayed(1.0)

    assert {slot for slot, kind in poor.items() if kind == "blind"} == {70, 77, 84, 91}
    assert "blind" not in {kind for slot, kind in bought.items() if slot > 77}


def test_it_judges_by_drawn_rows_that_stand_for_all(bought: World) -> None:
    newest = bought.stores.journal.verdicts("rain")[0]
    spans = [Range(*each) for each in newest.evidence["cohorts"]["by_requests"]]
    windows = bought.stores.windows(bought.spec)

    labelled = windows.labelled(63 * DAY_US, 84 * DAY_US, newest.slot_us - 1, (), spans)
    plain = windows.labelled(63 * DAY_US, 84 * DAY_US, newest.slot_us - 1)
    times = windows.labelled_times(63 * DAY_US, 84 * DAY_US, newest.slot_us - 1, (), spans)
    learned = windows.rows(63 * DAY_US, 84 * DAY_US, newest.slot_us - 1, (), spans)

    assert (spans[-1].start_us <= 63 * DAY_US, spans[-1].end_us) == (True, 84 * DAY_US)
    assert labelled.weights is not None
    assert labelled.weights.sum() == pytest.approx(21 * A_DAY)
    assert labelled.n_effective < len(labelled) <= len(plain)
    assert times.tolist() == labelled.rows.time_us.tolist()
    assert (len(learned), 0.5 * len(labelled) < learned.is_labelled.sum() <= len(labelled)) == (21 * A_DAY, True)
    assert newest.evidence["labels"]["new"] <= len(times) * 2


def test_a_label_that_was_asked_for_says_nothing_of_how_late_labels_come(bought: World) -> None:
    def of_delays() -> dict[int, int]:
        counts = read_cohorts(bought.stores, bought.spec, bought.champion, 97 * DAY_US).counts.values()
        places = sorted({place for one in counts for _, place in one.delays})
        return {place: sum(n for one in counts for (_, at), n in one.delays.items() if at == place) for place in places}

    went_on = of_delays()
    bought.stores.label_counts.clear()

    assert of_delays() == went_on
    assert went_on[DRAWN] == 4 * DRAWN_A_WEEK
    assert max(went_on) <= DelayBins.of(timedelta(days=1)).places(np.array([2 * DAY_US]))[0]


def test_what_is_half_answered_counts_for_nothing(make: Make) -> None:
    world = make(model_file=LEARNS)
    replay(world, share=0.5)

    assert {kind for slot, kind in kinds(world).items() if slot > 70} == {"blind"}
    assert world.stores.journal.verdicts("rain")[0].evidence["cohorts"]["by_requests"] == []


@pytest.mark.slow
def test_a_model_that_became_wrong_is_followed_by_one_that_learned_from_drawn_labels(make: Make) -> None:
    world = make(model_file=LEARNS)
    first = world.champion

    last = 126  # the first challenger has seen a week of the new world only, and is on probation until day 105
    rows = replay(world, share=1.0, flipped_from=63, last=last)

    assert world.champion != first
    late = rows.between((last - 5) * DAY_US, last * DAY_US)
    assert world.accuracy(world.champion, late) > 0.65 > 0.45 > world.accuracy(first, late)
    line = world.stores.registry.last_line("rain", "promote")
    assert line is not None
    assert line.evidence[CHALLENGER_LIVE]["value"] == pytest.approx(line.evidence["challenger_score"], abs=1e-6)  # both weighted
