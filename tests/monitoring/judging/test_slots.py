"""Which slots are due."""

import pytest

from monitoring.judging.slots import due_slots, first_slot


@pytest.mark.parametrize(("row", "slot"), [(0, 10), (9, 10), (10, 20), (-1, 0), (-10, 0)])
def test_the_first_slot_ends_at_the_next_boundary_after_the_row(row: int, slot: int) -> None:
    assert first_slot(row, 10) == slot


@pytest.mark.parametrize(
    ("last", "first", "watermark", "slots"),
    [
        pytest.param(None, None, 100, [], id="no row"),
        pytest.param(None, 5, None, [], id="no model time, no slot"),
        pytest.param(20, None, None, [], id="no model time"),
        pytest.param(None, 0, 9, [], id="the first has not ended"),
        pytest.param(None, 0, 10, [10], id="the first has just ended"),
        pytest.param(None, 25, 59, [30, 40, 50], id="from the first row on"),
        pytest.param(20, 5, 29, [], id="the next has not ended"),
        pytest.param(20, None, 40, [30, 40], id="after the last"),
        pytest.param(20, 35, 30, [30], id="the last counts, not the first row"),
        pytest.param(0, None, 10, [10], id="the last ended at the epoch"),
        pytest.param(None, 0, 25, [10, 20], id="the first row is at the epoch"),
    ],
)
def test_slots_are_due_when_model_time_has_reached_their_end(
    last: int | None, first: int | None, watermark: int | None, slots: list[int]
) -> None:
    assert list(due_slots(last, first, watermark, 10)) == slots
