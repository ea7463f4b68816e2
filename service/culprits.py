"""Which rows of a request a model fails on: valid rows on which the pipeline itself raises, or says no number.

A pipeline may be a user's own, and a schema cannot promise that it answers every row that fits. Such rows are the request's
trouble, not the service's: sent again they fail again, and without them the others are answered. So the caller is told which
they are (422), and the log what the pipeline said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from service.errors import FailedRowsError
from training.prediction import Prediction
from training.rows import Columns

logger = logging.getLogger(__name__)

MOST_PROBES = 64
"""So often a model is asked again to find its culprits: enough for two of them among 10,000 rows, too few to stall a service."""
_NONE = np.empty(0, dtype=np.intp)
_NOT_OF_ROWS = (MemoryError, OSError)
Predict = Callable[[Columns], Prediction]


class NoNumberError(ValueError):
    """A model says NaN to some rows, or a probability that is no number."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        super().__init__("the model's answer is no number")


def refuse_wrong_shape(said: Prediction, n_rows: int) -> None:
    """Raise ValueError when a model gives more or fewer answers than there are rows.

    Examples
    --------
    >>> refuse_wrong_shape(Prediction(np.zeros(3)), 2)
    Traceback (most recent call last):
    ValueError: the model gives 3 answers to 2 rows
    """
    if len(said.label) != n_rows or (said.probability is not None and len(said.probability) != n_rows):
        raise ValueError(f"the model gives {len(said.label)} answers to {n_rows} rows")


def numberless(said: Prediction) -> npt.NDArray[np.intp]:
    """Return the rows whose probabilities are no finite numbers, or whose value is none at all.

    An infinite value is an answer, to numbers that leave the range of float64: JSON has null for it.

    Examples
    --------
    >>> numberless(Prediction(np.array([1.0, np.nan, 2.0]))).tolist()
    [1]
    """
    if said.probability is None:
        return np.flatnonzero(np.isnan(said.label.astype(np.float64, copy=False)))
    if np.isfinite(said.probability).all():
        return _NONE
    return np.flatnonzero(~np.isfinite(said.probability).all(axis=1))


def answered(predict: Predict, columns: Columns, n_rows: int) -> Prediction:
    """Ask a model, and take its answer only when it is one answer a row, a number.

    Raises
    ------
    Exception
        Whatever the model raises; ValueError for an answer of another shape, NoNumberError for one that is no number.
    """
    said = predict(columns)
    refuse_wrong_shape(said, n_rows)
    if len(bad := numberless(said)):
        raise NoNumberError(bad.tolist())
    return said


def blame(error: Exception, predict: Predict, columns: Columns, n_rows: int) -> NoReturn:
    """Name the rows of a request on which a model failed.

    Parameters
    ----------
    error
        What it raised on all rows together.
    predict
        Asks it again, for some of the rows: it must raise as the first call did.

    Raises
    ------
    FailedRowsError
        Naming the rows; none when it fails on all together and on none alone.
    MemoryError, OSError
        As they came: memory, files and networks are no matter of rows.
    """
    if isinstance(error, _NOT_OF_ROWS):
        raise error
    culprits, is_all = find(error, predict, columns, n_rows)
    logger.warning("the model failed on %d of %d valid rows", len(culprits), n_rows, exc_info=next(iter(culprits.values()), error))
    raise FailedRowsError({row: type(why).__name__ for row, why in sorted(culprits.items())}, is_all=is_all) from error


def find(
    error: Exception, predict: Predict, columns: Columns, n_rows: int, most_probes: int = MOST_PROBES
) -> tuple[dict[int, Exception], bool]:
    """Halve the rows until every culprit stands alone; return what each raises, and whether these are all of them.

    Examples
    --------
    >>> def roots(columns):
    ...     if (columns["x"] < 0).any():
    ...         raise ArithmeticError("no root")
    ...     return Prediction(np.sqrt(columns["x"]))
    >>> find(ArithmeticError(), roots, {"x": np.array([4.0, -1.0, 9.0, -4.0])}, 4)
    ({1: ArithmeticError('no root'), 3: ArithmeticError('no root')}, True)
    """
    culprits: dict[int, Exception] = {}
    suspects: list[tuple[int, int, Exception]] = [(0, n_rows, error)]
    probes = 0
    while suspects:
        start, stop, why = suspects.pop()
        if isinstance(why, NoNumberError):
            culprits.update((start + row, why) for row in why.rows)
        elif stop - start == 1:
            culprits[start] = why
        elif probes + 2 > most_probes:
            return culprits, False
        else:
            middle = (start + stop) // 2
            probes += 2
            for half in ((middle, stop), (start, middle)):  # the first rows come off the stack first
                if (failed := _failure(predict, columns, *half)) is not None:
                    suspects.append((*half, failed))
    return culprits, True


def _failure(predict: Predict, columns: Columns, start: int, stop: int) -> Exception | None:
    try:
        answered(predict, {name: values[start:stop] for name, values in columns.items()}, stop - start)
    except _NOT_OF_ROWS:
        raise
    except Exception as error:  # noqa: BLE001 - a user's pipeline may raise anything
        return error
    return None
