"""The constant guess is the best one there is, in hindsight."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from training.evaluation.constant_guess import constant_guess
from training.evaluation.losses import METRICS
from training.schema.costs import Costs


def test_it_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y, values = rng.choice(np.array(["a", "b", "c"], object), 999, p=[0.2, 0.5, 0.3]), rng.gamma(2.0, 1.0, 999)
    x = np.zeros((999, 1))

    classes = constant_guess(y, ("a", "b", "c"))
    numbers = constant_guess(values, None)

    assert classes.probability == pytest.approx(DummyClassifier(strategy="prior").fit(x, y.astype(str)).predict_proba(x))
    assert set(classes.label) == {"b"}
    assert numbers.label == pytest.approx(DummyRegressor(strategy="median").fit(x, values).predict(x))


def test_no_other_constant_has_a_lower_loss() -> None:
    y = np.array(["no"] * 30 + ["yes"] * 10, object)
    best = METRICS["log_loss"].function(y, constant_guess(y, ("no", "yes")))

    others = [
        METRICS["log_loss"].function(y, constant_guess(np.array(["no"] * (40 - n) + ["yes"] * n, object), ("no", "yes")))
        for n in (1, 5, 20, 39)
    ]

    assert best < min(others)


def test_rows_weigh_as_much_as_they_stand_for() -> None:
    y, values = np.array(["no", "yes"], object), np.array([1.0, 2.0, 3.0])

    assert constant_guess(y, ("no", "yes"), np.array([1.0, 3.0])).probability[0].tolist() == [0.25, 0.75]
    assert constant_guess(values, None, np.array([1.0, 1.0, 9.0])).label.tolist() == [3.0] * 3


def test_with_costs_the_class_is_decided_that_costs_least() -> None:
    y = np.array(["well"] * 9 + ["ill"], object)
    costs = Costs(("well", "ill"), ((0.0, 1.0), (20.0, 0.0)))

    assert set(constant_guess(y, ("well", "ill"), costs=costs).label) == {"ill"}
    assert set(constant_guess(y, ("well", "ill")).label) == {"well"}


def test_labels_that_no_model_knows_leave_an_even_guess() -> None:
    assert constant_guess(np.array(["other"], object), ("a", "b")).probability[0].tolist() == [0.5, 0.5]
