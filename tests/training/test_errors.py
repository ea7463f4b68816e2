"""Errors that cross from one process to another."""

import pickle

import pytest

from training.errors import (
    CandidateError,
    DataError,
    DataProblem,
    EvergreenError,
    SpecError,
    SpecProblem,
    TooFewRowsError,
    UnreadableTableError,
)


@pytest.mark.parametrize(
    "error",
    [
        SpecError([SpecProblem(3, "labels.delay", "too long")]),
        DataError([DataProblem(1, "x", "abc", "a number")], "rows.csv", 7),
        UnreadableTableError("rows.csv", "is a folder"),
        TooFewRowsError("two rows"),
        CandidateError("it failed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_says_the_same_in_another_process(error: EvergreenError) -> None:
    there = pickle.loads(pickle.dumps(error))

    assert (type(there), str(there), vars(there)) == (type(error), str(error), vars(error))
