"""Live scores, their intervals, and when they are worse."""

import numpy as np
import pytest

from monitoring.performance import Score, choose_baseline, compare, score
from training.prediction import Prediction


def answers(seed: int, n: int, accuracy: float) -> tuple[np.ndarray, Prediction]:
    rng = np.random.default_rng(seed)
    y = rng.choice(np.array(["no", "yes"], dtype=object), n)
    right = rng.random(n) < accuracy
    said = np.where(right, y, np.where(y == "yes", "no", "yes")).astype(object)
    p = np.where(said == "yes", 0.8, 0.2)
    return y, Prediction(said, np.column_stack([1 - p, p]), ("no", "yes"))


def scored(seed: int, n: int, accuracy: float, metric: str = "accuracy") -> Score:
    found = score(*answers(seed, n, accuracy), metric)
    assert found is not None
    return found


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc"])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(metric: str) -> None:
    truth = scored(0, 200_000, 0.8, metric).value

    found = [scored(seed, 400, 0.8, metric) for seed in range(1, 121)]

    assert 0.88 < np.mean([s.low <= truth <= s.high for s in found]) <= 1.0


def test_rows_that_come_in_alike_runs_give_a_wider_interval() -> None:
    y, said = answers(0, 2000, 0.8)
    order = np.argsort(said.label == y, kind="stable").reshape(20, 100).T.ravel()
    mixed, runs = score(y[order], said.take(order), "accuracy"), score(*_sorted(y, said), "accuracy")

    assert mixed is not None
    assert runs is not None
    assert runs.high - runs.low > 3 * (mixed.high - mixed.low)


def _sorted(y: np.ndarray, said: Prediction) -> tuple[np.ndarray, Prediction]:
    order = np.argsort(said.label == y, kind="stable")
    return y[order], said.take(order)


def test_a_metric_without_a_value_gives_no_score() -> None:
    y, said = answers(0, 200, 0.8)

    assert score(np.full(200, "no", dtype=object), said, "roc_auc") is None
    assert score(y[:10], said.take(slice(0, 10)), "accuracy") is None


def test_an_unchanged_model_is_rarely_called_worse() -> None:
    baseline = scored(0, 3000, 0.8)

    worse = [
        compare(scored(s, 400, 0.8), baseline, source="x", level=0.01, tolerance=0.02, through_us=0).is_degraded for s in range(1, 200)
    ]

    assert np.mean(worse) <= 0.01


def test_a_clear_loss_is_called_worse_with_its_size() -> None:
    found = compare(scored(1, 400, 0.6), scored(0, 3000, 0.8), source="holdout", level=0.01, tolerance=0.02, through_us=7)

    assert found.is_degraded
    assert found.loss == pytest.approx(0.2, abs=0.07)
    assert (found.live.n, found.through_us) == (400, 7)
    assert "is worse than" in found.sentence()


def test_a_better_model_is_never_called_worse_whatever_the_direction() -> None:
    better, base = scored(1, 400, 0.95, "log_loss"), scored(0, 3000, 0.8, "log_loss")

    found = compare(better, base, source="holdout", level=0.01, tolerance=0.02, through_us=0)

    assert found.loss < 0
    assert not found.is_degraded


def test_the_first_live_rows_are_the_baseline_unless_they_were_bad_already() -> None:
    promised, same, bad = scored(0, 3000, 0.8), scored(1, 400, 0.8), scored(2, 400, 0.6)

    assert choose_baseline(promised, same, level=0.01, tolerance=0.02) == (same, "its first live rows")
    assert choose_baseline(promised, bad, level=0.01, tolerance=0.02) == (promised, "holdout")
    assert choose_baseline(promised, None, level=0.01, tolerance=0.02) == (promised, "holdout")
    assert choose_baseline(None, None, level=0.01, tolerance=0.02) is None
