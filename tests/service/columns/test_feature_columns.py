"""Whole columns: taken and refused value by value as marshmallow does, the numbers in one matrix, the texts by few values."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.columns.feature_columns import FeatureColumns, NumberRules
from service.columns.fields import FeatureField
from service.columns.values import uncoded
from tests.properties import few
from training.schema.feature import Feature
from training.schema.rows import Coded
from training.schema.schema import Schema

FEATURES = (
    Feature("bounded", "numeric", nullable=True, minimum=-1, maximum=5, out_of_range="error"),
    Feature("word", "categorical", nullable=True),
    Feature("clipped", "numeric", minimum=0, maximum=1, out_of_range="clip"),
    Feature("free", "numeric", minimum=0, maximum=1),
    Feature("choice", "categorical", categories=("a", "b"), unknown="error"),
    Feature("count", "integer", nullable=True),
    Feature("flag", "boolean"),
)
COLUMNS = FeatureColumns(Schema(FEATURES, target="y", task="regression"), 5)
GOOD: dict[str, Any] = {
    "bounded": np.array([1.0, np.nan]),
    "word": Coded(np.array([1, 0], np.int32), ("é", None)),
    "clipped": [3, -0.5],
    "free": np.array([7, 8], dtype=np.uint8),
    "choice": ["b", "b"],
    "count": [None, 2],
    "flag": [True, False],
    "unknown": [1, 2],
}
numbers = st.floats() | st.sampled_from([-1.0, 0.0, -0.0, 1.0, 1.5, 5.0])
values: st.SearchStrategy[Any] = st.one_of(
    st.none(), numbers, st.integers(-2, 7), st.integers(), st.booleans(), st.sampled_from(["a", "b", "", "é", "12345", "123456"])
)
columns: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.lists(values, min_size=2, max_size=2),
    st.lists(numbers, min_size=2, max_size=2).map(np.array),
    st.lists(st.sampled_from([0, 1, 7]), min_size=2, max_size=2).map(lambda some: np.array(some, dtype=np.int16)),
    st.just(np.array([True, False])),
)
coded = st.sampled_from([Coded(np.zeros(2, np.int32), (text,)) for text in (None, "a", "c", "123456")])
changed = dict.fromkeys(GOOD, columns) | dict.fromkeys(["word", "choice"], columns | coded)


def test_good_columns_are_taken_and_known_by_few_values_and_one_matrix() -> None:
    taken, _ = COLUMNS.read(GOOD, 2)

    assert taken is not None
    assert list(taken) == [feature.name for feature in FEATURES]
    block = taken.block(("bounded", "clipped", "free", "count"))
    assert repr([] if block is None else block.tolist()) == "[[1.0, nan], [1.0, 0.0], [7.0, 8.0], [nan, 2.0]]"
    assert {name: coded.values for name, coded in taken.coded.items()} == {"word": ("é", None), "choice": ("b",)}


def by_marshmallow(feature: Feature, column: Any) -> list[Any] | None:
    """The values of a column, read one by one; None when one is refused."""
    field = FeatureField(feature, 5)
    sent = [ma.missing] * 2 if column is None else uncoded(column)
    try:
        return [field.deserialize(value) for value in (sent if isinstance(sent, list) else sent.tolist())]
    except ma.ValidationError:
        return None


def plain(column: Any) -> list[str]:
    return [repr(None if value is None or value != value else value) for value in column]


@few(200)
@given(st.fixed_dictionaries({}, optional=changed))
def test_columns_are_taken_and_refused_as_their_values_are_one_by_one(changes: dict[str, Any]) -> None:
    sent = {name: column for name, column in {**GOOD, **changes}.items() if column is not None}
    expected = {feature.name: by_marshmallow(feature, sent.get(feature.name)) for feature in FEATURES}

    taken, broken = COLUMNS.read(sent, 2)

    assert broken == [name for name, column in expected.items() if column is None]
    assert (taken is None) == bool(broken)
    assert taken is None or {name: plain(column.tolist()) for name, column in taken.items()} == {
        name: plain(float(v) if isinstance(v, int) else v for v in column or []) for name, column in expected.items()
    }


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=4, max_size=4))
def test_rules_of_a_matrix_are_those_of_its_features(rows: list[list[float]]) -> None:
    features = [feature for feature in FEATURES if feature.kind in ("numeric", "integer")]
    columns = [(feature, np.array(row)) for feature, row in zip(features, rows, strict=True)]
    large = {feature.name for feature, column in columns if feature.kind == "integer" and bool((np.abs(column) > 2**53).any())}
    wrong = [f.name for f, column in columns if bool(np.isinf(column).any()) or f.violations(column) or f.name in large]

    broken = NumberRules(FEATURES).broken(np.array(rows))

    assert broken == wrong


@pytest.mark.parametrize("features", [FEATURES[1:2], FEATURES[:1]])
def test_a_schema_may_have_only_numbers_or_only_words(features: tuple[Feature, ...]) -> None:
    taken, _ = FeatureColumns(Schema(features, target="y", task="regression"), 5).read({}, 3)

    assert taken is not None
    assert len(next(iter(taken.values()))) == 3
