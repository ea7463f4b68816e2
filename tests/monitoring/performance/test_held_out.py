"""What is estimated of a version whose labels have not matured, or of numbers: from the rows that its training held out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from monitoring.judging.estimating.estimated import Estimated
from monitoring.loop.label_counts import read_cohorts
from monitoring.performance.estimates import estimate_window, estimated_history
from tests.monitoring.world import A_DAY, DAY_US, MODEL_FILE, World, open_world, train_first, weather
from training.schema.rows import Rows

pytestmark = pytest.mark.xdist_group("held out")  # one worker makes what all share

DAYS = 90
CLASSES = MODEL_FILE.replace("act: auto", "act: notify")
NUMBERS = CLASSES.replace("task: binary", "task: regression").replace('  positive: "yes"\n', "").replace("metric: log_loss", "metric: mae")


def amounts(seed: int, first_day: int, days: int, *, windier: float = 1.0) -> Rows:
    """How much rain falls: by the clouds, and with the wind less surely."""
    rows = weather(seed, first_day, days)
    rows.columns["wind"] *= windier
    noise = np.random.default_rng([seed, 7, 7]).normal(0, 1, len(rows)) * (0.2 + rows.columns["wind"])
    return Rows(rows.columns, 5 + 2 * np.nan_to_num(rows.columns["cloud"]) + noise, rows.time_us)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """Two worlds whose monitor has judged two weeks of which no label came: of classes, and of numbers that became windier."""
    classes = train_first(open_world(tmp_path_factory.mktemp("classes"), CLASSES), DAYS)
    numbers = train_first(open_world(tmp_path_factory.mktemp("numbers"), NUMBERS), DAYS, amounts(0, 0, DAYS))
    with closing(classes), closing(numbers):
        for world, rows in ((classes, weather(1, DAYS, 20)), (numbers, amounts(1, DAYS, 20, windier=1.4))):
            watch = world.monitor()
            for week in range(3):
                world.answer(rows.between((DAYS + 7 * week) * DAY_US, (DAYS + 7 * week + 7) * DAY_US), labelled=False)
                world.settle(watch)
        yield {"classes": classes, "numbers": numbers}


def last(world: World) -> Estimated:
    (verdict,) = world.stores.journal.verdicts("rain", limit=1)
    return Estimated.from_dict(verdict.evidence["estimated"])


def test_a_classifier_that_never_had_a_label_is_estimated_by_rows_that_were_held_out(worlds: dict[str, World]) -> None:
    estimated = last(worlds["classes"])

    (line,) = estimated.lines
    assert (line.metric, line.method, line.is_held_out, line.learned_from) == ("log_loss", "CBPE", True, DAYS * A_DAY // 5)
    assert line.low < 0.46 < line.high
    assert "rows that the training held out: assumes that the relation of features to target is unchanged" in estimated.sentences()[0]


def test_the_error_of_numbers_follows_what_moved(worlds: dict[str, World]) -> None:
    world = worlds["numbers"]
    rows = amounts(1, DAYS, 20, windier=1.4)
    calm, windy = (amounts(3, 200, 60, windier=windier) for windier in (1.0, 1.4))
    model = world.stores.load("rain", world.champion).predictor
    before, now = (np.abs(some.labels - model.predict(some.columns).label).mean() for some in (calm, windy))

    (line,) = last(world).lines

    assert (line.metric, line.method, line.is_held_out) == ("mae", "DLE", True)
    assert line.n <= len(rows)
    assert line.value > before + 0.5 * (now - before)
    assert line.low < now < line.high


@pytest.mark.parametrize(("name", "method"), [("classes", "CBPE"), ("numbers", "DLE")])
def test_each_bucket_has_an_estimate(worlds: dict[str, World], name: str, method: str) -> None:
    estimates, notes = estimated_history(worlds[name].stores, "rain", buckets=10)

    assert len(estimates) >= 5
    assert {line.method for line in estimates.values()} == {method}
    assert notes[0] == f"estimated by {method}: assumes that the relation of features to target is unchanged"


def test_rows_that_are_gone_are_no_reference(worlds: dict[str, World], tmp_path: Path) -> None:
    world = worlds["numbers"]
    (stored,) = world.stores.home.rows.glob("*.parquet")
    stored.rename(tmp_path / stored.name)

    estimates, notes = estimated_history(world.stores, "rain", buckets=10)
    (tmp_path / stored.name).rename(stored)

    assert estimates == {}
    assert notes == ("no estimate: this version kept no answers for rows that its training held out, or these rows are gone",)


def test_labels_of_numbers_are_joined_with_the_estimate(worlds: dict[str, World]) -> None:
    world = worlds["numbers"]
    rows = amounts(1, DAYS, 20, windier=1.4)
    drawn = np.random.default_rng(0).random(len(rows)) < 0.2
    world.label(rows.take(drawn))
    slot_us = (DAYS + 20) * DAY_US
    cohorts = read_cohorts(world.stores, world.spec, world.champion, slot_us)
    measures = world.stores.load("rain", world.champion).reference.measures

    estimated = estimate_window(world.stores, world.spec, world.champion, cohorts, measures)

    in_window = rows.time_us >= slot_us - 14 * DAY_US
    answers = world.stores.load("rain", world.champion).predictor.predict(rows.columns).label
    error = np.abs(rows.labels - answers)
    alone, joined = estimated.lines
    assert [alone.method, joined.method, estimated.missing] == ["DLE", "PPI++", ()]
    assert (joined.labels, joined.n) == (int((drawn & in_window).sum()), int(in_window.sum()))
    assert abs(joined.value - error[in_window].mean()) < 2 * error[in_window].std() / np.sqrt(joined.labels)
    assert joined.low < joined.value < joined.high
