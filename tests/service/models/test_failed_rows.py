"""Which rows a model fails on, found by halving."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import FailedRowsError
from service.models.failed_rows import NoAnswerError, find_failures, raise_failed_rows
from training.schema.prediction import Prediction
from training.schema.rows import Columns


def never_right(columns: Columns) -> Prediction:
    raise ArithmeticError("no root")


@pytest.mark.parametrize(
    ("most_probes", "rows", "is_all"), [pytest.param(6, [0, 1, 2, 3], True, id="enough"), pytest.param(5, [0, 1], False, id="one too few")]
)
def test_four_failed_rows_are_found_with_six_probes_and_not_with_five(most_probes: int, rows: list[int], is_all: bool) -> None:
    failures = find_failures(ArithmeticError(), never_right, {"x": np.zeros(4)}, 4, most_probes)

    assert (list(failures.first), failures.total, failures.is_all) == (rows, len(rows), is_all)


def test_rows_without_an_answer_are_all_counted_and_the_first_named() -> None:
    columns = {"x": np.zeros(5000)}

    with pytest.raises(FailedRowsError, match="and on 4999 more") as caught:
        raise_failed_rows(NoAnswerError(list(range(5000))), never_right, columns, 5000)

    assert (len(caught.value.problems), caught.value.total) == (100, 5000)


def test_looking_for_failed_rows_asks_for_a_few_times_the_rows_at_most() -> None:
    asked: list[int] = []

    def fails_on_some(columns: Columns) -> Prediction:
        asked.append(len(columns["x"]))
        if (columns["x"] % 100 == 99).any():
            raise ArithmeticError("no root")
        return Prediction(columns["x"])

    failures = find_failures(ArithmeticError(), fails_on_some, {"x": np.arange(4096.0)}, 4096)

    assert list(failures.first)[:2] == [99, 199]
    assert not failures.is_all
    assert sum(asked) <= 3 * 4096
