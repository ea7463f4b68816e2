from dataclasses import replace

import numpy as np
import pytest

from training.schema.feature import KINDS, Feature, Kind

NAN = np.nan


@pytest.mark.parametrize(
    ("feature", "values", "code", "rows"),
    [
        (Feature("x", "numeric"), [1.0, NAN], "missing", [1]),
        (Feature("x", "integer"), [1.0, 1.5], "not_an_integer", [1]),
        (Feature("x", "boolean"), [0.0, 1.0, 2.0], "not_a_boolean", [2]),
        (Feature("x", "numeric", minimum=0, maximum=1, out_of_range="error"), [-1.0, 0.0, 1.0, 2.0], "out_of_range", [0, 3]),
        (Feature("x", "numeric", minimum=0, out_of_range="error"), [-1.0, 9e99], "out_of_range", [0]),
        (Feature("x", "numeric", maximum=0, out_of_range="error"), [-9e99, 1.0], "out_of_range", [1]),
    ],
)
def test_numbers_that_break_a_rule_are_named(feature: Feature, values: list[float], code: str, rows: list[int]) -> None:
    (violation,) = feature.violations(np.array(values))

    assert (violation.code, violation.rows.tolist()) == (code, rows)


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


@pytest.mark.parametrize(
    ("feature", "violations"),
    [
        (Feature("c", "categorical"), [("missing", [2], "a string")]),
        (Feature("c", "categorical", nullable=True), []),
        (Feature("c", "categorical", categories=("a",)), [("missing", [2], "a string")]),
        (
            Feature("c", "categorical", categories=("a",), unknown="error"),
            [("missing", [2], "one of a"), ("unknown_category", [1], "one of a")],
        ),
        (
            Feature("c", "categorical", categories=("a",), unknown="error", nullable=True),
            [("unknown_category", [1], "one of a or null")],
        ),
    ],
    ids=["required", "nullable", "open", "closed", "closed, nullable"],
)
def test_a_missing_or_unknown_category_is_refused_where_the_feature_says_so(
    feature: Feature, violations: list[tuple[str, list[int], str]]
) -> None:
    values = np.array(["a", "z", None], object)

    assert [(v.code, v.rows.tolist(), v.wanted) for v in feature.violations(values)] == violations


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_break_no_rule(kind: Kind) -> None:
    feature = Feature("x", kind, minimum=0, out_of_range="error", categories=("a",), unknown="error")

    assert feature.violations(np.array([], np.float64 if feature.is_number else object)) == []


@pytest.mark.parametrize(
    ("feature", "seen"),
    [
        (Feature("x", "numeric", minimum=0, maximum=4, out_of_range="clip"), [0.0, 3.0, 4.0]),
        (Feature("x", "numeric", minimum=0, out_of_range="clip"), [0.0, 3.0, 9.0]),
        (Feature("x", "numeric", maximum=4, out_of_range="clip"), [-5.0, 3.0, 4.0]),
        (Feature("x", "numeric", out_of_range="clip"), [-5.0, 3.0, 9.0]),
        (Feature("x", "numeric", minimum=0, maximum=4), [-5.0, 3.0, 9.0]),
    ],
    ids=["both", "minimum", "maximum", "no bounds", "accept"],
)
def test_clip_moves_values_to_the_bounds_and_leaves_missing_ones(feature: Feature, seen: list[float]) -> None:
    np.testing.assert_array_equal(feature.clipped(np.array([-5.0, 3.0, 9.0, NAN])), [*seen, NAN])


@pytest.mark.parametrize(
    ("feature", "wanted"),
    [
        (Feature("x", "integer", nullable=True), "a whole number or null"),
        (Feature("x", "numeric", minimum=0, out_of_range="error"), "a number of at least 0"),
        (Feature("x", "numeric", maximum=0.5, out_of_range="error"), "a number of at most 0.5"),
        (Feature("x", "numeric", minimum=-40, maximum=60, out_of_range="error"), "a number between -40 and 60"),
        (Feature("x", "numeric", out_of_range="error"), "a number"),
        (Feature("x", "numeric", minimum=-40, maximum=60), "a number"),
        (Feature("x", "boolean"), "true or false"),
        (Feature("x", "datetime"), "a time (ISO 8601)"),
        (Feature("x", "categorical", categories=("a", "b"), unknown="error"), "one of a, b"),
        (Feature("x", "categorical", categories=("a", "b")), "a string"),
        (Feature("x", "categorical", unknown="error"), "a string"),
    ],
)
def test_what_is_wanted_is_said_in_words(feature: Feature, wanted: str) -> None:
    assert feature.wanted == wanted


NUMBER = Feature("x", "numeric")
CITY = Feature("x", "categorical", categories=("b", "a", "c"))


@pytest.mark.parametrize(
    ("own", "other", "broken"),
    [
        pytest.param(NUMBER, replace(NUMBER, minimum=0, maximum=9), [], id="bounds of no consequence"),
        pytest.param(replace(NUMBER, kind="integer"), NUMBER, [], id="whole numbers are numbers"),
        pytest.param(replace(NUMBER, kind="boolean"), NUMBER, [], id="true and false are numbers"),
        pytest.param(
            NUMBER, replace(NUMBER, kind="integer"), ["x: numeric becomes integer; requests with a number are refused"], id="other kind"
        ),
        pytest.param(
            replace(NUMBER, kind="boolean"),
            replace(NUMBER, kind="integer"),
            ["x: boolean becomes integer; requests with true or false are refused"],
            id="true and false are not whole numbers",
        ),
        pytest.param(replace(NUMBER, nullable=True), NUMBER, ["x: may no longer be null or left out"], id="required"),
        pytest.param(
            replace(NUMBER, nullable=True),
            replace(NUMBER, minimum=0.5, maximum=9, out_of_range="error"),
            ["x: may no longer be null or left out", "x: values below 0.5 are refused", "x: values above 9 are refused"],
            id="bounds after none",
        ),
        pytest.param(
            replace(NUMBER, minimum=0, maximum=9),
            replace(NUMBER, minimum=0, maximum=9, out_of_range="error"),
            ["x: values below 0 are refused", "x: values above 9 are refused"],
            id="the same bounds, now kept",
        ),
        pytest.param(
            replace(NUMBER, minimum=0, maximum=9, out_of_range="error"),
            replace(NUMBER, minimum=1, maximum=8, out_of_range="error"),
            ["x: values below 1 are refused", "x: values above 8 are refused"],
            id="tighter",
        ),
        pytest.param(
            replace(NUMBER, minimum=0, maximum=9, out_of_range="error"),
            replace(NUMBER, minimum=0, maximum=9, out_of_range="error"),
            [],
            id="equal bounds",
        ),
        pytest.param(
            replace(NUMBER, minimum=0, maximum=9, out_of_range="error"), replace(NUMBER, out_of_range="error"), [], id="no bounds any more"
        ),
        pytest.param(CITY, replace(CITY, unknown="error"), ["x: refused from now on: every category not declared"], id="closed"),
        pytest.param(
            replace(CITY, nullable=True),
            replace(CITY, unknown="error"),
            ["x: may no longer be null or left out", "x: refused from now on: every category not declared"],
            id="closed and required",
        ),
        pytest.param(CITY, replace(CITY, unknown="error", categories=None), [], id="closed to what a version learns"),
        pytest.param(
            replace(CITY, unknown="error"),
            replace(CITY, unknown="error", categories=("c", "d")),
            ["x: refused from now on: a, b"],
            id="fewer categories",
        ),
        pytest.param(replace(CITY, unknown="error"), replace(CITY, unknown="error", categories=(*"abcd",)), [], id="more categories"),
        pytest.param(replace(CITY, unknown="error"), replace(CITY, categories=("c",)), [], id="open"),
    ],
)
def test_what_another_feature_would_refuse_is_said_in_sentences(own: Feature, other: Feature, broken: list[str]) -> None:
    assert own.breaks(other) == broken
