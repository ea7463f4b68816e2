"""What is estimated where labels are missing: in a slot's evidence, by bucket, for people; from the same sums however late one looks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from monitoring.cli.main import run
from monitoring.judging.estimating.estimated import Estimated
from monitoring.loop.label_counts import read_cohorts
from monitoring.performance.estimates import estimate_window, estimated_history
from tests.conftest import Once
from tests.monitoring.performance.test_live_scores import BY_PLACE, FIRST, LAST, SLOT, watched_for_weeks
from tests.monitoring.world import A_DAY, DAY_US, World, open_world, weather
from training.registry.tables import Cause

Make = Callable[..., World]


@pytest.fixture
def watched(once: Once, tmp_path: Path) -> Iterator[World]:
    """A world whose monitor has judged forty-six days; the labels of the last two days are not there yet."""
    shutil.copytree(once("watched-by-place", watched_for_weeks), tmp_path, dirs_exist_ok=True)
    with closing(open_world(tmp_path, BY_PLACE)) as world:
        world.sent = LAST - FIRST
        yield world


def window_of(world: World) -> Estimated:
    cohorts = read_cohorts(world.stores, world.spec, world.champion, SLOT * DAY_US)
    return estimate_window(world.stores, world.spec, world.champion, cohorts, world.stores.load("rain", world.champion).reference.measures)


def test_a_slot_estimates_its_window_as_its_rows_say(watched: World) -> None:
    (last,) = watched.stores.journal.verdicts("rain", limit=1)
    estimated = Estimated.from_dict(last.evidence["estimated"])
    windows, slot_us = watched.stores.windows(watched.spec), SLOT * DAY_US
    known = windows.labelled(65 * DAY_US, 103 * DAY_US, slot_us - 1)  # the newest 1,500 that have matured, by whole days
    window = watched.stores.log.rows("rain", 91 * DAY_US, slot_us, watched.spec.schema).prediction.probability
    assert window is not None
    map_ = IsotonicRegression(out_of_bounds="clip").fit(known.prediction.score, known.rows.labels == "yes")
    share = map_.predict(window[:, 1])

    line = estimated.lines[0]

    assert (line.metric, line.method, line.n, line.learned_from) == ("log_loss", "CBPE", 14 * A_DAY, len(known))
    assert line.value == pytest.approx(-(share * np.log(window[:, 1]) + (1 - share) * np.log(window[:, 0])).mean(), rel=0.02)
    assert line.low < line.value < line.high


def test_labels_of_the_window_are_joined_with_the_estimate(watched: World) -> None:
    joined = next(line for line in window_of(watched).lines if line.method == "PPI++")

    assert joined.labels == 13 * A_DAY
    assert joined.low < joined.value < joined.high


def test_whoever_looks_later_estimates_the_same(watched: World) -> None:
    (last,) = watched.stores.journal.verdicts("rain", limit=1)

    again = window_of(watched)

    assert again.to_dict() == last.evidence["estimated"]


def test_every_row_is_counted_once_labelled_or_not(watched: World) -> None:
    stored = watched.stores.journal.outcomes.answered("rain", 0, SLOT * DAY_US)

    counted = {at: sum(one.answers.n for one in stored if one.bucket_us == at) for at in {one.bucket_us for one in stored}}

    assert counted == {day * DAY_US: A_DAY for day in range(FIRST, SLOT)}


def test_buckets_without_labels_have_an_estimate(watched: World) -> None:
    estimates, notes = estimated_history(watched.stores, "rain", buckets=10)

    assert sorted(at // DAY_US for at in estimates) == list(range(96, 105))
    assert notes == ("estimated by CBPE: assumes that the relation of features to target is unchanged",)


def test_another_metric_is_estimated_too_and_one_that_does_not_follow_is_refused(watched: World) -> None:
    estimates, _ = estimated_history(watched.stores, "rain", metric="roc_auc", buckets=10)

    assert {line.metric for line in estimates.values()} == {"roc_auc"}
    assert estimated_history(watched.stores, "rain", metric="mean_error")[1] == (
        "no estimate: mean_error does not follow from probabilities",
    )


def test_before_enough_labels_matured_it_says_so(make: Make) -> None:
    world = make()
    world.answer(weather(1, FIRST, 12), labelled=False)
    world.settle(world.monitor())

    (last,) = world.stores.journal.verdicts("rain", limit=1)

    assert last.evidence["estimated"] == {"lines": [], "missing": ["no estimate: 0 of 500 labelled rows of this version have matured"]}


def test_a_model_that_was_never_judged_has_none(make: Make) -> None:
    assert estimated_history(make().stores, "rain") == ({}, ("no estimate: no slot was judged yet",))


def test_people_see_it_by_bucket_and_in_the_status(watched: World, capsys: pytest.CaptureFixture[str]) -> None:
    home = {"EVERGREEN_HOME": str(watched.stores.home.path)}

    codes = [run(["performance", "--json"], home), run(["status", "--json"], home)]
    rows, status = capsys.readouterr().out.split("\n]\n", 1)
    codes.append(run(["performance"], home))

    estimates, _ = estimated_history(watched.stores, "rain")
    assert codes == [0, 0, 0]
    newest = json.loads(rows + "]")[-2]
    assert newest["value"] is None
    assert newest["estimated"] == estimates[104 * DAY_US].value
    assert "by CBPE from" in json.loads(status)[0]["estimated"]
    shown = capsys.readouterr()
    assert "assumes that the relation of features to target is unchanged" in shown.out + shown.err


def test_a_bucket_is_estimated_by_what_is_known_of_the_version_that_answered_it(watched: World) -> None:
    estimates, _ = estimated_history(watched.stores, "rain", buckets=10)
    other = watched.train(weather(7, 0, 60))
    watched.stores.registry.promote("rain", other, expected=watched.champion, cause=Cause("ann", "by hand"), now=watched.machine_now)
    watched.answer(weather(2, LAST, 8))
    watched.settle(watched.monitor())

    later, notes = estimated_history(watched.stores, "rain", buckets=18)

    assert notes[0].startswith("no estimate: ")
    assert {at // DAY_US for at in later} >= {at // DAY_US for at in estimates}
    assert max(later) < LAST * DAY_US
