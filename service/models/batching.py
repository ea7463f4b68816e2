"""Many callers, one predict; a bad row never fails its neighbours.

A call of a plain scikit-learn pipeline costs milliseconds whether it is asked for one row or for thirty, and two at a time
are slower than one after the other, since they fight for the interpreter. So each worker has one batcher for all models whose
predict is expensive. Whoever comes while it is busy waits, and whoever waits together for the same model is predicted together.
There is no timer and no thread of its own: the first of those who wait leads, and answers the others along with itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.models.failed_rows import NoAnswerError, asked, checked, raise_failed_rows, refuse_wrong_shape, rows_without_answer
from training.schema.prediction import Prediction
from training.schema.rows import Columns, count_rows

MOST_ROWS = 1024
"""The rows of requests that are predicted together; a larger request goes alone."""


class Predicts(Protocol):
    """Anything that answers rows."""

    def predict(self, columns: Columns) -> Prediction:
        """Return the answer for each row."""


def _ignore(_n_requests: int, _n_rows: int) -> None:
    """Ignore a call."""


@dataclass(slots=True, eq=False)
class _Request:
    """What one caller waits for: a prediction, an error, or its turn to lead."""

    predictor: Predicts
    columns: Columns
    n_rows: int
    joins: bool
    leads: bool = False
    is_done: bool = False
    is_gone: bool = False
    prediction: Prediction | None = None
    error: Exception | None = None
    gate: threading.Lock | None = None

    def finish(self, prediction: Prediction | None, error: Exception | None = None) -> None:
        """Hand the caller its prediction or its error, and wake it."""
        self.prediction, self.error = prediction, error
        self.is_done = True
        if self.gate is not None:
            self.gate.release()

    def result(self) -> Prediction:
        """Return the prediction, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.prediction is not None
        return self.prediction


class Batcher:
    """Where the expensive models of one process predict, one call at a time.

    Parameters
    ----------
    most_rows
        The bound of rows of what is predicted together.
    on_batch
        Called with the number of requests and of rows before each call of a model.

    Notes
    -----
    An answer is the one the request would get alone: bit for bit where the estimator treats each row by itself, as trees do.
    Matrix products may differ in the last bits with the number of rows, together or not (tested to 1e-12).

    Requests are joined in the order they came, and those of one model never overtake each other. While those of one model are
    predicted, those of another wait.

    Examples
    --------
    >>> class Doubler:
    ...     def predict(self, columns):
    ...         return Prediction(columns["x"] * 2)
    >>> Batcher().predict(Doubler(), {"x": np.array([1.0, 2.0])}, 2).label.tolist()
    [2.0, 4.0]
    """

    def __init__(self, *, most_rows: int = MOST_ROWS, on_batch: Callable[[int, int], None] = _ignore) -> None:
        self._most_rows = most_rows
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self._is_busy = False
        self._waiting: deque[_Request] = deque()

    @property
    def waiting(self) -> int:
        """The number of requests that wait now."""
        return len(self._waiting)

    def predict(self, predictor: Predicts, columns: Columns, n_rows: int, *, joins: bool = True) -> Prediction:
        """Predict the rows of one request, maybe along with others' of the same predictor; from any thread.

        Parameters
        ----------
        predictor
            Only requests with the very same object are predicted together.
        columns
            Shape (n_rows,) each; they must fit the schema.
        joins
            False keeps it by itself: where the cost of a call grows with its rows, waiting for others' gains nothing.

        Raises
        ------
        FailedRowsError
            The model fails on some of *these* rows; the calls that find out which take turns with everybody else's requests.
        """
        request = self._pass(_Request(predictor, columns, n_rows, joins))
        if request.error is not None:
            raise_failed_rows(request.error, lambda some: self._predict_alone(predictor, some), columns, n_rows)
        return request.result()

    def _predict_alone(self, predictor: Predicts, columns: Columns) -> Prediction:
        return self._pass(_Request(predictor, columns, count_rows(columns), joins=False)).result()

    def _pass(self, request: _Request) -> _Request:
        """Bring a request through the batcher: led by its own caller or by one who waited before."""
        with self._lock:
            if self._is_busy:
                request.gate = gate = threading.Lock()
                gate.acquire()
                self._waiting.append(request)
            else:
                self._is_busy = True
                gate = None
        if gate is not None:
            try:
                gate.acquire()  # released by whoever answered, or hands the batcher on
            except BaseException:  # a signal in the main thread
                self._give_up(request)
                raise
            if request.is_done:
                return request
            request.gate = None
        self._lead(request)
        return request

    def _lead(self, request: _Request) -> None:
        batch = [request]
        try:
            if self._waiting and request.joins:
                with self._lock:
                    batch += self._companions(request)
            self._answer(batch)
        finally:
            self._hand_on([other for other in batch[1:] if not other.is_done])

    def _companions(self, leader: _Request) -> list[_Request]:
        """Take those who may come along from the queue; never one before another of the same model that came earlier."""
        room = self._most_rows - leader.n_rows
        taken: list[_Request] = []
        for request in self._waiting:
            if request.predictor is not leader.predictor:
                continue
            room -= request.n_rows
            if room < 0 or not request.joins:
                break
            taken.append(request)
        for request in taken:
            self._waiting.remove(request)
        return taken

    def _answer(self, batch: Sequence[_Request]) -> None:
        """Predict some requests in one call; when that fails, halve them until those who fail stand alone."""
        n_rows = sum(request.n_rows for request in batch)
        self._on_batch(len(batch), n_rows)
        try:
            if len(batch) == 1:
                batch[0].finish(checked(batch[0].predictor.predict, batch[0].columns, n_rows))
                return
            prediction = asked(batch[0].predictor.predict, _joined([request.columns for request in batch]))
            refuse_wrong_shape(prediction, n_rows)
        except Exception as error:  # noqa: BLE001 - a user's pipeline may raise anything
            if len(batch) == 1:
                batch[0].finish(None, error)
                return
            middle = len(batch) // 2
            self._answer(batch[:middle])
            self._answer(batch[middle:])
            return
        _share_out(prediction, batch)

    def _hand_on(self, unanswered: Sequence[_Request]) -> None:
        """Let the first who waits lead; those whose leader died come before all others, and each goes alone."""
        with self._lock:
            for request in reversed(unanswered):
                if not request.is_gone:
                    request.joins = False
                    self._waiting.appendleft(request)
            self._wake_next()

    def _wake_next(self) -> None:
        """Make the first who waits the leader, or leave the batcher free; with the lock held."""
        if not self._waiting:
            self._is_busy = False
            return
        leader = self._waiting.popleft()
        leader.leads = True
        assert leader.gate is not None
        leader.gate.release()

    def _give_up(self, request: _Request) -> None:
        """Leave the queue, or hand on the lead that came too late."""
        with self._lock:
            request.is_gone = True
            if request in self._waiting:
                self._waiting.remove(request)
            elif request.leads:
                self._wake_next()


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([columns[name] for columns in parts]) for name in parts[0]}


def _share_out(prediction: Prediction, batch: Sequence[_Request]) -> None:
    """Hand each request its rows, or the error that some of its own have no answer."""
    bad = rows_without_answer(prediction)
    start = 0
    for request in batch:
        stop = start + request.n_rows
        own = bad[(bad >= start) & (bad < stop)] - start
        request.finish(prediction.take(slice(start, stop)), NoAnswerError(own.tolist()) if len(own) else None)
        start = stop
