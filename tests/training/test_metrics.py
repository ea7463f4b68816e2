import numpy as np
import pytest
from sklearn import metrics as reference

from training.metrics import METRICS, log_losses
from training.prediction import Prediction

RNG = np.random.default_rng(0)
N = 500


def said(classes: tuple[str, ...]) -> tuple[np.ndarray, Prediction]:
    probability = RNG.dirichlet(np.ones(len(classes)), N)
    names = np.array(classes, object)
    y = names[[RNG.choice(len(classes), p=row) for row in probability]]
    return y, Prediction(names[probability.argmax(axis=1)], probability, classes)


TWO = said(("no", "yes"))
THREE = said(("a", "b", "c"))


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


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.per_row_loss and n not in {"accuracy", "rmse"}])
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


def test_gain_is_positive_for_the_better_whatever_the_direction() -> None:
    assert METRICS["accuracy"].gain(0.9, 0.8) > 0
    assert METRICS["mae"].gain(0.8, 0.9) > 0
