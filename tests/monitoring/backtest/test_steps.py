"""What a replay sends when: cut at slots and buckets, labels when they are due."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.backtest.steps import Batch, Due, Feedback, batches
from training.policies import LabelPolicy
from training.schema.rows import Rows

times = st.lists(st.integers(0, 400), min_size=1, max_size=60).map(lambda t: np.array(sorted(t), dtype=np.int64))


def rows(time_us: list[int]) -> Rows:
    n = len(time_us)
    return Rows({"x": np.zeros(n)}, np.zeros(n), np.array(time_us, dtype=np.int64))


@given(times)
def test_every_row_is_sent_once_and_in_order(time_us: np.ndarray) -> None:
    cut = list(batches(time_us, 50, 10, 50, 7))

    assert [i for b in cut for i in range(b.start, b.stop)] == list(range(len(time_us)))


@given(times)
def test_no_batch_crosses_a_slot_and_the_first_rows_past_one_stand_alone(time_us: np.ndarray) -> None:
    cut = list(batches(time_us, 50, 10, 50, 7))

    assert all(time_us[b.start] // 50 == time_us[b.stop - 1] // 50 for b in cut)
    assert all(len(set(time_us[b.start : b.stop].tolist())) == 1 for b in cut if b.is_boundary)
    assert {int(time_us[b.start]) // 50 for b in cut if b.is_boundary} == {t // 50 for t in time_us.tolist()} - {0}


def test_rows_of_one_bucket_go_together_up_to_a_limit() -> None:
    cut = list(batches(np.array([0, 1, 2, 3, 11]), 50, 10, 50, 3))

    assert cut == [Batch(0, 3, False), Batch(3, 4, False), Batch(4, 5, False)]


def test_a_label_is_due_its_delay_after_its_row_and_only_once() -> None:
    due = Due(Feedback.by_policy(rows([0, 10, 20, 30]), LabelPolicy(delay=timedelta(microseconds=15))))

    assert list(due.before(2, 20, None)) == [0]
    assert list(due.before(3, 30, None)) == [1]
    assert list(due.before(4, 100, None)) == [2, 3]


def test_before_a_slot_only_labels_due_before_its_end_are_told() -> None:
    due = Due(Feedback.by_policy(rows([0, 10, 20]), LabelPolicy(delay=timedelta(microseconds=5))))

    assert list(due.before(2, 20, 12)) == [0]
    assert list(due.before(2, 20, None)) == [1]


def test_a_delay_in_rows_counts_rows() -> None:
    due = Due(Feedback.by_policy(rows([0, 0, 0, 50]), LabelPolicy(delay=None, delay_rows=2)))

    assert list(due.before(2, 0, None)) == []
    assert list(due.before(3, 0, None)) == [0]


@pytest.mark.parametrize("limit", [None, 5])
def test_a_label_is_never_told_before_its_row_was_sent(limit: int | None) -> None:
    due = Due(Feedback.by_policy(rows([0, 1, 2]), LabelPolicy(delay=timedelta(microseconds=0))))

    assert list(due.before(1, 1_000, limit)) == [0]
