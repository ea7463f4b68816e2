"""Many callers, one predict: who waits together is predicted together, and a failing row is nobody else's trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.errors import FailedRowsError
from service.models.batching import Batcher
from service.models.failed_rows import MOST_PROBES
from tests.patience import PATIENCE_SECONDS
from training.fitting.fitted_model import FittedModel
from training.schema.feature import Feature
from training.schema.prediction import Prediction
from training.schema.rows import Columns
from training.schema.schema import Schema

SCHEMA = Schema((Feature("x", "numeric"), Feature("y", "numeric")), "t", "regression")
TWO = Schema((Feature("x", "numeric"), Feature("y", "numeric")), "t", "binary", positive="1")


class Squares:
    """Squares the column x; raises on 13, and says NaN to -1; keeps the values of each call."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []

    def predict(self, columns: Columns) -> Prediction:
        x = columns["x"]
        self.calls.append(x.tolist())
        if (x == 13).any():
            raise ArithmeticError("thirteen")
        return Prediction(np.where(x == -1, np.nan, x * x))


class Held:
    """A predictor that stops inside its first call until it is let go."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.is_in = threading.Event()
        self.may_go = threading.Event()

    def predict(self, columns: Columns) -> Prediction:
        if not self.is_in.is_set():
            self.is_in.set()
            assert self.may_go.wait(PATIENCE_SECONDS)
        return self.inner.predict(columns)


def rows(*values: float) -> Columns:
    return {"x": np.array(values, dtype=np.float64)}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


@pytest.fixture
def batches() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def batcher(batches: list[tuple[int, int]]) -> Batcher:
    return Batcher(most_rows=8, on_batch=lambda n_requests, n_rows: batches.append((n_requests, n_rows)))


Ask = Callable[..., Future[Prediction]]


@pytest.fixture
def ask(pool: ThreadPoolExecutor, batcher: Batcher, until: Callable[..., Any]) -> Ask:
    """Send a request from a thread of its own; the next one is sent when this one waits in the batcher."""

    def send(predictor: Any, *values: float, **options: Any) -> Future[Prediction]:
        before = batcher.waiting
        future = pool.submit(batcher.predict, predictor, rows(*values), len(values), **options)
        until(lambda: batcher.waiting > before or future.done())
        return future

    return send


@contextmanager
def busy(batcher: Batcher, pool: ThreadPoolExecutor, predictor: Any) -> Iterator[Future[Prediction]]:
    """Keep the batcher busy with another request, until the end of the block."""
    held = Held(predictor)
    first = pool.submit(batcher.predict, held, rows(2), 1)
    assert held.is_in.wait(PATIENCE_SECONDS)
    try:
        yield first
    finally:
        held.may_go.set()


def labels_of(future: Future[Prediction]) -> list[float]:
    return future.result(PATIENCE_SECONDS).label.tolist()  # type: ignore[no-any-return]


def test_a_caller_alone_is_answered_by_one_call_of_its_own_thread(batcher: Batcher, batches: list[tuple[int, int]]) -> None:
    squares = Squares()

    answer = batcher.predict(squares, rows(2, 3), 2)

    assert (answer.label.tolist(), squares.calls, batches) == ([4, 9], [[2, 3]], [(1, 2)])


def test_who_waits_together_is_predicted_together_in_the_order_they_came(
    batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask, batches: list[tuple[int, int]]
) -> None:
    squares = Squares()

    with busy(batcher, pool, Squares()) as first:
        answers = [ask(squares, 3), ask(squares, 4, 5), ask(squares, 6)]

    assert [labels_of(a) for a in (first, *answers)] == [[4], [9], [16, 25], [36]]
    assert squares.calls == [[3, 4, 5, 6]]
    assert batches == [(1, 1), (3, 4)]


def test_no_more_rows_than_the_bound_are_predicted_together(batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask) -> None:
    squares = Squares()

    with busy(batcher, pool, Squares()):
        answers = [ask(squares, 1, 2, 3), ask(squares, 4, 5, 6), ask(squares, 7, 8, 9), ask(squares, 10)]

    assert [len(labels_of(a)) for a in answers] == [3, 3, 3, 1]
    assert squares.calls == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10]]


def test_a_request_larger_than_the_bound_goes_alone(batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask) -> None:
    squares, large = Squares(), [float(value) for value in range(20, 30)]

    with busy(batcher, pool, Squares()):
        answers = [ask(squares, 1), ask(squares, *large), ask(squares, 3)]

    assert [len(labels_of(a)) for a in answers] == [1, 10, 1]
    assert squares.calls == [[1], large, [3]]


def test_requests_of_other_models_are_not_joined_but_none_predicts_beside_another(
    batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask
) -> None:
    one, other = Squares(), Squares()

    with busy(batcher, pool, Squares()):
        answers = [ask(one, 1), ask(other, 2), ask(one, 3), ask(other, 4)]

    assert [labels_of(a) for a in answers] == [[1], [4], [9], [16]]
    assert (one.calls, other.calls) == ([[1, 3]], [[2, 4]])


def test_requests_that_gain_nothing_go_one_after_the_other(batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask) -> None:
    squares = Squares()

    with busy(batcher, pool, Squares()):
        answers = [ask(squares, 1, joins=False), ask(squares, 2, joins=False)]

    assert [labels_of(a) for a in answers] == [[1], [4]]
    assert squares.calls == [[1], [2]]


def test_a_failing_request_fails_alone_and_names_its_rows(batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask) -> None:
    squares = Squares()

    with busy(batcher, pool, Squares()):
        answers = [ask(squares, 1), ask(squares, 2, 13), ask(squares, 3), ask(squares, 4)]

    with pytest.raises(FailedRowsError, match="row 1: the model fails on it") as caught:
        labels_of(answers[1])
    assert [labels_of(answers[place]) for place in (0, 2, 3)] == [[1], [9], [16]]
    assert [(p.row, p.code, p.got) for p in caught.value.problems] == [(1, "failed", "ArithmeticError")]


def test_rows_answered_with_no_number_fail_their_own_request(batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask) -> None:
    squares = Squares()

    with busy(batcher, pool, Squares()):
        answers = [ask(squares, 1), ask(squares, 2, -1, -1), ask(squares, 3)]

    with pytest.raises(FailedRowsError) as caught:
        labels_of(answers[1])
    assert [problem.row for problem in caught.value.problems] == [1, 2]
    assert (labels_of(answers[0]), labels_of(answers[2])) == ([1], [9])
    assert squares.calls == [[1, 2, -1, -1, 3]]


@pytest.mark.parametrize("shift", [-1, 1], ids=["too few", "too many"])
def test_an_answer_of_the_wrong_length_is_an_error_and_never_a_neighbours_row(batcher: Batcher, shift: int) -> None:
    class Miscounts:
        def predict(self, columns: Columns) -> Prediction:
            return Prediction(np.zeros(len(columns["x"]) + shift))

    with pytest.raises(FailedRowsError, match=r"row 0: the model fails on it \(ValueError\).*and on 1 more"):
        batcher.predict(Miscounts(), rows(1, 2), 2)


def test_a_model_that_fails_only_on_rows_together_says_so(batcher: Batcher) -> None:
    class Loner:
        def predict(self, columns: Columns) -> Prediction:
            (value,) = columns["x"]
            return Prediction(np.array([value]))

    with pytest.raises(FailedRowsError, match="together, though on none of them alone"):
        batcher.predict(Loner(), rows(1, 2), 2)


def test_finding_the_failed_rows_of_a_large_request_is_bounded_and_lets_others_in(batcher: Batcher) -> None:
    squares = Squares()

    with pytest.raises(FailedRowsError, match="at least") as caught:
        batcher.predict(squares, rows(*[13.0] * 5000), 5000)

    assert 1 <= caught.value.total < 5000
    assert len(squares.calls) <= 1 + MOST_PROBES
    assert batcher.predict(squares, rows(2), 1).label.tolist() == [4]


@pytest.mark.parametrize("kind", [MemoryError, ConnectionError])
def test_what_is_no_matter_of_rows_names_none_and_is_not_tried_again(
    batcher: Batcher, batches: list[tuple[int, int]], kind: type[Exception]
) -> None:
    class Broken:
        def predict(self, columns: Columns) -> Prediction:
            raise kind("gone")

    with pytest.raises(FailedRowsError, match=rf"fails on these rows together \({kind.__name__}\)") as caught:
        batcher.predict(Broken(), rows(1, 2), 2)

    assert (caught.value.problems, batches) == ((), [(1, 2)])


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError])
def test_a_pipeline_that_would_leave_fails_on_its_own_rows(
    batcher: Batcher, pool: ThreadPoolExecutor, ask: Ask, kind: type[BaseException]
) -> None:
    class Deadly(Squares):
        def predict(self, columns: Columns) -> Prediction:
            if 666 in columns["x"]:
                raise kind("a pipeline that leaves")
            return super().predict(columns)

    deadly = Deadly()

    with busy(batcher, pool, Squares()):
        answers = [ask(deadly, 666), ask(deadly, 2), ask(deadly, 3)]

    with pytest.raises(FailedRowsError, match=rf"row 0: the model fails on it \({kind.__name__}\)"):
        answers[0].result(PATIENCE_SECONDS)
    assert (labels_of(answers[1]), labels_of(answers[2])) == ([4], [9])
    assert batcher.predict(deadly, rows(5), 1).label.tolist() == [25]
    assert batcher.waiting == 0


def test_a_callback_that_fails_hurts_only_the_leader(pool: ThreadPoolExecutor, until: Callable[..., Any]) -> None:
    def fail(n_requests: int, _n_rows: int) -> None:
        if n_requests > 1:
            raise RuntimeError("no counting today")

    batcher, squares = Batcher(on_batch=fail), Squares()
    with busy(batcher, pool, Squares()):
        answers = [pool.submit(batcher.predict, squares, rows(3), 1) for _ in range(4)]
        until(lambda: batcher.waiting == 4)

    errors = [answer.exception(PATIENCE_SECONDS) for answer in answers]

    assert [type(error) for error in errors].count(RuntimeError) == 1
    assert errors.count(None) == 3


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_together_everybody_gets_the_answer_to_their_own_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batcher, squares = Batcher(most_rows=int(rng.integers(2, 40))), Squares()
    requests = [rng.choice([1.0, 2.0, 3.0, 13.0, -1.0], int(rng.integers(1, 12)), p=[0.4, 0.3, 0.26, 0.02, 0.02]) for _ in range(300)]

    def outcome(values: Any) -> list[Any]:
        try:
            return [batcher.predict(squares, {"x": values}, len(values)).label.tolist()]
        except FailedRowsError as error:
            return [problem.row for problem in error.problems]

    def expected(values: Any) -> list[Any]:
        raising = np.flatnonzero(values == 13).tolist()
        silent = np.flatnonzero(values == -1).tolist()
        return sorted({*raising, *silent}) if raising or silent else [(values * values).tolist()]

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(outcome, requests))

    assert outcomes == [expected(values) for values in requests]
    assert batcher.waiting == 0


@pytest.fixture(scope="module")
def table() -> Columns:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=400), "y": rng.normal(size=400)}


def predicted_together(model: FittedModel, table: Columns, until: Callable[..., Any]) -> list[Prediction]:
    """Predict 24 requests of one to three rows in one call."""
    batcher, held = Batcher(), Held(model)
    parts = [{name: values[3 * i : 3 * i + 1 + i % 3] for name, values in table.items()} for i in range(24)]
    with ThreadPoolExecutor(25) as threads:
        first = threads.submit(batcher.predict, held, parts[0], len(parts[0]["x"]))
        assert held.is_in.wait(PATIENCE_SECONDS)
        futures = [threads.submit(batcher.predict, model, part, len(part["x"])) for part in parts]
        until(lambda: batcher.waiting == 24)
        held.may_go.set()
        assert len(first.result(PATIENCE_SECONDS)) == 1
        return [future.result(PATIENCE_SECONDS) for future in futures]


def test_a_forest_answers_together_what_it_answers_alone_to_the_bit(table: Columns, until: Callable[..., Any]) -> None:
    pipeline = RandomForestRegressor(20, random_state=0).fit(np.column_stack([table["x"], table["y"]]), table["x"] * table["y"])
    pipeline.feature_names_in_ = np.array(["x", "y"], dtype=object)
    model = FittedModel.of(pipeline, SCHEMA)

    together = predicted_together(model, table, until)

    alone = [model.predict({name: values[3 * i : 3 * i + 1 + i % 3] for name, values in table.items()}) for i in range(24)]
    assert [p.label.tolist() for p in together] == [p.label.tolist() for p in alone]


def test_a_linear_model_answers_together_what_it_answers_alone_but_for_the_last_bits(table: Columns, until: Callable[..., Any]) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(pd.DataFrame(table), (table["x"] > table["y"]).astype(int))
    model = FittedModel.of(pipeline, TWO)

    together = predicted_together(model, table, until)

    alone = [model.predict({name: values[3 * i : 3 * i + 1 + i % 3] for name, values in table.items()}) for i in range(24)]
    assert [p.label.tolist() for p in together] == [p.label.tolist() for p in alone]
    differences = [np.abs(p.probability - q.probability).max() for p, q in zip(together, alone, strict=True)]
    assert max(differences) <= 1e-12
