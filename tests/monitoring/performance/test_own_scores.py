"""A user's own metric of live rows: what it comes to, by whom it is asked, and what becomes of a slot whose metric fails."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from monitoring.judging.performance.own_score import OwnScore, own_score_of
from monitoring.loop.label_counts import read_cohorts
from monitoring.performance.live_scores import live_scores
from monitoring.performance.own_scores import own_score
from monitoring.performance.watch import Matured
from monitoring.report.report import report_of
from tests.conftest import Once
from tests.monitoring.performance.test_live_scores import BY_PLACE, SLOT, watched_for_weeks
from tests.monitoring.world import DAY_US, MODEL_FILE, make_world, open_world, weather
from tests.own_package import forget, write_package
from training.model_file.model_spec import parse_spec

NAME = "own_live.models:loss"
OWN = MODEL_FILE.replace("metric: log_loss", f"metric: {NAME}").replace("act: auto", "act: notify")
LOSS = """
import numpy as np

def loss(y, prediction):
    return np.where(y == "yes", 3.0, 1.0) * (y != prediction.label) - 0.25
"""
RAISES = """
def loss(y, prediction):
    raise ValueError("no such mistake")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that EVERGREEN_CODE names, with the metric."""
    folder = write_package(tmp_path / "code", "own_live", LOSS)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("EVERGREEN_CODE", str(folder))
    forget("own_live")
    yield folder
    forget("own_live")


@pytest.fixture
def matured(code: Path, once: Once, tmp_path: Path) -> Iterator[Matured]:
    """Forty-six days of a world, looked at with a metric of a user's own."""
    shutil.copytree(once("watched-by-place", watched_for_weeks), tmp_path, dirs_exist_ok=True)
    with closing(open_world(tmp_path, BY_PLACE)) as world:
        cohorts = read_cohorts(world.stores, world.spec, world.champion, SLOT * DAY_US)
        yield Matured(world.stores, replace(world.spec, metric=NAME), cohorts, ())


def test_it_is_the_mean_of_the_losses_by_bucket_with_the_interval_of_a_jackknife_over_them(matured: Matured) -> None:
    score = own_score(matured, {})

    assert score is not None
    assert score.live is not None
    days = [one.bucket_us // DAY_US for one in score.buckets]
    logged = matured.stores.windows(matured.spec).labelled(days[0] * DAY_US, (days[-1] + 1) * DAY_US, SLOT * DAY_US - 1)
    losses = np.where(logged.rows.labels == "yes", 3.0, 1.0) * (logged.rows.labels != logged.prediction.label) - 0.25
    means = losses.reshape(-1, 40).mean(axis=1)
    assert days == list(range(75, 103))
    assert (score.live.n, score.of, score.live.coverage) == (len(losses), len(losses), 1.0)
    assert [one.mean for one in score.buckets] == pytest.approx(means.tolist(), abs=1e-12)
    assert [one.mean_square for one in score.buckets] == pytest.approx((losses**2).reshape(-1, 40).mean(axis=1).tolist(), abs=1e-12)
    assert score.live.value == pytest.approx(losses.mean(), abs=1e-12)
    assert "own_live" not in sys.modules


def test_the_interval_over_equal_buckets_is_that_of_their_means() -> None:
    losses = np.random.default_rng(0).gamma(1.0, 2.0, 20 * 50) - 1
    half = stats.t.ppf(0.975, 19) * losses.reshape(20, 50).mean(axis=1).std(ddof=1) / math.sqrt(20)

    score = own_score_of(NAME, np.repeat(np.arange(20) * DAY_US, 50), losses, of=1000, coverage=0.9)

    assert score.live is not None
    assert (score.live.low, score.live.high) == pytest.approx((losses.mean() - half, losses.mean() + half), abs=1e-9)


def test_rows_that_stand_for_others_count_for_as_many() -> None:
    bucket, weights = np.repeat(np.arange(4) * DAY_US, 10), np.tile([1.0, 9.0], 20)

    score = own_score_of(NAME, bucket, np.tile([2.0, 1.0], 20), weights, of=40, coverage=1.0)

    assert [one.mean for one in score.buckets] == [1.1] * 4


@pytest.mark.slow  # two hundred questions of the log, and a process
def test_of_more_rows_than_are_asked_for_those_of_stretches_of_time_are_drawn(matured: Matured) -> None:
    drawn = own_score(matured, {}, most_rows=400)

    assert drawn is not None
    assert drawn.live is not None
    assert drawn.of == 28 * 40
    assert 200 < drawn.n <= 400
    assert len(drawn.buckets) == 28
    assert f"on {drawn.n} rows, drawn from 1,120" in drawn.sentence()


@pytest.mark.slow
def test_what_the_function_raises_is_why_it_is_not_known(matured: Matured, code: Path) -> None:
    write_package(code, "own_live", RAISES)

    score = own_score(matured, {})

    assert score is not None
    assert (score.live, score.missing) == (None, f"the metric {NAME} failed: ValueError: no such mistake")
    assert score.beside(live_scores(matured.stores, matured.spec, matured.cohorts))[0].score.metric == "log_loss"


def test_losses_that_cannot_be_added_up_are_no_score() -> None:
    bucket = np.repeat(np.arange(4) * DAY_US, 10)

    score = own_score_of(NAME, bucket, np.full(40, 1e200), of=40, coverage=1.0)

    assert (score.live, score.missing) == (None, "a loss as large as 1e+200 cannot be added up")
    assert OwnScore.from_dict(json.loads(json.dumps(score.to_dict()))) == score


def test_the_cost_stands_behind_another_metric_of_all_rows(matured: Matured) -> None:
    text = BY_PLACE.replace("task: binary", "task: binary\n  classes: ['no', 'yes']")
    spec = parse_spec(text.replace("budget: 2 fits", "budget: 2 fits, costs: [[0, 1], [3, 0]]"))

    scores = live_scores(matured.stores, spec, matured.cohorts)

    start_us = (matured.cohorts.end_us or 0) - 28 * DAY_US
    logged = matured.stores.windows(spec).labelled(start_us, matured.cohorts.end_us or 0, SLOT * DAY_US - 1)
    cost = np.where(logged.rows.labels == "yes", 3.0, 1.0) * (logged.rows.labels != logged.prediction.label)
    assert [(one.segment, one.score.metric) for one in scores][:3] == [("", "log_loss"), ("", "cost"), ("", "selection_rate")]
    assert scores[1].score.value == pytest.approx(cost.mean(), abs=1e-9)
    assert scores[1].score.low < cost.mean() < scores[1].score.high


@pytest.mark.slow  # a training, and a process a slot
def test_it_stands_behind_the_watched_metric_in_verdict_verb_and_report_and_breaks_no_slot(
    code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(make_world(tmp_path, OWN)) as world:
        forget("own_live")
        watch = world.monitor()
        world.answer(weather(1, 60, 26))
        world.settle(watch)
        home, good = {"EVERGREEN_HOME": str(world.stores.home.path)}, world.stores.journal.verdicts("rain")[0]
        assert run(["performance", "--metric", NAME, "--buckets", "12", "--json"], home) == 0
        listed = json.loads(capsys.readouterr().out)
        assert run(["performance"], home) == 0
        beside = capsys.readouterr()
        with closing(Workbench(home)) as bench:
            page = report_of(bench, "rain", 90)
        shown = watch.metrics.registry.get_sample_value("evergreen_live_score", {"model": "rain", "metric": NAME, "segment": ""})

        write_package(code, "own_live", RAISES)
        world.answer(weather(1, 86, 8))
        world.settle(watch)
        bad = world.stores.journal.verdicts("rain")[0]

    own = OwnScore.from_dict(good.evidence["own_metric"])
    of_days = {one.bucket_us // DAY_US: one.mean for one in own.buckets}
    assert own.live is not None
    assert [one["metric"] for one in good.evidence["live"]][:2] == ["log_loss", NAME]
    assert [line["value"] for line in listed] == [of_days.get(day) for day in range(74, 86)]
    assert f"your own metric {NAME} {own.live.value:.4g}" in beside.out + beside.err
    assert f"Live {NAME}" in page
    assert shown == own.live.value
    assert bad.slot_us > good.slot_us
    assert [one["metric"] for one in bad.evidence["live"]][:2] == ["log_loss", "selection_rate"]
    assert f"your own metric {NAME} is not known of live rows: the version was made with other code" in "; ".join(bad.reasons)
