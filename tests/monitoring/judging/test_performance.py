"""Live scores, their intervals, and when they are worse."""

import numpy as np
import pytest
from scipy import stats

from monitoring.judging.performance.scores import Score, compare, score
from training.schema.prediction import Prediction


def answers(seed: int, n: int, accuracy: float) -> tuple[np.ndarray, Prediction]:
    rng = np.random.default_rng(seed)
    y = rng.choice(np.array(["no", "yes"], dtype=object), n)
    right = rng.random(n) < accuracy
    label = np.where(right, y, np.where(y == "yes", "no", "yes")).astype(object)
    p = np.where(label == "yes", 0.8, 0.2)
    return y, Prediction(label, np.column_stack([1 - p, p]), ("no", "yes"))


def scored(seed: int, n: int, accuracy: float, metric: str = "accuracy") -> Score:
    one = score(*answers(seed, n, accuracy), metric)
    assert one is not None
    return one


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc"])
def test_the_interval_holds_the_true_score_about_as_often_as_it_says(metric: str) -> None:
    expected = scored(0, 200_000, 0.8, metric).value

    scores = [scored(seed, 400, 0.8, metric) for seed in range(1, 121)]

    assert 0.88 < np.mean([s.low <= expected <= s.high for s in scores]) <= 1.0


def test_rows_that_come_in_alike_runs_give_a_wider_interval() -> None:
    y, prediction = answers(0, 2000, 0.8)
    order = np.argsort(prediction.label == y, kind="stable").reshape(20, 100).T.ravel()
    mixed, runs = score(y[order], prediction.take(order), "accuracy"), score(*_sorted(y, prediction), "accuracy")

    assert mixed is not None
    assert runs is not None
    assert runs.high - runs.low > 3 * (mixed.high - mixed.low)


def _sorted(y: np.ndarray, prediction: Prediction) -> tuple[np.ndarray, Prediction]:
    order = np.argsort(prediction.label == y, kind="stable")
    return y[order], prediction.take(order)


def test_a_metric_without_a_value_gives_no_score() -> None:
    y, prediction = answers(0, 200, 0.8)

    assert score(np.full(200, "no", dtype=object), prediction, "roc_auc") is None
    assert score(y[:10], prediction.take(slice(0, 10)), "accuracy") is None


def test_an_unchanged_model_is_rarely_called_worse() -> None:
    baseline = scored(0, 3000, 0.8)

    worse = [
        compare(scored(s, 400, 0.8), baseline, source="x", level=0.01, tolerance=0.02, through_us=0).is_degraded for s in range(1, 200)
    ]

    assert np.mean(worse) <= 0.01


def test_a_clear_loss_is_called_worse_with_its_size() -> None:
    test = compare(scored(1, 400, 0.6), scored(0, 3000, 0.8), source="holdout", level=0.01, tolerance=0.02, through_us=7)

    assert test.is_degraded
    assert test.loss == pytest.approx(0.2, abs=0.07)
    assert (test.live.n, test.through_us) == (400, 7)
    assert "is worse than" in test.sentence()


def test_a_better_model_is_never_called_worse_whatever_the_direction() -> None:
    better, base = scored(1, 400, 0.95, "log_loss"), scored(0, 3000, 0.8, "log_loss")

    test = compare(better, base, source="holdout", level=0.01, tolerance=0.02, through_us=0)

    assert test.loss < 0
    assert not test.is_degraded


def with_errors(*errors: float) -> tuple[np.ndarray, Prediction]:
    """Rows whose absolute errors are these."""
    return np.zeros(len(errors)), Prediction(np.array(errors))


def interval(errors: np.ndarray) -> tuple[float, float]:
    """The interval of a mean of independent blocks, which is what the jackknife gives for blocks of one size."""
    return stats.t.interval(0.95, len(errors) - 1, loc=errors.mean(), scale=stats.sem(errors))


def test_the_interval_is_that_of_the_mean_of_the_blocks() -> None:
    three = score(*with_errors(*np.repeat([11.0, 12.0, 16.0], 8)), "mae", coverage=0.5)
    many = score(*with_errors(*np.repeat(np.arange(25.0) ** 2, 16)), "mae")

    assert three is not None
    assert many is not None
    assert (three.metric, three.value, three.n, three.coverage) == ("mae", 13.0, 24, 0.5)
    assert (three.low, three.high) == pytest.approx(interval(np.array([11.0, 12.0, 16.0])))
    assert (many.n, many.coverage) == (400, 1.0)
    assert (many.low, many.high) == pytest.approx(interval(np.arange(25.0) ** 2))


def test_a_score_needs_three_blocks_of_eight_rows() -> None:
    assert score(*with_errors(*np.arange(23.0)), "mae") is None
    assert score(*with_errors(*np.arange(24.0)), "mae") is not None


def test_a_metric_that_one_block_alone_defines_has_no_interval() -> None:
    y = np.array(["no"] * 32 + ["yes"] * 8, dtype=object)
    p = np.linspace(0.1, 0.9, 40)
    prediction = Prediction(y, np.column_stack([1 - p, p]), ("no", "yes"))

    assert score(y, prediction, "roc_auc") is None


def test_a_standard_error_is_half_the_interval_by_the_normal_point() -> None:
    assert Score("mae", 5.0, 5 - 2 * 1.959964, 5 + 2 * 1.959964, 10).standard_error == pytest.approx(2.0)


def test_an_interval_cut_at_zero_makes_nobody_surer() -> None:
    whole, cut = score(*with_errors(*np.repeat([5.0, 6.0, 10.0], 8)), "mae"), score(*with_errors(*np.repeat([0.0, 1.0, 5.0], 8)), "mae")

    assert whole is not None
    assert cut is not None
    assert whole.low > 0 == cut.low
    assert cut.standard_error == pytest.approx(whole.standard_error)


def with_error(metric: str, value: float, error: float, n: int = 100, coverage: float = 1.0) -> Score:
    """A score with a standard error."""
    return Score(metric, value, value - 1.959964 * error, value + 1.959964 * error, n, coverage)


@pytest.mark.parametrize(
    ("metric", "now", "before", "loss"),
    [("accuracy", 0.5, 0.75, 0.25), ("mae", 3.0, 2.0, 1.0), ("log_loss", 0.25, 0.5, -0.25), ("roc_auc", 0.75, 0.5, -0.25)],
)
def test_a_loss_is_positive_when_the_score_is_worse(metric: str, now: float, before: float, loss: float) -> None:
    test = compare(with_error(metric, now, 3), with_error(metric, before, 4), source="x", level=0.01, tolerance=0.1, through_us=0)

    assert test.loss == loss
    assert test.loss_low == pytest.approx(loss - stats.norm.ppf(0.99) * 5)


@pytest.mark.parametrize(
    ("metric", "now", "before", "tolerance", "limit"),
    [("accuracy", 0.5, 0.75, 0.25, 0.25), ("mae", 3.0, 2.0, 0.5, 1.0), ("rmse", 5.0, 4.0, 0.25, 1.0), ("log_loss", 0.75, 0.5, 0.5, 0.25)],
)
def test_a_loss_must_exceed_the_tolerance_in_the_metrics_unit_or_as_a_share(
    metric: str, now: float, before: float, tolerance: float, limit: float
) -> None:
    live, baseline = with_error(metric, now, 0), with_error(metric, before, 0)

    at, below = (compare(live, baseline, source="x", level=0.5, tolerance=t, through_us=0) for t in (tolerance, tolerance * 0.999))

    assert (at.tolerance, at.is_degraded, below.is_degraded) == (limit, False, True)


def test_a_result_is_a_sentence_and_plain_json() -> None:
    live, baseline = Score("mae", 2.51234567, 2.4, 2.6, 400, 0.123456789), Score("mae", 2.0, 1.9, 2.1, 3000)
    worse = compare(live, baseline, source="holdout", level=0.01, tolerance=0.02, through_us=7)
    same = compare(baseline, baseline, source="its first live rows", level=0.01, tolerance=0.02, through_us=7)

    assert worse.sentence() == (
        "mae 2.512 [2.4, 2.6] on 400 labelled rows is worse than baseline 2 (holdout, 3000 rows), tolerance 0.04; "
        "12% of these predictions are labelled"
    )
    assert "on 3000 labelled rows is within baseline 2 (its first live rows, 3000 rows)" in same.sentence()
    assert worse.to_dict() == {
        "live": {"metric": "mae", "value": 2.512346, "low": 2.4, "high": 2.6, "n": 400, "coverage": 0.123457},
        "baseline": {"metric": "mae", "value": 2.0, "low": 1.9, "high": 2.1, "n": 3000, "coverage": 1.0},
        "source": "holdout",
        "loss": 0.512346,
        "loss_low": round(0.51234567 - stats.norm.ppf(0.99) * 0.1 * 2**0.5 / 1.959964, 6),
        "tolerance": 0.04,
        "is_degraded": True,
        "through_us": 7,
    }
