"""The short way for columns with nothing wrong in them: all numbers in one matrix, texts told and checked by few values.

It is to columns what `service.typed_rows` is to rows, and never explains: whatever is not plainly right goes the long way.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from service.coding import listed_numbers, listed_texts
from service.feature_columns import Values, sent_column
from service.number_rules import NumberRules
from training.rows import BlockColumns, Coded
from training.schema import Feature, Schema

FEW = 32
"""Rows up to which the long way is the shorter one."""


class ColumnBlock:
    """Reads columns of one schema.

    Examples
    --------
    >>> block = ColumnBlock(Schema((Feature("x", "numeric"), Feature("c", "categorical")), target="y", task="regression"), 100)
    >>> columns = block.read({"x": np.array([1, 2]), "c": ["a", "a"]}, 2)
    >>> columns["x"].tolist(), columns.coded["c"].values
    ([1.0, 2.0], ('a',))
    >>> block.read({"x": [None], "c": ["a"]}, 1) is None
    True
    """

    def __init__(self, schema: Schema, max_letters: int) -> None:
        self._max_letters = max_letters
        self._features = schema.features
        numbers = [feature for feature in schema.features if feature.kind in ("numeric", "integer")]
        self._rules = NumberRules(numbers)
        self._number_names = tuple(feature.name for feature in numbers)
        closed = [feature for feature in schema.features if feature.unknown == "error" and feature.categories is not None]
        self._known = {feature.name: frozenset(feature.categories or ()) for feature in closed}

    def read(self, sent: Mapping[str, Values], n_rows: int) -> BlockColumns | None:
        """Turn columns into columns in schema order; None when something is not plainly right."""
        numbers = self._read_numbers(sent, n_rows)
        if numbers is None:
            return None
        found: dict[str, npt.NDArray[np.float64]] = dict(zip(self._number_names, numbers, strict=True))
        words: dict[str, Coded] = {}
        columns = []
        for feature in self._features:
            column = found.get(feature.name)
            if column is None and feature.kind == "categorical":
                word = self._read_words(feature, sent.get(feature.name), n_rows)
                if word is None:
                    return None
                words[feature.name] = word
                column = word.column()
            elif column is None:
                column = sent_column(feature, sent.get(feature.name), n_rows, self._max_letters)
            if column is None:
                return None
            columns.append((feature.name, column))
        return BlockColumns(columns, self._number_names, numbers, words)

    def _read_numbers(self, sent: Mapping[str, Values], n_rows: int) -> npt.NDArray[np.float64] | None:
        matrix = np.empty((len(self._number_names), n_rows))
        for name, row in zip(self._number_names, matrix, strict=True):
            values = sent.get(name)
            if values is None:
                row.fill(np.nan)
                continue
            array = listed_numbers(values) if isinstance(values, list) else values
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
                return None
            row[:] = array
        return self._rules.taken(matrix)

    def _read_words(self, feature: Feature, values: Values | None, n_rows: int) -> Coded | None:
        if values is None:
            word: Coded | None = Coded(np.zeros(n_rows, dtype=np.int32), (None,))
        else:
            word = listed_texts(values) if isinstance(values, list) else values if isinstance(values, Coded) else None
        if word is None or (not feature.nullable and None in word.values):
            return None
        texts = [value for value in word.values if value is not None]
        known = self._known.get(feature.name)
        if max(map(len, texts), default=0) > self._max_letters or (known is not None and not known.issuperset(texts)):
            return None
        return word
