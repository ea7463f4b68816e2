import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as reference

from training.evaluation.losses import (
    METRICS,
    absolute_errors,
    auc_parts,
    brier_losses,
    calibration_table,
    class_index,
    confusion,
    confusion_scores,
    log_losses,
    midranks,
    miss,
    squared_errors,
    true_probability,
)
from training.schema.prediction import Prediction

RNG = np.random.default_rng(0)
N = 500


def answers(classes: tuple[str, ...]) -> tuple[np.ndarray, Prediction]:
    probability = RNG.dirichlet(np.ones(len(classes)), N)
    names = np.array(classes, object)
    y = names[[RNG.choice(len(classes), p=row) for row in probability]]
    return y, Prediction(names[probability.argmax(axis=1)], probability, classes)


TWO = answers(("no", "yes"))
THREE = answers(("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("accuracy", lambda y, p: reference.accuracy_score(y, p.label)),
        ("balanced_accuracy", lambda y, p: reference.balanced_accuracy_score(y, p.label)),
        ("precision", lambda y, p: reference.precision_score(y, p.label, pos_label="yes")),
        ("recall", lambda y, p: reference.recall_score(y, p.label, pos_label="yes")),
        ("f1", lambda y, p: reference.f1_score(y, p.label, pos_label="yes")),
        ("roc_auc", lambda y, p: reference.roc_auc_score(y == "yes", p.score)),
        ("log_loss", lambda y, p: reference.log_loss(y, p.probability, labels=["no", "yes"])),
        ("brier", lambda y, p: reference.brier_score_loss(y == "yes", p.score)),
    ],
)
def test_a_binary_metric_is_the_one_of_scikit_learn(name: str, theirs: object) -> None:
    y, prediction = TWO

    assert METRICS[name].function(y, prediction) == pytest.approx(theirs(y.astype(str), prediction))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("precision", lambda y, p: reference.precision_score(y, p.label.astype(str), average="macro")),
        ("f1", lambda y, p: reference.f1_score(y, p.label.astype(str), average="macro")),
        ("roc_auc", lambda y, p: reference.roc_auc_score(y, p.probability, multi_class="ovr")),
        ("log_loss", lambda y, p: reference.log_loss(y, p.probability)),
    ],
)
def test_a_metric_of_several_classes_is_the_one_of_scikit_learn(name: str, theirs: object) -> None:
    y, prediction = THREE

    assert METRICS[name].function(y, prediction) == pytest.approx(theirs(y.astype(str), prediction))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mae", reference.mean_absolute_error), ("rmse", reference.root_mean_squared_error), ("r2", reference.r2_score)],
)
def test_a_metric_of_numbers_is_the_one_of_scikit_learn(name: str, theirs: object) -> None:
    y = RNG.normal(size=N)
    label = y + RNG.normal(size=N)

    assert METRICS[name].function(y, Prediction(label)) == pytest.approx(theirs(y, label))  # type: ignore[operator]


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.per_row_loss and n != "accuracy"])
def test_the_mean_of_the_row_losses_is_the_metric(name: str) -> None:
    numbers = (RNG.normal(size=N), Prediction(RNG.normal(size=N)))
    y, prediction = numbers if "regression" in METRICS[name].tasks else THREE
    loss = METRICS[name].per_row_loss

    assert loss is not None
    assert loss(y, prediction).mean() == pytest.approx(METRICS[name].function(y, prediction))


def test_a_class_the_model_does_not_know_costs_the_most_and_breaks_nothing() -> None:
    _, prediction = THREE
    strange = np.full(N, "z", object)

    assert log_losses(strange, prediction) == pytest.approx(np.full(N, 16.118), abs=1e-3)
    assert METRICS["accuracy"].function(strange, prediction) == 0
    assert METRICS["brier"].function(strange, prediction) > 1
    assert np.isnan(METRICS["roc_auc"].function(strange, prediction))


def test_probabilities_drawn_from_themselves_are_calibrated() -> None:
    assert METRICS["calibration_error"].function(*TWO) < 0.08


# exact, on rows by hand


def labels(text: str) -> np.ndarray:
    return np.array(text.split(), object)


def binary(score: list[float], label: str = "") -> Prediction:
    positive = np.array(score)
    given = labels(label) if label else np.where(positive > 0.5, "yes", "no").astype(object)
    return Prediction(given, np.column_stack([1 - positive, positive]), ("no", "yes"))


ABC = Prediction(labels("a a c b"), np.array([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2], [0.1, 0.2, 0.7], [0.25, 0.5, 0.25]]), ("a", "b", "c"))
Loss = Callable[[np.ndarray, Prediction], np.ndarray]


@pytest.mark.parametrize(
    ("loss", "y", "prediction", "expected"),
    [
        pytest.param(miss, "a b c z", ABC, [0, 1, 0, 1], id="wrong labels"),
        pytest.param(true_probability, "a b c z", ABC, [0.5, 0.2, 0.7, 0], id="true probability"),
        pytest.param(log_losses, "a b c z", ABC, [math.log(2), math.log(5), -math.log(0.7), 7 * math.log(10)], id="log-loss"),
        pytest.param(brier_losses, "a b c z", ABC, [0.38, 1.04, 0.14, 1.375], id="brier, summed over the classes"),
        pytest.param(brier_losses, "no yes z", binary([0.25, 0.25, 0.25]), [0.0625, 0.5625, 0.8125], id="brier, of the positive class"),
    ],
)
def test_a_class_costs_what_its_probability_says(loss: Loss, y: str, prediction: Prediction, expected: list[float]) -> None:
    losses = loss(labels(y), prediction)

    assert losses.dtype == np.float64
    assert losses == pytest.approx(expected)


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(1e-9, 7 * math.log(10)), (1e-7, 7 * math.log(10)), (1.5e-7, -math.log(1.5e-7)), (1.0, 0.0), (1.0 + 2e-16, 0.0)],
)
def test_the_log_loss_is_cut_below_one_in_ten_million_and_above_one(probability: float, expected: float) -> None:
    assert log_losses(labels("yes"), binary([probability])) == pytest.approx([expected], abs=0)


@pytest.mark.parametrize("loss", [true_probability, log_losses, brier_losses, auc_parts, calibration_table])
@pytest.mark.parametrize("prediction", [Prediction(labels("yes no")), Prediction(labels("yes no"), None, ("no", "yes"))])
def test_labels_alone_have_no_loss_of_probabilities(loss: Loss, prediction: Prediction) -> None:
    with pytest.raises(ValueError, match=r"^this prediction has no probabilities$"):
        loss(labels("yes no"), prediction)


@pytest.mark.parametrize("parts", [auc_parts, calibration_table])
def test_probabilities_of_no_known_class_are_none(parts: Loss) -> None:
    with pytest.raises(ValueError, match=r"^this prediction has no probabilities$"):
        parts(labels("yes no"), Prediction(labels("yes no"), np.eye(2)))


@pytest.mark.parametrize("kind", [object, np.float32, np.float64])
def test_errors_of_numbers_are_floats_whatever_the_numbers_are(kind: type) -> None:
    y, label = np.array([1.0, 2.0, -3.0], kind), Prediction(np.array([1.5, 0.0, -3.0], kind))

    for loss, expected in [(absolute_errors, [0.5, 2, 0]), (squared_errors, [0.25, 4, 0])]:
        for labels, answer in [(y, label), (y.astype(np.float64), label), (y, Prediction(label.label.astype(np.float64)))]:
            assert loss(labels, answer).dtype == np.float64
            assert loss(labels, answer).tolist() == expected
    assert METRICS["r2"].function(y, label) == pytest.approx(1 - 4.25 / 14)


def test_r2_does_not_lean_on_how_numbers_are_kept() -> None:
    y = RNG.normal(100, 1, N).astype(np.float32)
    prediction = Prediction(y + RNG.normal(size=N))

    assert METRICS["r2"].function(y, prediction) == METRICS["r2"].function(y.astype(np.float64), prediction)


@pytest.mark.parametrize(
    ("y", "classes", "places"), [("b a z b", ("a", "b"), [1, 0, -1, 1]), ("a b", None, [-1, -1]), ("", ("a", "b"), [])]
)
def test_a_label_has_the_place_of_its_class(y: str, classes: tuple[str, ...] | None, places: list[int]) -> None:
    place = class_index(labels(y), classes)

    assert (place.tolist(), place.dtype) == (places, np.intp)


@pytest.mark.parametrize(
    ("y", "prediction", "table"),
    [
        pytest.param("no yes yes no", binary([0.1, 0.9, 0.2, 0.7]), [[1, 1], [1, 1]], id="binary"),
        pytest.param("b b a", Prediction(labels("a b b"), None, ("b", "a")), [[1, 1], [1, 0]], id="the order of the classes is kept"),
        pytest.param(
            "b z a", Prediction(labels("b a y"), None, ("b", "a")), [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]],
            id="strange ones follow by name",
        ),
        pytest.param("q p p", Prediction(labels("q q p")), [[1, 1], [0, 1]], id="no known classes"),
    ],
)  # fmt: skip
def test_true_classes_are_counted_against_predicted_ones(y: str, prediction: Prediction, table: list[list[int]]) -> None:
    counted = confusion(labels(y), prediction)

    assert (counted.tolist(), counted.dtype) == (table, np.int64)


NAN = math.nan
SCORES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")


@pytest.mark.parametrize(
    ("table", "binary", "expected"),
    [
        pytest.param([[6, 2], [1, 3]], True, (9 / 12, 3 / 4, 3 / 5, 3 / 4, 6 / 9), id="binary scores the last class"),
        pytest.param([[6, 2], [1, 3]], False, (9 / 12, 3 / 4, (6 / 7 + 3 / 5) / 2, 3 / 4, (12 / 15 + 6 / 9) / 2), id="others the mean"),
        pytest.param([[6, 0], [4, 0]], True, (6 / 10, 1 / 2, 0, 0, 0), id="never predicted"),
        pytest.param([[6, 2], [0, 0]], True, (6 / 8, 6 / 8, 0, NAN, NAN), id="predicted and never true"),
        pytest.param([[6, 0], [0, 0]], True, (1, 1, NAN, NAN, NAN), id="neither"),
        pytest.param([[3, 1, 1], [0, 0, 0], [1, 0, 1]], False, (4 / 7, 0.55, 5 / 8, 0.55, 7 / 12), id="the mean is over true classes"),
        pytest.param([[0, 0], [0, 0]], False, (NAN,) * 5, id="no row"),
    ],
)
def test_scores_of_a_confusion_table_are_exact(table: list[list[int]], binary: bool, expected: tuple[float, ...]) -> None:
    scores = confusion_scores(np.array(table), binary=binary)
    stacked = confusion_scores(np.array([[table], [np.multiply(table, 2).tolist()]]), binary=binary)

    assert {name: float(v) for name, v in scores.items()} == pytest.approx(dict(zip(SCORES, expected, strict=True)), nan_ok=True)
    for name, value in zip(SCORES, expected, strict=True):
        assert stacked[name] == pytest.approx(np.full((2, 1), value), nan_ok=True), "tables of the same shares score the same"


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("classes", "place"),
    [(("no", "yes"), 0), (("no", "yes", "maybe"), 1), (None, 1)],
    ids=["two classes", "three", "none known"],
)
def test_only_two_known_classes_have_a_positive_one(name: str, classes: tuple[str, ...] | None, place: int) -> None:
    y, label = labels("yes " * 4 + "no " * 8), labels("yes " * 3 + "no " * 7 + "yes " * 2)
    expected = [(9 / 12, 3 / 4, 3 / 5, 3 / 4, 6 / 9), (9 / 12, 3 / 4, (6 / 7 + 3 / 5) / 2, 3 / 4, (12 / 15 + 6 / 9) / 2)][place]

    assert METRICS[name].function(y, Prediction(label, None, classes)) == pytest.approx(expected[SCORES.index(name)])


@pytest.mark.parametrize("name", list(METRICS))
def test_no_row_has_no_score(name: str) -> None:
    none = Prediction(np.array([])) if "regression" in METRICS[name].tasks else binary([])

    assert math.isnan(METRICS[name].function(none.label, none))


def test_the_placements_of_a_roc_curve_count_ties_half() -> None:
    (parts,) = auc_parts(labels("yes no yes no no"), binary([0.9, 0.2, 0.6, 0.6, 0.95]))

    ups, downs = parts
    assert ups.tolist() == pytest.approx([2 / 3, (1 + 0.5) / 3])
    assert downs.tolist() == pytest.approx([1, 0.75, 0])


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        pytest.param("a b c c", (1 / 2 + 1 / 3 + 7 / 8) / 3, id="all classes"),
        pytest.param("a a c c", (7 / 8 + 7 / 8) / 2, id="a class without rows asks nothing"),
        pytest.param("a a a z", 1, id="a strange one is of the rest"),
        pytest.param("a a a a", NAN, id="one class only"),
    ],
)
def test_the_area_of_several_classes_is_the_mean_of_one_against_the_rest(y: str, expected: float) -> None:
    columns = np.array([[0.4, 0.2, 0.4], [0.5, 0.2, 0.3], [0.4, 0.2, 0.4], [0.1, 0.4, 0.5]])

    assert METRICS["roc_auc"].function(labels(y), Prediction(labels(y), columns, ("a", "b", "c"))) == pytest.approx(expected, nan_ok=True)


def table_of(bins: dict[int, tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    return [bins.get(place, (0.0, 0.0, 0.0)) for place in range(10)]


def test_a_binary_calibration_table_counts_the_positive_class() -> None:
    y, prediction = labels("no yes yes no yes no"), binary([0.0, 0.05, 0.25, 0.5, 0.95, 1.0])

    expected = {0: (2, 0.05, 1), 2: (1, 0.25, 1), 5: (1, 0.5, 0), 9: (2, 1.95, 1)}
    assert calibration_table(y, prediction) == pytest.approx(np.array(table_of(expected)))
    assert METRICS["calibration_error"].function(y, prediction) == pytest.approx((0.95 + 0.75 + 0.5 + 0.95) / 6)


def test_a_calibration_table_of_several_classes_counts_right_labels() -> None:
    assert calibration_table(labels("a b c b"), ABC) == pytest.approx(np.array(table_of({5: (2, 1, 2), 6: (1, 0.6, 0), 7: (1, 0.7, 1)})))


@pytest.mark.parametrize("y", [[0.1, 0.1, 0.1], [5.0] * 7, [0.3] * 400, [2.0]])
def test_of_labels_that_do_not_vary_nothing_can_be_explained(y: list[float]) -> None:
    assert math.isnan(METRICS["r2"].function(np.array(y), Prediction(np.zeros(len(y)))))


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0, 3.0, 1.0])).tolist() == [5, 1.5, 5, 3, 5, 1.5]


@pytest.mark.parametrize("name", list(METRICS))
def test_a_gain_is_the_difference_to_the_better_side(name: str) -> None:
    falls = {"log_loss", "brier", "calibration_error", "mae", "rmse"}

    assert METRICS[name].gain(3.0, 1.5) == (-1.5 if name in falls else 1.5)


@pytest.mark.parametrize("name", list(METRICS))
def test_a_metric_is_of_numbers_or_of_both_kinds_of_classes(name: str) -> None:
    assert METRICS[name].tasks == (("regression",) if name in {"mae", "rmse", "r2"} else ("binary", "multiclass"))
