import json
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from training.evaluation.losses import METRICS, Metric, cost_metric, range_of
from training.evaluation.scores import Estimate, Metrics, estimate, evaluate, wilson
from training.schema.costs import Costs
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Rows
from training.schema.schema import Schema

NAN = math.nan
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
def test_an_interval_of_95_percent_holds_the_true_score_about_as_often(name: str) -> None:
    make = numbers if "regression" in METRICS[name].tasks else draw
    expected = METRICS[name].function(*make(10_000, 200_000))

    held = [e.low <= expected <= e.high for e in (estimate(METRICS[name], *make(seed)) for seed in range(200))]

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


def test_metrics_are_plain_json_and_come_back() -> None:
    exact, unknown = Estimate(0.5, 0.25, 0.75, 8), Estimate(math.nan, math.nan, math.nan, 0)
    metrics = Metrics({"accuracy": exact, "roc_auc": unknown}, {"c": {"a": {"accuracy": exact}}})
    stored = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}

    again = Metrics.from_dict(json.loads(json.dumps(metrics.to_dict())))

    assert metrics.to_dict() == {
        "overall": {"accuracy": stored, "roc_auc": {"value": None, "low": None, "high": None, "n": 0}},
        "segments": {"c": {"a": {"accuracy": stored}}},
    }
    assert (again["accuracy"], again.segments, list(again)) == (exact, metrics.segments, ["accuracy", "roc_auc"])
    assert np.isnan([again["roc_auc"].value, again["roc_auc"].low, again["roc_auc"].high]).all()


def test_an_estimate_reads_as_a_value_with_its_interval() -> None:
    assert str(Estimate(0.123456, 0.1, 0.23456789, 10)) == "0.1235 [0.1, 0.2346]"


# exact


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (8, 10), (3, 7), (500, 1000), (0, 27), (16, 16)])
def test_the_interval_of_a_proportion_is_the_one_of_scipy(hits: int, n: int) -> None:
    theirs = binomtest(hits, n).proportion_ci(0.95, method="wilson")

    assert wilson(hits, n) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_a_proportion_stays_between_nothing_and_all() -> None:
    """Rounding alone would leave the range at 0 of 27 and at 16 of 16."""
    assert (wilson(0, 27)[0], wilson(16, 16)[1]) == (0.0, 1.0)


@pytest.mark.parametrize("n", [0, -1])
def test_a_proportion_of_nothing_is_not_known(n: int) -> None:
    assert np.isnan(wilson(0, n)).all()


def same(estimated: Estimate, expected: tuple[float, float, float, int]) -> bool:
    return (estimated.value, estimated.low, estimated.high, estimated.n) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("accuracy", lambda y, p: (y == p.label, np.ones(len(y), bool))),
        ("precision", lambda y, p: (y == "yes", p.label == "yes")),
        ("recall", lambda y, p: (p.label == "yes", y == "yes")),
    ],
)
def test_a_binary_share_has_the_interval_of_its_own_cases(name: str, of: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    y, prediction = draw(3)
    hit, cases = of(y, prediction)
    theirs = binomtest(int((hit & cases).sum()), int(cases.sum())).proportion_ci(0.95, method="wilson")

    estimated = estimate(METRICS[name], y, prediction)

    assert same(estimated, ((hit & cases).sum() / cases.sum(), theirs.low, theirs.high, cases.sum()))


@pytest.mark.parametrize("name", ["log_loss", "brier", "mae"])
def test_a_mean_has_the_normal_interval_of_its_standard_error(name: str) -> None:
    y, prediction = (numbers if name == "mae" else draw)(3)
    loss = METRICS[name].per_row_loss
    assert loss is not None
    losses = loss(y, prediction)

    low, high = norm.interval(0.95, losses.mean(), losses.std() / 20)

    assert same(estimate(METRICS[name], y, prediction), (losses.mean(), low, high, 400))


def test_the_interval_of_a_root_mean_square_is_the_delta_methods() -> None:
    y, prediction = numbers(3)
    squares = (y - prediction.label) ** 2
    root = math.sqrt(squares.mean())

    low, high = norm.interval(0.95, root, squares.std() / 20 / (2 * root))

    assert same(estimate(METRICS["rmse"], y, prediction), (root, low, high, 400))


def test_the_interval_of_r2_is_the_delta_methods() -> None:
    """Of the ratio a / b of two means: its error is that of the mean of (a - ratio * b) / mean(b)."""
    y, prediction = numbers(3)
    squares, spread = (y - prediction.label) ** 2, (y - y.mean()) ** 2
    ratio = squares.mean() / spread.mean()
    covariance = np.cov(squares, spread, ddof=0)
    variance = (covariance[0, 0] - 2 * ratio * covariance[0, 1] + ratio**2 * covariance[1, 1]) / spread.mean() ** 2 / 400

    low, high = norm.interval(0.95, 1 - ratio, math.sqrt(variance))

    assert same(estimate(METRICS["r2"], y, prediction), (1 - ratio, low, high, 400))


def test_the_interval_of_r2_does_not_lean_on_how_numbers_are_kept() -> None:
    y, prediction = numbers(3)
    short, label = (y + 100).astype(np.float32), Prediction(prediction.label + 100)

    assert estimate(METRICS["r2"], short, label) == estimate(METRICS["r2"], short.astype(np.float64), label)


def test_no_error_has_no_interval_and_none_is_above_one() -> None:
    y = np.array([0.0, 1.0, 2.0, 3.0])

    assert estimate(METRICS["rmse"], y, Prediction(y)) == Estimate(0.0, 0.0, 0.0, 4)
    assert estimate(METRICS["r2"], y, Prediction(np.array([0.0, 1.0, 2.0, 4.0]))).high == 1.0
    assert estimate(METRICS["r2"], y, Prediction(-y * 5)).low < 0


@pytest.mark.parametrize("name", list(METRICS))
def test_an_interval_stays_within_what_the_metric_can_be(name: str) -> None:
    """Of two rows, one of them far off, a normal interval would go far beyond."""
    yes, wrong = np.array(["yes", "yes"], object), np.array([[0.001, 0.999], [0.999, 0.001]])
    two = Prediction(np.array(["yes", "no"], object), wrong, ("no", "yes"))
    is_number = "regression" in METRICS[name].tasks

    estimated = estimate(METRICS[name], np.zeros(2), Prediction(np.array([0.0, 9.0]))) if is_number else estimate(METRICS[name], yes, two)
    costly = estimate(cost_metric(Costs(("no", "yes"), ((0.0, 1.0), (20.0, 0.0)))), yes, two)

    least, most = range_of(name)
    assert np.isnan(estimated.value) or least <= estimated.low <= estimated.value <= estimated.high <= most
    assert name not in ("log_loss", "brier", "mae") or estimated.low == least
    assert (costly.low, costly.value) == (0.0, 10.0)


def delong(score: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Area and standard error from every pair of a positive and a negative row."""
    wins = np.sign(score[positive][:, None] - score[~positive][None, :]) / 2 + 0.5
    return wins.mean(), math.sqrt(wins.mean(axis=1).var() / len(wins) + wins.mean(axis=0).var() / wins.shape[1])


def test_the_interval_of_a_roc_area_is_delongs() -> None:
    y, prediction = draw(3)
    area, error = delong(prediction.score.round(1), y == "yes")
    rounded = Prediction(prediction.label, np.column_stack([1 - prediction.score, prediction.score.round(1)]), prediction.classes)

    low, high = norm.interval(0.95, area, error)

    assert same(estimate(METRICS["roc_auc"], y, rounded), (area, low, high, 400))


def test_the_error_of_several_roc_areas_is_the_mean_of_theirs() -> None:
    y, prediction = three(3)
    areas = [delong(prediction.probability[:, place], y == name) for place, name in enumerate("abc")]
    area, error = np.mean(areas, axis=0)

    low, high = norm.interval(0.95, area, error)

    assert same(estimate(METRICS["roc_auc"], y, prediction), (area, low, high, 300))


@pytest.mark.parametrize(
    ("score", "low", "high"),
    [([0.2, 0.1, 0.8, 0.9], 1, 1), ([0.8, 0.9, 0.2, 0.1], 0, 0), ([0.1, 0.6, 0.5, 0.9], None, 1), ([0.9, 0.5, 0.6, 0.1], 0, None)],
    ids=["all right", "all wrong", "nearly right", "nearly wrong"],
)
def test_a_roc_area_stays_between_nothing_and_all(score: list[float], low: float | None, high: float | None) -> None:
    column = np.array(score)
    prediction = Prediction(np.array(["no"] * 4, object), np.column_stack([1 - column, column]), ("no", "yes"))

    estimated = estimate(METRICS["roc_auc"], np.array(["no", "no", "yes", "yes"], object), prediction)

    assert low is None or estimated.low == low
    assert high is None or estimated.high == high


def three(seed: int, n: int = 300) -> tuple[np.ndarray, Prediction]:
    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c"], object)
    probability = rng.dirichlet(np.ones(3), n).round(2)
    y = names[[rng.choice(3, p=row / row.sum()) for row in probability]]
    return y, Prediction(names[probability.argmax(axis=1)], probability, ("a", "b", "c"))


def tables_drawn(y: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Four hundred tables of as many rows, true class by predicted class, drawn from the cells of the table itself."""
    names = prediction.classes or ()
    table = np.array([[((y == true) & (prediction.label == guess)).sum() for guess in names] for true in names])
    draws = np.random.default_rng(0).multinomial(len(y), table.ravel() / len(y), 400)
    return draws.reshape(400, len(names), len(names)).astype(float)


def recalls(tables: np.ndarray) -> np.ndarray:
    return np.diagonal(tables, axis1=1, axis2=2) / tables.sum(axis=2)


def precisions(tables: np.ndarray) -> np.ndarray:
    return np.diagonal(tables, axis1=1, axis2=2) / tables.sum(axis=1)


def f1s(tables: np.ndarray) -> np.ndarray:
    return 2 / (1 / recalls(tables) + 1 / precisions(tables))


@pytest.mark.parametrize(
    ("name", "make", "of"),
    [
        ("balanced_accuracy", draw, lambda t: recalls(t).mean(axis=1)),
        ("balanced_accuracy", three, lambda t: recalls(t).mean(axis=1)),
        ("recall", three, lambda t: recalls(t).mean(axis=1)),
        ("precision", three, lambda t: precisions(t).mean(axis=1)),
        ("f1", draw, lambda t: f1s(t)[:, -1]),
        ("f1", three, lambda t: f1s(t).mean(axis=1)),
    ],
)
def test_a_score_of_the_table_has_the_middle_of_four_hundred_drawn_tables(
    name: str, make: Callable[[int], tuple[np.ndarray, Prediction]], of: Callable[[np.ndarray], np.ndarray]
) -> None:
    y, prediction = make(3)

    estimated = estimate(METRICS[name], y, prediction)

    low, high = np.percentile(of(tables_drawn(y, prediction)), [2.5, 97.5])
    assert same(estimated, (METRICS[name].function(y, prediction), low, high, len(y)))


def test_drawn_tables_that_do_not_define_the_score_are_left_out() -> None:
    y, label = np.array(["no", "no", "no", "yes"], object), np.array(["no", "yes", "yes", "yes"], object)
    prediction = Prediction(label, None, ("no", "yes"))
    tables = tables_drawn(y, prediction)
    scores = 2 * tables[:, 1, 1] / np.maximum(2 * tables[:, 1, 1] + tables[:, 0, 1] + tables[:, 1, 0], 1)

    low, high = np.percentile(scores[tables[:, 1].sum(axis=1) > 0], [2.5, 97.5])

    assert same(estimate(METRICS["f1"], y, prediction), (0.5, low, high, 4))


def test_a_calibration_error_has_the_middle_of_four_hundred_drawn_outcomes_and_holds_its_value() -> None:
    rows, confidence, positive = np.array([100, 99, 100, 1, 100]), np.array([0.05, 0.35, 0.65, 0.75, 1.0]), np.array([20, 40, 55, 1, 95])
    score = np.repeat(confidence, rows)
    y = np.concatenate([["yes"] * k + ["no"] * (n - k) for n, k in zip(rows, positive, strict=True)]).astype(object)
    prediction = Prediction(np.where(score > 0.5, "yes", "no").astype(object), np.column_stack([1 - score, score]), ("no", "yes"))
    counts, shares, bins = np.zeros(10, int), np.zeros(10), [0, 3, 6, 7, 9]
    counts[bins], shares[bins] = rows, positive / rows
    drawn = np.random.default_rng(0).binomial(counts, shares, (400, 10))[:, bins]

    low, high = np.percentile(np.abs(drawn - rows * confidence).sum(axis=1) / 400, [2.5, 97.5])

    value = np.abs(positive - rows * confidence).sum() / 400
    assert same(estimate(METRICS["calibration_error"], y, prediction), (value, low, high, 400))


def test_an_interval_by_drawing_is_widened_to_its_value() -> None:
    score = np.full(100, 0.5)
    y = np.array(["yes", "no"] * 50, object)
    prediction = Prediction(y, np.column_stack([score, score]), ("no", "yes"))

    assert estimate(METRICS["calibration_error"], y, prediction).low == 0.0
    assert estimate(METRICS["balanced_accuracy"], y, prediction) == Estimate(1.0, 1.0, 1.0, 100)


@pytest.mark.parametrize(("n", "name"), [(0, "accuracy"), (1, "roc_auc"), (3, "roc_auc")])
def test_what_the_rows_do_not_define_has_their_number_and_no_interval(n: int, name: str) -> None:
    _, prediction = draw(0)

    estimated = estimate(METRICS[name], np.full(n, "no", object), prediction.take(slice(n)))

    assert np.isnan([estimated.value, estimated.low, estimated.high]).all()
    assert estimated.n == n


def test_one_row_has_a_score() -> None:
    assert estimate(METRICS["mae"], np.array([1.0]), Prediction(np.array([3.0]))) == Estimate(2.0, 2.0, 2.0, 1)


def test_a_metric_of_ones_own_needs_losses_to_have_an_interval() -> None:
    own = Metric("own", False, ("regression",), lambda y, p: 1.0)

    with pytest.raises(ValueError, match=r"^no interval is known for own$"):
        estimate(own, *numbers(0))


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("regression", ["mae", "rmse", "r2"]),
        (
            "binary",
            ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "calibration_error"],
        ),
    ],
)
def test_every_metric_of_the_task_is_scored(task: Literal["binary", "regression"], names: list[str]) -> None:
    y, prediction = (numbers if task == "regression" else draw)(0)
    rows = Rows({"c": np.full(400, "a", object)}, y, np.arange(400))

    metrics = evaluate(rows, prediction, Schema(SCHEMA.features, "y", task), ["c"])

    assert metrics.overall == {name: estimate(METRICS[name], y, prediction) for name in names}
    assert list(metrics) == names
    assert metrics.segments == {"c": {"a": metrics.overall}}
    assert evaluate(rows, prediction, Schema(SCHEMA.features, "y", task)).segments == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(["a"] * 20 + ["b"] * 19 + [None] * 21, {"(missing)": 21, "a": 20}, id="at least twenty rows"),
        pytest.param([0.5] * 20 + [2.0] * 30 + [NAN] * 25 + [1e6] * 22, {"2": 30, "(missing)": 25, "1e+06": 22, "0.5": 20}, id="numbers"),
        pytest.param(
            [f"{place:02}" for place in range(31) for _ in range(20)] + ["30"], {"30": 21} | {f"{p:02}": 20 for p in range(29)},
            id="the thirty most frequent, by name among equals",
        ),
    ],
)  # fmt: skip
def test_segments_have_bounds_and_names(values: list[object], expected: dict[str, int]) -> None:
    column = np.array(values, float if isinstance(values[0], float) else object)
    shuffled = column[np.random.default_rng(0).permutation(len(column))]
    y, prediction = draw(0, len(column))

    metrics = evaluate(Rows({"c": shuffled}, y, np.arange(len(y))), prediction, SCHEMA, ["c"])

    assert [(name, scores["accuracy"].n) for name, scores in metrics.segments["c"].items()] == list(expected.items())


def test_a_segment_is_scored_on_its_own_rows() -> None:
    (y, prediction), big = draw(0), np.arange(400) % 3 > 0
    rows = Rows({"c": np.where(big, "big", "small").astype(object)}, y, np.arange(400))

    segments = evaluate(rows, prediction, SCHEMA, ["c"]).segments["c"]

    assert segments["big"]["brier"] == estimate(METRICS["brier"], y[big], prediction.take(big))
    assert segments["small"]["brier"] == estimate(METRICS["brier"], y[~big], prediction.take(~big))
