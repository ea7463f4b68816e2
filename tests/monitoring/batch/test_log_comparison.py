"""Two windows of a log compared, or one with the reference: over real counts, and where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from monitoring.admin.workbench import Workbench
from monitoring.batch.log_comparison import Span, compare_windows
from monitoring.errors import InputError
from tests.monitoring.world import DAY_US, World, weather

NEXT, AFTER = Span(60 * DAY_US, 67 * DAY_US), Span(67 * DAY_US, 74 * DAY_US)


@pytest.fixture
def bench(make: Callable[..., World]) -> Iterator[Workbench]:
    """Two weeks of a log, counted by the day."""
    world = make()
    world.answer(weather(1, 60, 14))
    bench = Workbench({"EVERGREEN_HOME": str(world.stores.home.path), "EVERGREEN_DATABASE_URL": world.stores.database.url})
    yield bench
    bench.close()


def test_windows_of_a_log_are_compared_and_say_which_buckets_are_in_them(bench: Workbench) -> None:
    compared = compare_windows(bench, "rain", NEXT, AFTER)
    by_reference = compare_windows(bench, "rain", None, AFTER)

    assert (compared.rows_a, compared.rows_b, compared.moved) == (280, 280, ())
    assert by_reference.rows_b == 280
    assert compared.notes == (
        "A is 1970-03-02 00:00 to 1970-03-09 00:00: the 7 buckets from that of 1970-03-02 00:00 to that of 1970-03-08 00:00",
        "B is 1970-03-09 00:00 to 1970-03-16 00:00: the 7 buckets from that of 1970-03-09 00:00 to that of 1970-03-15 00:00",
    )


def test_a_window_that_begins_within_a_bucket_says_that_it_is_left_out(bench: Workbench) -> None:
    compared = compare_windows(bench, "rain", Span(NEXT.start_us + 1, NEXT.start_us + 2 * DAY_US), AFTER)

    assert compared.rows_a == 40
    assert compared.notes[0] == "A is 1970-03-02 00:00 to 1970-03-04 00:00: the bucket of 1970-03-03 00:00"


def test_windows_that_overlap_are_compared_and_said_to_overlap(bench: Workbench) -> None:
    compared = compare_windows(bench, "rain", NEXT, Span(NEXT.start_us + DAY_US, AFTER.end_us))

    assert compared.notes[-1] == "A and B overlap: the rows of both are in both"


@pytest.mark.parametrize(
    ("span", "why"),
    [
        (Span(10 * DAY_US, 11 * DAY_US), "the log has none there, and its newest is of 1970-03-15 23:24"),
        (Span(60 * DAY_US + 1, 60 * DAY_US + DAY_US // 2), "though 19 are logged there: it holds the buckets that begin in it"),
    ],
    ids=["before the log", "within a bucket"],
)
def test_a_window_without_counts_says_why(bench: Workbench, span: Span, why: str) -> None:
    with pytest.raises(InputError) as refused:
        compare_windows(bench, "rain", span, AFTER)

    assert str(refused.value).startswith("no row of rain is counted from ")
    assert why in str(refused.value)


def test_an_empty_log_is_said_to_be_empty(make: Callable[..., World]) -> None:
    world = make()
    bench = Workbench({"EVERGREEN_HOME": str(world.stores.home.path), "EVERGREEN_DATABASE_URL": world.stores.database.url})

    with pytest.raises(InputError, match="nothing of it is logged yet"):
        compare_windows(bench, "rain", NEXT, AFTER)
    bench.close()
