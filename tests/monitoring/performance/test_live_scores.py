"""Performance from sums: by bucket and segment for people, matured covered buckets for judging.

Labels come until two days after their rows, so that is how old mature rows are, though `labels.delay` is a day.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from monitoring.cli.main import run
from monitoring.journal.leases import Turn
from monitoring.judging.cohorts import Cohorts
from monitoring.log_windows import take
from monitoring.loop.label_counts import read_cohorts
from monitoring.loop.new_outcomes import NewOutcomes
from monitoring.performance.live_scores import LEAST_LABELS, bucket_losses, learn, live_scores, performance_history
from service.prediction_log.reading import LoggedRows
from tests.conftest import Once
from tests.monitoring.world import DAY_US, MODEL_FILE, World, make_world, open_world, weather
from training.errors import UnknownModelError
from training.evaluation.losses import METRICS, log_losses

BY_PLACE = MODEL_FILE.replace("bucket: 1d}", "bucket: 1d, segments: [place]}").replace("act: auto", "act: notify")
FIRST, LAST, SLOT = 60, 106, 105
Make = Callable[..., World]


def watched_for_weeks(folder: Path) -> None:
    with closing(make_world(folder, BY_PLACE)) as world:
        rows, watch = weather(1, FIRST, LAST - FIRST), world.monitor()
        for day in range(FIRST, LAST):
            world.answer(rows.between(day * DAY_US, (day + 1) * DAY_US))
            world.label(rows.between((day - 1) * DAY_US, day * DAY_US))
            if day % 7 == 0:
                world.settle(watch)
        world.settle(watch)


@pytest.fixture
def watched(once: Once, tmp_path: Path) -> Iterator[World]:
    """A world whose monitor has judged forty-six days, a copy of one that was made once."""
    shutil.copytree(once("watched-by-place", watched_for_weeks), tmp_path, dirs_exist_ok=True)
    with closing(open_world(tmp_path, BY_PLACE)) as world:
        world.sent = LAST - FIRST  # batches that are in the log
        yield world


def cohorts(world: World, day: int = SLOT) -> Cohorts:
    return read_cohorts(world.stores, world.spec, world.champion, day * DAY_US)


def logged(world: World, first_day: int, end_day: int) -> LoggedRows:
    return world.stores.windows(world.spec).labelled(first_day * DAY_US, end_day * DAY_US, SLOT * DAY_US - 1)


def test_history_has_each_buckets_rows_coverage_and_metric(watched: World) -> None:
    history = performance_history(watched.stores, "rain", buckets=10, segments=[""])

    assert [point.bucket_us // DAY_US for point in history] == list(range(96, 106))
    assert [(point.n, point.coverage) for point in history] == [(40, 1.0)] * 8 + [(0, 0.0)] * 2
    day = logged(watched, 96, 97)
    assert history[0].value == pytest.approx(log_losses(day.rows.labels, day.prediction).mean(), abs=1e-9)
    assert history[0].low < history[0].value < history[0].high
    assert history[-1][3:] == (None, None, None, "", None)


def test_history_by_segment_adds_up_to_that_of_all_rows(watched: World) -> None:
    history = performance_history(watched.stores, "rain", metric="accuracy", buckets=40)

    by_segment = {key: [point for point in history if point.segment == key] for key in {point.segment for point in history}}
    known = {key: [point for point in points if point.n] for key, points in by_segment.items()}
    whole = {point.bucket_us: (point.n, point.value) for point in known.pop("")}
    assert set(known) == {"place=hill", "place=lake", "place=town"}
    assert {point.coverage for points in known.values() for point in points} == {None}
    assert {
        at: (
            sum(point.n for points in known.values() for point in points if point.bucket_us == at),
            pytest.approx(sum(point.n * point.value for points in known.values() for point in points if point.bucket_us == at) / 40),
        )
        for at in whole
    } == whole


def test_quarantined_buckets_are_left_out(watched: World) -> None:
    before = bucket_losses(watched.stores, watched.spec, cohorts(watched))
    by_hand = Turn(watched.machine_now)
    watched.stores.journal.add_quarantine(by_hand, "rain", 97 * DAY_US, 99 * DAY_US + 1, "stuck", slot_us=SLOT * DAY_US)

    history = performance_history(watched.stores, "rain", buckets=10, segments=[""])
    losses = bucket_losses(watched.stores, watched.spec, cohorts(watched))

    assert [point.bucket_us // DAY_US for point in history] == [96, 100, 101, 102, 103, 104, 105]
    assert {one.bucket_us // DAY_US for one in before} - {one.bucket_us // DAY_US for one in losses} == {97, 98, 99}


def test_what_is_not_known_of_live_rows_is_refused(watched: World) -> None:
    with pytest.raises(ValueError, match="mae is not known of the live rows of rain, a binary model"):
        performance_history(watched.stores, "rain", metric="mae")
    with pytest.raises(UnknownModelError):
        performance_history(watched.stores, "snow")


def test_losses_of_buckets_are_those_of_mature_covered_rows_in_order(watched: World) -> None:
    losses = bucket_losses(watched.stores, watched.spec, cohorts(watched), start_us=70 * DAY_US)

    of_days = [log_losses(day.rows.labels, day.prediction) for day in (logged(watched, at, at + 1) for at in range(70, 103))]
    assert [one.bucket_us // DAY_US for one in losses] == list(range(70, 103))
    assert [one.mean for one in losses] == pytest.approx([day.mean() for day in of_days], abs=1e-9)
    assert [one.variance for one in losses] == pytest.approx([day.var() for day in of_days], abs=1e-9)
    in_parts = [bucket_losses(watched.stores, watched.spec, cohorts(watched), segment=f"place={name}") for name in ("hill", "lake", "town")]
    assert sum(one.n for part in in_parts for one in part) == 40 * len(bucket_losses(watched.stores, watched.spec, cohorts(watched)))


def test_uncovered_buckets_are_not_judged_by(make: Make) -> None:
    world, rows = make(model_file=BY_PLACE), weather(1, FIRST, 30)
    for day in range(FIRST, 84):
        world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
        is_labelled = np.arange(len(rows)) % 2 == 0 if 70 <= day < 76 else np.ones(len(rows), dtype=bool)
        world.label(rows.take(is_labelled).between((day - 1) * DAY_US, day * DAY_US))
    new = NewOutcomes.since(world.stores, world.spec, world.champion, world.stores.journal.carry("rain"), 84 * DAY_US)
    judged = read_cohorts(world.stores, world.spec, world.champion, 84 * DAY_US, new)

    losses = bucket_losses(world.stores, world.spec, judged, new=new.update().outcomes)

    assert {one.bucket_us // DAY_US for one in losses} <= {*range(60, 69), *range(75, 83)}
    assert {one.bucket_us // DAY_US for one in losses} >= {*range(60, 68), *range(76, 82)}


def test_a_slot_is_scored_by_what_became_known_at_it_too(watched: World) -> None:
    rows = weather(1, FIRST, 60)
    watched.log(rows.between(106 * DAY_US, 107 * DAY_US))
    watched.label(rows.between(105 * DAY_US, 107 * DAY_US))
    watched.answer(rows.between(107 * DAY_US, 113 * DAY_US))
    new = NewOutcomes.since(watched.stores, watched.spec, watched.champion, watched.stores.journal.carry("rain"), 112 * DAY_US)
    judged = read_cohorts(watched.stores, watched.spec, watched.champion, 112 * DAY_US, new)

    without, scores = (live_scores(watched.stores, watched.spec, judged, some) for some in ((), new.update().outcomes))

    assert {one.score.n for one in without if not one.segment} == {22 * 40}
    assert {one.score.n for one in scores if not one.segment} == {28 * 40}


def test_segments_are_scored_and_asked_about_selection_hits_and_calibration(watched: World) -> None:
    scores = {(one.segment, one.score.metric): one.score for one in live_scores(watched.stores, watched.spec, cohorts(watched))}

    whole = logged(watched, 75, 103)
    hill = take(whole, whole.rows.columns["place"] == "hill")
    is_wet, says_wet = hill.rows.labels == "yes", hill.prediction.label == "yes"
    assert {segment for segment, _ in scores} == {"", "place=hill", "place=lake", "place=town"}
    of_hill = {name: score.value for (segment, name), score in scores.items() if segment == "place=hill"}
    assert len(hill) >= LEAST_LABELS
    assert of_hill == {
        "log_loss": pytest.approx(METRICS["log_loss"].function(hill.rows.labels, hill.prediction), abs=1e-9),
        "selection_rate": pytest.approx(says_wet.mean(), abs=1e-9),
        "true_positive_rate": pytest.approx(says_wet[is_wet].mean(), abs=1e-9),
        "calibration_gap": pytest.approx(hill.prediction.score.mean() - is_wet.mean(), abs=1e-9),
    }
    assert all(score.low <= score.value <= score.high for score in scores.values())


def test_segments_of_few_labels_are_not_scored(watched: World) -> None:
    few = cohorts(watched, 72)

    scores = live_scores(watched.stores, watched.spec, few)

    assert {one.segment for one in scores} == {""}


def test_the_baseline_is_the_first_twenty_eight_days_and_at_least_fifteen_hundred_labels(watched: World) -> None:
    too_few, learned = (learn(watched.stores, watched.spec, cohorts(watched, day)) for day in (98, SLOT))
    later = learn(watched.stores, watched.spec, cohorts(watched), start_us=62 * DAY_US).baseline

    assert (too_few.baseline, too_few.score) == (None, None)
    losses, baseline, score, spread = learned
    assert baseline is not None
    assert losses == bucket_losses(watched.stores, watched.spec, cohorts(watched))
    assert spread == 0
    assert (baseline.loss, baseline.n, baseline.start_us, baseline.end_us) == ("log_loss", 1520, 60 * DAY_US, 98 * DAY_US)
    assert score is not None
    assert (score.metric, score.n, score.value) == ("log_loss", 1520, pytest.approx(baseline.mean))
    assert later is not None
    assert (later.start_us, later.end_us) == (62 * DAY_US, 100 * DAY_US)


def test_people_see_it_by_bucket_and_in_the_status(watched: World, capsys: pytest.CaptureFixture[str]) -> None:
    home = {"EVERGREEN_HOME": str(watched.stores.home.path)}

    codes = [
        run([*verb, "--json"], home) for verb in (["performance", "--metric", "accuracy", "--buckets", "10", "--segments"], ["status"])
    ]
    rows, status = capsys.readouterr().out.split("\n]\n", 1)
    refused = run(["performance", "--metric", "mae"], home)

    history = performance_history(watched.stores, "rain", metric="accuracy", buckets=10)
    assert (codes, refused) == ([0, 0], 1)
    assert [(row["segment"], row["n"], row["value"]) for row in json.loads(rows + "]")] == [(p.segment, p.n, p.value) for p in history]
    shown = json.loads(status)[0]
    scores = live_scores(watched.stores, watched.spec, cohorts(watched))
    loss = next(one.score for one in scores if (one.segment, one.score.metric) == ("place=hill", "log_loss"))
    assert f"place=hill ({loss.n:,} labels): log_loss {loss.value:.4g} [" in shown["segments"]
    assert shown["live"].startswith("log_loss ")
    assert shown["live"].endswith("; 1,120 labels")
    assert "error: mae is not known of the live rows of rain, a binary model" in capsys.readouterr().err


def test_what_a_process_keeps_in_memory_is_what_the_journal_holds(watched: World) -> None:
    before = live_scores(watched.stores, watched.spec, cohorts(watched))
    rows = weather(1, FIRST, 60)
    watched.answer(rows.between(106 * DAY_US, 114 * DAY_US))
    watched.settle(watched.monitor())
    went_on = live_scores(watched.stores, watched.spec, cohorts(watched, 112))
    watched.stores.outcome_sums.clear()

    anew = live_scores(watched.stores, watched.spec, cohorts(watched, 112))

    assert [one.to_dict() for one in went_on] == [one.to_dict() for one in anew] != [one.to_dict() for one in before]


BY_SCORE = BY_PLACE.replace("labels: {delay: 1d}", "labels: {delay: 1d, coverage: 0.8}")
WHOLE, LACKING, UNCOVERED = (FIRST, 70), (70, 90), (90, 99)


def missing_by_score(folder: Path) -> None:
    """Thirty-nine days: with all labels, without a tenth of those of the highest scores, without most of these."""
    with closing(make_world(folder, BY_SCORE)) as world:
        rows, watch = weather(1, FIRST, UNCOVERED[1] - FIRST + 2), world.monitor()
        score = world.stores.load("rain", world.champion).predictor.predict(rows.columns).score
        share = np.where(rows.time_us >= UNCOVERED[0] * DAY_US, 0.75, np.where(rows.time_us >= LACKING[0] * DAY_US, 0.13, 0.0))
        is_high = score > np.quantile(score, 0.67)
        labelled = rows.take(~is_high | (np.random.default_rng(3).uniform(size=len(rows)) >= share))
        for day in range(FIRST, UNCOVERED[1] + 2):
            world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
            world.label(labelled.between((day - 1) * DAY_US, day * DAY_US))
        world.settle(watch)


@pytest.fixture
def lacking(once: Once, tmp_path: Path) -> Iterator[World]:
    """A world where labels of high scores are missing, a copy of one that was made once."""
    shutil.copytree(once("missing-by-score", missing_by_score), tmp_path, dirs_exist_ok=True)
    with closing(open_world(tmp_path, BY_SCORE)) as world:
        yield world


def true_losses(world: World, first_day: int, end_day: int) -> np.ndarray:
    """Return what the champion's answers lose by all labels, also those that never came."""
    rows = weather(1, FIRST, UNCOVERED[1] - FIRST + 2).between(first_day * DAY_US, end_day * DAY_US)
    return log_losses(rows.labels, world.stores.load("rain", world.champion).predictor.predict(rows.columns))


def test_live_scores_are_weighted_where_labels_of_high_scores_are_missing_and_say_so(lacking: World) -> None:
    judged = cohorts(lacking, 91)

    by_segment = {one.segment: one for one in live_scores(lacking.stores, lacking.spec, judged) if one.score.metric == "log_loss"}

    whole = by_segment[""]
    assert whole.correction is not None
    assert "weighted by score: labelled rows score lower than the others" in whole.correction.sentence
    assert "the interval covers the worst case of the" in whole.correction.sentence
    of_all = true_losses(lacking, judged.end_us // DAY_US - 28, judged.end_us // DAY_US).mean()
    low, high = whole.correction.worst or (math.nan, math.nan)
    assert whole.score.value != whole.correction.unweighted
    assert whole.score.low < low <= whole.score.value <= high < whole.score.high
    assert low <= of_all <= high
    assert whole.to_dict().keys() >= {"weighted", "unweighted", "worst_low", "worst_high"}


def test_history_weights_buckets_whose_labels_are_missing_by_score_and_no_others(
    lacking: World, capsys: pytest.CaptureFixture[str]
) -> None:
    history = performance_history(lacking.stores, "rain", buckets=40, segments=[""])
    run(["performance", "--buckets", "40"], {"EVERGREEN_HOME": str(lacking.stores.home.path)})
    run(["performance", "--buckets", "40", "--json"], {"EVERGREEN_HOME": str(lacking.stores.home.path)})
    shown = capsys.readouterr().out

    by_day = {one.bucket_us // DAY_US: one for one in history}
    weighted = {day for day, one in by_day.items() if one.correction is not None}
    assert {day for day in weighted if day < WHOLE[1]} == set()
    assert len({day for day in weighted if UNCOVERED[0] <= day < 98}) >= 6
    of_all = {day: true_losses(lacking, day, day + 1).mean() for day in weighted}
    assert [day for day in weighted if not (by_day[day].low or 0.0) <= of_all[day] <= (by_day[day].high or 0.0)] == []
    stored = json.loads(shown[shown.index("[\n") :])
    assert {row["n"] for row in stored if row["weighted"] and row["worst_low"] <= row["value"] <= row["worst_high"]} == {
        by_day[day].n for day in weighted
    }
    assert shown.count(": weighted by score: labelled rows score lower than the others") == len(weighted)


def test_the_status_says_that_the_live_score_is_weighted(lacking: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(["status", "--json"], {"EVERGREEN_HOME": str(lacking.stores.home.path)})

    shown = json.loads(capsys.readouterr().out)[0]

    assert "labels; weighted by score: labelled rows score lower than the others (of scores from" in shown["live"]


def test_all_rows_are_counted_by_segment_labelled_or_not(lacking: World) -> None:
    stored = lacking.stores.journal.outcomes

    due = {segment: stored.find_due("rain", 0, 91 * DAY_US, segment) for segment in ("", "place=hill", "place=lake", "place=town")}

    rows = {segment: sum(part.rows for _, part in parts) for segment, parts in due.items()}
    assert rows.pop("") == sum(rows.values()) == 40 * (91 - FIRST)
