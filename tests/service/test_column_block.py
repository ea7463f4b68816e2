"""The short way for columns: what it takes it takes as the long way does, and what it ought to take it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.column_block import ColumnBlock
from service.feature_columns import sent_column
from service.number_rules import NumberRules
from training.rows import Coded
from training.schema import Feature, Schema

FEATURES = (
    Feature("bounded", "numeric", nullable=True, minimum=-1, maximum=5, out_of_range="error"),
    Feature("word", "categorical", nullable=True),
    Feature("clipped", "numeric", minimum=0, maximum=1, out_of_range="clip"),
    Feature("free", "numeric", minimum=0, maximum=1),
    Feature("choice", "categorical", categories=("a", "b"), unknown="error"),
    Feature("count", "integer", nullable=True),
    Feature("flag", "boolean"),
)
BLOCK = ColumnBlock(Schema(FEATURES, target="y", task="regression"), 5)
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
    taken = BLOCK.read(GOOD, 2)

    assert taken is not None
    assert list(taken) == [feature.name for feature in FEATURES]
    block = taken.block(("bounded", "clipped", "free", "count"))
    assert repr([] if block is None else block.tolist()) == "[[1.0, nan], [1.0, 0.0], [7.0, 8.0], [nan, 2.0]]"
    assert {name: coded.values for name, coded in taken.coded.items()} == {"word": ("é", None), "choice": ("b",)}


@settings(max_examples=600)
@given(st.fixed_dictionaries({}, optional=changed))
def test_what_is_taken_is_what_the_long_way_gives_and_what_is_refused_it_refuses_too(changes: dict[str, Any]) -> None:
    sent = {name: column for name, column in {**GOOD, **changes}.items() if column is not None}
    long = {feature.name: sent_column(feature, sent.get(feature.name), 2, 5) for feature in FEATURES}

    short = BLOCK.read(sent, 2)

    if short is None:
        assert None in [None if column is None else "" for column in long.values()]
    else:
        assert {name: repr(column.tolist()) for name, column in short.items()} == {
            name: None if column is None else repr(column.tolist()) for name, column in long.items()
        }


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=4, max_size=4))
def test_rules_of_a_matrix_are_those_of_its_features(rows: list[list[float]]) -> None:
    features = [feature for feature in FEATURES if feature.kind in ("numeric", "integer")]
    long = [sent_column(feature, np.array(row), 3) for feature, row in zip(features, rows, strict=True)]

    short = NumberRules(features).taken(np.array(rows))

    whole = [column for column in long if column is not None]
    assert (short is None) == (len(whole) < len(long))
    assert short is None or repr(short.tolist()) == repr(np.array(whole).tolist())


@pytest.mark.parametrize("features", [FEATURES[1:2], FEATURES[:1]])
def test_a_schema_may_have_only_numbers_or_only_words(features: tuple[Feature, ...]) -> None:
    taken = ColumnBlock(Schema(features, target="y", task="regression"), 5).read({}, 3)

    assert taken is not None
    assert len(next(iter(taken.values()))) == 3
