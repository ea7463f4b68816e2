"""Which rows of a request a model fails on: valid rows on which the pipeline itself raises, or to which it gives no answer.

A pipeline may be a user's own, and a schema cannot promise that it answers every row that fits. Such rows are the request's
trouble, not the service's: sent again they fail again, and without them the others are answered. So the caller learns which
they are (422), and the log what the pipeline raised.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from service.errors import FailedRowsError
from training.schema.prediction import OFF_SUM, OUTSIDE, Prediction
from training.schema.rows import Columns

logger = logging.getLogger(__name__)

MOST_PROBES = 64
"""The calls of a model that look for its failed rows: enough for two of them among 10,000 rows, too few to stall a service."""
MOST_NAMED = 100
_NONE = np.empty(0, dtype=np.intp)
_NOT_OF_ROWS = (MemoryError, OSError)
Predict = Callable[[Columns], Prediction]


class NoAnswerError(ValueError):
    """To some rows a model answers a value that is not finite, or probabilities that are none or do not add up to 1."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        super().__init__("the model's answer is no finite number, or its probabilities are none")


class LeftError(RuntimeError):
    """A model raised what would end a thread or a process, such as `SystemExit`; its cause is that."""


def refuse_wrong_shape(prediction: Prediction, n_rows: int) -> None:
    """Raise ValueError when a model gives more or fewer answers than there are rows, or not one value a row and class.

    Examples
    --------
    >>> refuse_wrong_shape(Prediction(np.zeros(3)), 2)
    Traceback (most recent call last):
    ValueError: the model gives answers of shape (3,) to 2 rows
    """
    label, probability = prediction.label, prediction.probability
    if label.shape != (n_rows,):
        raise ValueError(f"the model gives answers of shape {label.shape} to {n_rows} rows")
    if probability is not None and probability.shape != (n_rows, len(prediction.classes or ())):
        raise ValueError(f"the model gives probabilities of shape {probability.shape} to {n_rows} rows")


def rows_without_answer(prediction: Prediction) -> npt.NDArray[np.intp]:
    """Return the rows whose value is not finite, or whose probabilities are outside of 0 and 1 or do not add up to 1.

    Examples
    --------
    >>> rows_without_answer(Prediction(np.array([1.0, np.nan, np.inf]))).tolist()
    [1, 2]
    >>> probability = np.array([[0.25, 0.75], [7.0, -6.0], [0.25, 0.25]])
    >>> rows_without_answer(Prediction(np.array(["a"] * 3, object), probability, ("a", "b"))).tolist()
    [1, 2]
    """
    probability = prediction.probability
    if probability is None:
        values = prediction.label.astype(np.float64, copy=False)
        return _NONE if len(values) == 1 and math.isfinite(values[0]) else np.flatnonzero(~np.isfinite(values))
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(probability @ np.ones(probability.shape[1]) - 1.0)
    if off.max() <= OFF_SUM and probability.min() >= -OUTSIDE and probability.max() <= 1.0 + OUTSIDE:  # NaN is never
        return _NONE
    is_right = ((probability >= -OUTSIDE) & (probability <= 1.0 + OUTSIDE)).all(axis=1) & (off <= OFF_SUM)
    return np.flatnonzero(~is_right)


def _is_one_distribution(prediction: Prediction) -> bool:
    """Return whether it is the answer to one row, as `refuse_wrong_shape` and `rows_without_answer` want it: few numbers one by one."""
    probability, classes = prediction.probability, prediction.classes
    if probability is None or classes is None or probability.shape != (1, len(classes)) or prediction.label.shape != (1,):
        return False
    row: list[float] = probability.tolist()[0]
    return abs(sum(row) - 1.0) <= OFF_SUM and min(row) >= -OUTSIDE and max(row) <= 1.0 + OUTSIDE


def asked(predict: Predict, columns: Columns) -> Prediction:
    """Return a model's prediction; what would end the thread it is asked in becomes an error like any other.

    Raises
    ------
    Exception
        Whatever the model raises; LeftError for what is no `Exception`.
    """
    try:
        return predict(columns)
    except Exception:
        raise
    except BaseException as error:  # whoever asks is not to go when a pipeline says `exit()`
        raise LeftError(f"the model raised {type(error).__name__}") from error


def checked(predict: Predict, columns: Columns, n_rows: int) -> Prediction:
    """Return a model's prediction when it is one answer a row.

    Raises
    ------
    Exception
        As `asked`; ValueError for a prediction of another shape, NoAnswerError for rows without an answer.
    """
    prediction = asked(predict, columns)
    if n_rows == 1 and _is_one_distribution(prediction):
        return prediction
    refuse_wrong_shape(prediction, n_rows)
    if len(rows := rows_without_answer(prediction)):
        raise NoAnswerError(rows.tolist())
    return prediction


def raise_failed_rows(error: Exception, predict: Predict, columns: Columns, n_rows: int) -> NoReturn:
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
        Naming the first of the rows; none when it fails on all together and on none alone, or for want of memory, a file
        or a network, which are no matter of rows.
    """
    try:
        if isinstance(error, _NOT_OF_ROWS):
            raise error
        failures = find_failures(error, predict, columns, n_rows)
    except _NOT_OF_ROWS as shortage:
        logger.warning("the model failed on %d valid rows", n_rows, exc_info=shortage)
        raise FailedRowsError({}, reason=type(shortage).__name__) from shortage
    raised = next(iter(failures.first.values()), error)
    logger.warning("the model failed on %d of %d valid rows", failures.total, n_rows, exc_info=raised)
    names = {row: _name_of(failure) for row, failure in failures.first.items()}
    raise FailedRowsError(names, total=failures.total, is_all=failures.is_all) from error


def _name_of(failure: Exception) -> str:
    return type(failure.__cause__ if isinstance(failure, LeftError) else failure).__name__


class Failures(NamedTuple):
    """What the first failed rows raise, how many there are, and whether these are all."""

    first: dict[int, Exception]
    total: int
    is_all: bool


def find_failures(error: Exception, predict: Predict, columns: Columns, n_rows: int, most_probes: int = MOST_PROBES) -> Failures:
    """Halve the rows until every failed one stands alone.

    Notes
    -----
    The first rows are looked at first, and what is found halves what is left: all calls together ask for at most a few times
    the rows of the request.

    Examples
    --------
    >>> def roots(columns):
    ...     if (columns["x"] < 0).any():
    ...         raise ArithmeticError("no root")
    ...     return Prediction(np.sqrt(columns["x"]))
    >>> find_failures(ArithmeticError(), roots, {"x": np.array([4.0, -1.0, 9.0, -4.0])}, 4).first
    {1: ArithmeticError('no root'), 3: ArithmeticError('no root')}
    """
    first: dict[int, Exception] = {}
    total = 0
    ranges: list[tuple[int, int, Exception]] = [(0, n_rows, error)]
    probes = 0
    while ranges:
        start, stop, failure = ranges.pop()
        if isinstance(failure, NoAnswerError) or stop - start == 1:
            rows = failure.rows if isinstance(failure, NoAnswerError) else [0]
            total += len(rows)
            first.update((start + row, failure) for row in rows[: MOST_NAMED - len(first)])
        elif probes + 2 > most_probes:
            return Failures(first, total, False)
        else:
            middle = (start + stop) // 2
            probes += 2
            for half in ((middle, stop), (start, middle)):  # the first rows come off the stack first
                if (raised := _failure(predict, columns, *half)) is not None:
                    ranges.append((*half, raised))
    return Failures(first, total, True)


def _failure(predict: Predict, columns: Columns, start: int, stop: int) -> Exception | None:
    try:
        checked(predict, {name: values[start:stop] for name, values in columns.items()}, stop - start)
    except _NOT_OF_ROWS:
        raise
    except Exception as error:  # noqa: BLE001 - a user's pipeline may raise anything
        return error
    return None
