from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize

from training.evaluation.losses import absolute_errors, log_losses
from training.mixing.maps import LEAST_ROWS, LEAST_SLOPE, PRIOR_ROWS, fit_map, mapped
from training.schema.prediction import Prediction
from training.schema.rows import object_column

NAMES = ("a", "b", "c", "d", "e")


def labels_of(codes: np.ndarray, classes: tuple[str, ...] = NAMES) -> np.ndarray:
    return object_column(classes)[codes]


def answers_of(logits: np.ndarray) -> Prediction:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability = exp / exp.sum(axis=1, keepdims=True)
    classes = NAMES[: logits.shape[1]]
    return Prediction(labels_of(probability.argmax(axis=1), classes), probability, classes)


def drawn(seed: int, n: int, k: int, slope: float, intercept: float = 0.0) -> tuple[Prediction, np.ndarray]:
    """Answers, and labels drawn as likely as they would be after a map."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, k))
    moved = slope * logits + np.where(np.arange(k) == k - 1, intercept, 0.0)
    codes = (moved + random.gumbel(size=(n, k))).argmax(axis=1)
    return answers_of(logits), labels_of(codes)


def numbers(seed: int, n: int, slope: float, intercept: float) -> tuple[Prediction, np.ndarray]:
    random = np.random.default_rng(seed)
    answered = random.gamma(2.0, 50.0, n)
    return Prediction(answered), slope * answered + intercept + random.laplace(0, 5, n)


def objective(answers: Prediction, y: np.ndarray, point: tuple[float, float]) -> float:
    """What a map of two classes minimises, spelled out with one intercept a class."""
    slope, intercept = point
    pull = (slope - 1) ** 2 + 0.25 * 2 * (intercept / 2) ** 2
    return float(log_losses(y, mapped(answers, point)).sum() + PRIOR_ROWS * pull)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.0), (1.0, 2.0), (1.6, -1.0)])
def test_a_map_of_two_classes_is_recovered_from_many_rows(slope: float, intercept: float) -> None:
    answers, y = drawn(1, 10_000, 2, slope, intercept)

    assert fit_map(answers, y) == pytest.approx((slope, intercept), abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_a_map_of_two_classes_is_where_its_objective_is_least(seed: int) -> None:
    answers, y = drawn(seed, 200, 2, 0.5, 1.0)

    best = minimize(lambda point: objective(answers, y, tuple(point)), np.array([1.0, 0.0]), method="BFGS", options={"gtol": 1e-7})

    assert fit_map(answers, y) == pytest.approx(tuple(best.x), abs=1e-4)


def test_several_classes_have_a_slope_and_no_intercept() -> None:
    answers, y = drawn(1, 5000, 5, 0.6)

    slope, intercept = fit_map(answers, y)

    assert slope == pytest.approx(0.6, abs=0.05)
    assert intercept == 0.0


@pytest.mark.parametrize("is_squared", [False, True])
def test_a_map_of_numbers_is_recovered_from_many_rows(is_squared: bool) -> None:
    answers, y = numbers(1, 5000, 1.4, -30.0)

    assert fit_map(answers, y, is_squared=is_squared) == pytest.approx((1.4, -30.0), rel=0.02)


def test_what_few_numbers_are_far_off_moves_the_map_of_squared_errors_only() -> None:
    answers, y = numbers(1, 1000, 1.0, 0.0)
    y[:20] += 5000.0

    robust, squared = (mapped(answers, fit_map(answers, y, is_squared=each)).label - answers.label for each in (False, True))

    assert np.abs(robust).max() < 5.0
    assert np.abs(squared).mean() > 50.0


def test_the_fewer_the_rows_the_nearer_is_the_map_to_the_identity() -> None:
    answers, y = drawn(1, 2000, 2, 0.4, 1.0)

    away = [abs(fit_map(answers.take(slice(n)), y[:n])[0] - 1) for n in (100, 300, 2000)]

    assert away == sorted(away)


def test_99_rows_have_no_map() -> None:
    answers, y = drawn(1, LEAST_ROWS, 2, 0.5)

    assert fit_map(answers, y) is not None
    assert fit_map(answers.take(slice(99)), y[:99]) is None


def test_rows_of_one_weight_count_as_rows_without() -> None:
    answers, y = drawn(1, 500, 2, 0.5)

    assert fit_map(answers, y, weights=np.full(500, 7.5)) == pytest.approx(fit_map(answers, y), abs=1e-6)


def test_weights_count_as_their_effective_number_of_rows() -> None:
    answers, y = drawn(1, 150, 2, 0.5)
    one_for_all = np.where(np.arange(150) == 0, 1e6, 1.0)

    assert fit_map(answers, y, weights=one_for_all) is None


def test_a_row_drawn_three_times_as_seldom_counts_as_three() -> None:
    answers, y = drawn(1, 2000, 2, 0.5, 1.0)
    more = np.where(y == "b", 3.0, 1.0)

    assert fit_map(answers, y, weights=more)[1] > fit_map(answers, y)[1] + 0.5


@pytest.mark.parametrize("k", [2, 5])
def test_labels_of_a_class_the_member_does_not_know_say_nothing_of_its_map(k: int) -> None:
    answers, y = drawn(1, 400, k, 0.5)
    strange = np.r_[y, np.array(["unheard"] * 100, dtype=object)]
    both = Prediction.concat([answers, answers.take(slice(100))])

    assert fit_map(both, strange) == fit_map(answers, y)
    assert fit_map(answers, np.array(["unheard"] * 400, dtype=object)) is None


def test_a_member_that_is_always_wrong_is_made_to_say_nothing_and_not_turned_round() -> None:
    answers, y = drawn(1, 1000, 2, -2.0)

    slope, _ = fit_map(answers, y)

    assert slope == LEAST_SLOPE


def test_numbers_that_go_the_other_way_are_made_nearly_constant() -> None:
    answers, y = numbers(1, 1000, -1.0, 300.0)

    slope, intercept = fit_map(answers, y)

    assert slope == LEAST_SLOPE
    assert intercept == pytest.approx(np.median(y), rel=0.1)


@given(
    st.integers(100, 160).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.float64, (n, 3), elements=st.sampled_from([0.0, 1.0, 0.5, 1e-12, 0.3])),
            hnp.arrays(np.int64, n, elements=st.integers(0, 2)),
        )
    ),
    st.booleans(),
)
@settings(max_examples=30)
def test_whatever_the_probabilities_the_slope_is_positive_and_all_is_finite(rows: tuple[np.ndarray, np.ndarray], is_binary: bool) -> None:
    shares, codes = rows
    k = 2 if is_binary else 3
    shares = shares[:, :k] + np.where(shares[:, :k].sum(axis=1, keepdims=True) == 0, 1.0, 0.0)
    probability = shares / shares.sum(axis=1, keepdims=True)
    answers = Prediction(labels_of(probability.argmax(axis=1)), probability, NAMES[:k])

    learned = fit_map(answers, labels_of(codes))

    assert learned is None or (learned[0] >= LEAST_SLOPE and np.isfinite(learned).all())
    assert mapped(answers, learned).fault(len(codes)) is None


NUMBERS = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, 1e-300, 1e300, -1e300])


@given(st.integers(100, 130).flatmap(lambda n: hnp.arrays(np.float64, (2, n), elements=NUMBERS, fill=st.just(3.0))), st.booleans())
@settings(max_examples=30)
def test_whatever_the_numbers_the_slope_is_positive_and_all_is_finite(rows: np.ndarray, is_squared: bool) -> None:
    slope, intercept = fit_map(Prediction(rows[0]), rows[1], is_squared=is_squared)

    assert slope >= LEAST_SLOPE
    assert np.isfinite([slope, intercept]).all()


@pytest.mark.parametrize("k", [2, 4, None], ids=str)
@given(seed=st.integers(0, 50))
@settings(max_examples=6)
def test_the_order_of_the_rows_changes_nothing(k: int | None, seed: int) -> None:
    answers, y = numbers(seed, 150, 1.3, 20.0) if k is None else drawn(seed, 150, k, 0.5)
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, 150)
    order = np.random.default_rng(seed + 1).permutation(150)

    assert fit_map(answers.take(order), y[order], weights=weights[order]) == fit_map(answers, y, weights=weights)


@pytest.mark.parametrize(("others", "is_learned"), [(0, False), (9, False), (10, True)])
def test_labels_of_one_class_but_for_a_few_are_no_map(others: int, is_learned: bool) -> None:
    answers, _ = drawn(1, 300, 2, 1.0)
    codes = (np.arange(300) < others).astype(np.int64)

    assert (fit_map(answers, labels_of(codes)) is not None) == is_learned


def test_separable_rows_leave_the_map_finite() -> None:
    answers = answers_of(np.column_stack([np.zeros(400), np.linspace(-3, 3, 400)]))

    slope, intercept = fit_map(answers, answers.label)

    assert 1.0 < slope < 4.0
    assert intercept == pytest.approx(0.0, abs=0.05)


def test_constant_answers_are_shifted_and_not_tilted() -> None:
    y = np.random.default_rng(0).normal(100.0, 5.0, 400)

    slope, intercept = fit_map(Prediction(np.full(400, 90.0)), y)

    assert slope == 1.0
    assert intercept == pytest.approx(9.0, abs=1.0)


def test_a_map_of_numbers_is_the_same_in_every_unit() -> None:
    answers, y = numbers(1, 400, 1.3, 20.0)

    slope, intercept = fit_map(answers, y)

    assert fit_map(Prediction(answers.label * 1e9), y * 1e9) == pytest.approx((slope, intercept * 1e9), rel=1e-6)


def test_a_map_lowers_the_loss_it_is_learned_by() -> None:
    answers, y = drawn(1, 300, 2, 0.4, 1.0)
    values, z = numbers(1, 300, 0.6, 40.0)

    assert log_losses(y, mapped(answers, fit_map(answers, y))).mean() < log_losses(y, answers).mean() - 0.1
    assert absolute_errors(z, mapped(values, fit_map(values, z))).mean() < absolute_errors(z, values).mean() - 10.0


def test_what_is_no_number_is_refused_by_its_row() -> None:
    y = np.ones(200)
    y[7] = np.nan
    answers, labels = drawn(1, 200, 2, 1.0)
    negative = np.ones(200)
    negative[3] = -1.0

    with pytest.raises(ValueError, match=r"row 7 has the label nan, wanted a number"):
        fit_map(Prediction(np.ones(200)), y)
    with pytest.raises(ValueError, match=r"answers a value that is not finite \(row 7\)"):
        fit_map(Prediction(y), np.ones(200))
    with pytest.raises(ValueError, match=r"row 3 has the weight -1.0, wanted a number that is not negative"):
        fit_map(answers, labels, weights=negative)
    with pytest.raises(ValueError, match=r"200 labels, but 100 answers"):
        fit_map(answers.take(slice(100)), labels)
