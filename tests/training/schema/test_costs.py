import numpy as np
import pytest

from training.schema.costs import Costs, decide

TABLE = ((0.0, 1.0, 4.0), (7.0, 0.0, 2.0), (30.0, 9.0, -1.0))


def test_the_decision_costs_least_by_expectation_in_calls_of_every_size() -> None:
    probability = np.random.default_rng(0).dirichlet(np.ones(3), 500)

    decided = decide(probability, TABLE)

    assert decided.tolist() == (probability @ np.array(TABLE)).argmin(axis=1).tolist()
    assert [int(decide(row[None], TABLE)[0]) for row in probability] == decided.tolist()


def test_equal_costs_decide_the_most_probable_and_without_costs_so_it_is() -> None:
    probability = np.random.default_rng(1).dirichlet(np.ones(3), 200)

    equal = tuple(tuple(float(i != j) for j in range(3)) for i in range(3))

    assert decide(probability, equal).tolist() == decide(probability).tolist() == probability.argmax(axis=1).tolist()


@pytest.mark.parametrize("nudge", [-1e-13, 0.0, 1e-13])
def test_rounding_does_not_decide_between_equal_costs(nudge: float) -> None:
    assert decide(np.array([[0.8 - nudge, 0.2 + nudge]]), ((0.0, 1.0), (4.0, 0.0))).tolist() == [0]


def test_costs_are_put_into_the_order_of_the_classes_that_a_model_knows() -> None:
    costs = Costs(("a", "b", "c"), TABLE)

    assert costs.ordered(("c", "a")) == ((-1.0, 30.0), (4.0, 0.0))
    with pytest.raises(ValueError):
        costs.ordered(("a", "d"))


def test_a_label_that_is_none_of_the_classes_costs_as_much_as_the_worst_mistake() -> None:
    costs = Costs(("a", "b", "c"), TABLE)

    assert costs.of_rows(np.array(["a", "d", "b"], object), np.array(["c", "a", "d"], object)).tolist() == [4.0, 30.0, 30.0]
