"""Weights of drawn labels: each draw alone and several together speak for all rows, also where labels come by themselves in between."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from service.label_requests.weights import Draw, Labelled, evenly, weigh

NEVER = 10**9
Numbers = npt.NDArray[np.int64]


class Stream:
    """Rows 0 to n - 1, one at each time, whose labels come by themselves at some machine times, if ever."""

    def __init__(self, n_rows: int, received_us: Numbers, rng: np.random.Generator) -> None:
        self.rng, self.received_us = rng, received_us.copy()
        self.request = np.zeros(n_rows, dtype=np.int64)
        self.draws: list[Draw] = []

    def draw(self, start: int, end: int, k: int, now: int) -> None:
        """Draw from a window at a machine time; what is drawn is labelled soon."""
        rows = np.arange(start, end)
        eligible = rows[(self.received_us[rows] > now) & (self.request[rows] == 0)]
        chosen = self.rng.choice(eligible, k, replace=False)
        self.request[chosen] = len(self.draws) + 1
        self.received_us[chosen] = np.minimum(self.received_us[chosen], now + 1)
        self.draws.append(Draw(len(self.draws) + 1, start, end, now, len(eligible), chosen, np.ones(k, dtype=bool)))

    def weights(self) -> tuple[Numbers, npt.NDArray[np.float64]]:
        """Return which rows have a label, and what they stand for."""
        rows = np.flatnonzero(self.received_us < NEVER)
        none = np.zeros(len(rows), dtype=np.int64)
        labelled = Labelled([f"p-{row}" for row in rows], rows, none, self.received_us[rows], self.request[rows])
        return rows, weigh(labelled, self.draws).rows


def test_what_a_draw_did_not_know_of_is_spoken_for_by_what_it_drew() -> None:
    stream = Stream(100, np.where(np.arange(100) < 25, 5, NEVER), np.random.default_rng(0))
    stream.draw(0, 100, 15, now=10)
    stream.received_us[(stream.request == 0) & (np.arange(100) >= 60)] = 20

    rows, weights = stream.weights()

    assert set(weights[rows < 25].tolist()) == {1.0}
    assert set(weights[stream.request[rows] == 1].tolist()) == {5.0}
    assert set(weights[(rows >= 60) & (stream.request[rows] == 0)].tolist()) == {0.0}
    assert weights.sum() == 100


def test_rows_of_no_draw_and_rows_that_came_after_it_stand_for_nothing() -> None:
    draw = Draw(1, 0, 10, 100, 5, np.array([3]), np.array([True]))
    received, arrived = np.array([50, 50, 50]), np.array([10, 10, 200])
    labelled = Labelled(["p-0", "p-1", "p-2"], np.array([5, 15, 5]), arrived, received, np.zeros(3, dtype=np.int64))

    assert weigh(labelled, [draw]).rows.tolist() == [1.0, 0.0, 0.0]
    assert weigh(labelled, []).rows.tolist() == [0.0, 0.0, 0.0]


def test_overlapping_draws_are_unbiased_though_one_kind_of_label_comes_between_them() -> None:
    n_rows, times = 400, 400
    rng = np.random.default_rng(1)
    is_quick = rng.random(n_rows) < 0.3
    losses = np.where(is_quick, 0.2, 1.0) + 0.1 * rng.random(n_rows)

    def drawn(seed: int) -> Stream:
        stream = Stream(n_rows, np.where(is_quick, 50, NEVER), np.random.default_rng([2, seed]))
        stream.draw(0, 300, 30, now=10)
        stream.draw(100, 400, 30, now=100)
        stream.draw(100, 250, 20, now=200)
        return stream

    sums = np.array([[(weights * losses[rows]).sum(), weights.sum()] for rows, weights in (drawn(seed).weights() for seed in range(times))])
    error = sums.std(axis=0, ddof=1) / np.sqrt(times)
    assert (np.abs(sums.mean(axis=0) - [losses.sum(), n_rows]) < 4.5 * error).all()
    assert (error < [3.0, 3.0]).all()


def test_two_draws_together_tell_nearly_as_much_as_one_of_both_sizes() -> None:
    stream = Stream(1000, np.full(1000, NEVER), np.random.default_rng(3))
    stream.draw(0, 1000, 50, now=10)
    stream.draw(0, 1000, 50, now=20)

    _, weights = stream.weights()

    assert weights.sum() ** 2 / (weights**2).sum() > 99.0


@pytest.mark.parametrize(("answered", "is_enough"), [(9, True), (8, False)])
def test_a_request_counts_from_nine_answers_in_ten_on_and_those_speak_for_the_rest(answered: int, is_enough: bool) -> None:
    draw = Draw(1, 0, 100, 10, 90, np.arange(10), np.arange(10) < answered)

    assert draw.is_answered_but_for(np.zeros(10, dtype=bool)) == is_enough
    assert draw.is_answered_but_for(np.arange(10) >= answered)
    assert answered / draw.share == pytest.approx(90)


def test_an_even_choice_keeps_each_row_as_often_as_it_weighs() -> None:
    ids = [f"p-{row}" for row in range(4000)]

    kept = evenly(ids, np.where(np.arange(4000) < 2000, 1.0, 0.25))

    assert kept[:2000].all()
    assert 400 < kept[2000:].sum() < 600
    assert evenly(ids[::-1], np.full(4000, 0.25)).tolist() == evenly(ids, np.full(4000, 0.25)).tolist()[::-1]
