import json

import numpy as np
import pytest

from training.evaluation import METRICS, Metrics, estimate, evaluate
from training.prediction import Prediction
from training.rows import Rows
from training.schema import Feature, Schema

SCHEMA = Schema((Feature("c", "categorical", nullable=True),), "y", "binary")


def draw(seed: int, n: int = 400) -> tuple[np.ndarray, Prediction]:
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 3, n)
    y = np.where(rng.random(n) < score, "yes", "no").astype(object)
    return y, Prediction(np.where(score > 0.5, "yes", "no").astype(object), np.column_stack([1 - score, score]), ("no", "yes"))


def numbers(seed: int, n: int = 400) -> tuple[np.ndarray, Prediction]:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    return y, Prediction(y + rng.normal(size=n))


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if n != "calibration_error"])
def test_an_interval_of_95_percent_holds_the_truth_about_as_often(name: str) -> None:
    make = numbers if "regression" in METRICS[name].tasks else draw
    truth = METRICS[name].function(*make(10_000, 200_000))

    held = [e.low <= truth <= e.high for e in (estimate(METRICS[name], *make(seed)) for seed in range(200))]

    assert 0.9 <= np.mean(held) <= 0.995


@pytest.mark.parametrize("name", list(METRICS))
def test_an_interval_holds_its_value_and_no_rows_give_nothing(name: str) -> None:
    y, prediction = (numbers if "regression" in METRICS[name].tasks else draw)(0)

    whole, none = estimate(METRICS[name], y, prediction), estimate(METRICS[name], y[:0], prediction.take(slice(0, 0)))

    assert whole.low <= whole.value <= whole.high
    assert (none.n, np.isnan(none.value)) == (0, True)


def test_rows_of_one_class_are_scored_where_that_means_something() -> None:
    _, prediction = draw(0)
    rows = Rows({"c": np.full(400, "a", object)}, np.full(400, "no", object), np.arange(400))

    metrics = evaluate(rows, prediction, SCHEMA)

    assert np.isnan(metrics["roc_auc"].value)
    assert metrics["accuracy"].value > 0


def test_segments_are_scored_apart_and_small_ones_left_out() -> None:
    y, prediction = draw(0)
    values = np.array(["big"] * 300 + [None] * 95 + ["tiny"] * 5, object)

    metrics = evaluate(Rows({"c": values}, y, np.arange(400)), prediction, SCHEMA, ["c"])

    assert {value: scores["accuracy"].n for value, scores in metrics.segments["c"].items()} == {"big": 300, "(missing)": 95}


def test_metrics_survive_json() -> None:
    y, prediction = draw(0)
    metrics = evaluate(Rows({"c": np.full(400, "a", object)}, y, np.arange(400)), prediction, SCHEMA, ["c"])

    assert Metrics.from_dict(json.loads(json.dumps(metrics.to_dict()))) == metrics
