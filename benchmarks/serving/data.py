"""Seeded rows: 14 numbers and 6 categories of 3 to 50 values, a target of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

LEVELS = (3, 5, 8, 12, 20, 50)
CLASSES = ("no", "yes")
TRAINING, SAMPLED = 50_000, 10_000


def make_table(count: int, seed: int, numbers: int = 14, categories: int = len(LEVELS)) -> tuple[pd.DataFrame, npt.NDArray[Any]]:
    """Return `count` rows and their labels; further numbers and categories beyond the first are noise.

    Examples
    --------
    >>> table, labels = make_table(4, seed=0)
    >>> table.shape, set(labels) <= {"no", "yes"}
    ((4, 20), True)
    """
    rng = np.random.default_rng(seed)
    plain = rng.normal(size=(count, max(numbers, 5)))
    plain[:, 10:14] = np.exp(plain[:, 10:14])
    plain = np.round(plain, 5)
    columns: dict[str, npt.NDArray[Any]] = {f"number_{i}": plain[:, i] for i in range(numbers)}
    codes = [rng.integers(0, LEVELS[i % len(LEVELS)], count) for i in range(max(categories, 2))]
    for i in range(categories):
        names = np.array([f"value_{level}" for level in range(LEVELS[i % len(LEVELS)])], dtype=object)
        columns[f"category_{i}"] = names[codes[i]]
    odds = 1.2 * plain[:, 0] - 0.8 * plain[:, 1] + plain[:, 2] * plain[:, 3] + np.sin(2 * plain[:, 4]) / 2 + (codes[1] - 2) / 3
    labels = np.array(CLASSES, dtype=object)[(rng.random(count) < 1 / (1 + np.exp(-odds))).astype(int)]
    return pd.DataFrame(columns), labels
