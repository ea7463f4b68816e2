"""Counting by object is counting: whatever the objects are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from training.profiles.occurrences import is_none, occurrences
from training.schema.rows import object_column

CODES = np.random.default_rng(0).integers(0, 7, 150_000)
WORDS = object_column(["Bonn", "Köln", None, "", "Trier", "7", "Bonn "])


def fresh(text: str) -> str:
    """Return an equal text that is another object."""
    return "".join(list(text))


def half_fresh(values: np.ndarray) -> np.ndarray:
    return object_column([value if value is None or place % 3 else fresh(value + "...") for place, value in enumerate(values.tolist())])


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(WORDS[CODES], id="few objects"),
        pytest.param(WORDS[CODES][::2], id="every other row of them"),
        pytest.param(WORDS[CODES][:700], id="few rows"),
        pytest.param(WORDS[:0], id="no rows"),
        pytest.param(object_column([fresh(f"w{code}") for code in CODES[:20_000].tolist()]), id="each its own object"),
        pytest.param(np.concatenate([WORDS[CODES], half_fresh(WORDS[CODES[:30_000]])]), id="objects of its own further on"),
        pytest.param(object_column([f"word {i}" for i in range(9_000)])[np.arange(150_000) // 20 % 9_000], id="more objects than slots"),
        pytest.param(object_column([fresh("same"), fresh("same"), fresh("same")])[CODES % 3], id="equal objects"),
    ],
)
def test_each_value_is_counted_as_often_as_it_occurs(column: np.ndarray) -> None:
    column.flags.writeable = False

    assert occurrences(column) == Counter(column.tolist())
    assert is_none(column).tolist() == [value is None for value in column.tolist()]
