import numpy as np
import pytest

from training.feature import Feature

NAN = np.nan


@pytest.mark.parametrize(
    ("feature", "values", "code", "rows"),
    [
        (Feature("x", "numeric"), [1.0, NAN], "missing", [1]),
        (Feature("x", "integer"), [1.0, 1.5], "not_an_integer", [1]),
        (Feature("x", "boolean"), [0.0, 1.0, 2.0], "not_a_boolean", [2]),
        (Feature("x", "numeric", minimum=0, maximum=1, out_of_range="error"), [-1.0, 0.0, 1.0, 2.0], "out_of_range", [0, 3]),
    ],
)
def test_numbers_that_break_a_rule_are_named(feature: Feature, values: list[float], code: str, rows: list[int]) -> None:
    (found,) = feature.violations(np.array(values))

    assert (found.code, found.rows.tolist()) == (code, rows)


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        (Feature("x", "integer", nullable=True), [1.0, NAN]),
        (Feature("x", "numeric", minimum=0), [-1.0]),
        (Feature("x", "numeric", minimum=0, out_of_range="clip"), [-1.0]),
    ],
    ids=["nullable", "accept", "clip"],
)
def test_what_the_feature_allows_is_no_violation(feature: Feature, values: list[float]) -> None:
    assert feature.violations(np.array(values)) == []


def test_an_unknown_category_is_refused_only_where_the_feature_says_so() -> None:
    values = np.array(["a", "z"], object)
    strict = Feature("c", "categorical", categories=("a",), unknown="error")
    open_ = Feature("c", "categorical", categories=("a",))

    assert [(v.code, v.rows.tolist()) for v in strict.violations(values)] == [("unknown_category", [1])]
    assert open_.violations(values) == []


def test_clip_moves_values_to_the_bounds_and_leaves_missing_ones() -> None:
    feature = Feature("x", "numeric", minimum=0, out_of_range="clip")

    assert feature.clipped(np.array([-5.0, 3.0, NAN])).tolist()[:2] == [0.0, 3.0]
    assert np.isnan(feature.clipped(np.array([NAN]))[0])


@pytest.mark.parametrize(
    ("feature", "wanted"),
    [
        (Feature("x", "integer", nullable=True), "a whole number or null"),
        (Feature("x", "numeric", minimum=0, out_of_range="error"), "a number of at least 0"),
        (Feature("x", "categorical", categories=("a", "b"), unknown="error"), "one of a, b"),
    ],
)
def test_what_is_wanted_is_said_in_words(feature: Feature, wanted: str) -> None:
    assert feature.wanted == wanted
