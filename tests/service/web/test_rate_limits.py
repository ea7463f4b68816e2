"""Rates of keys: what passes, for how long not, and that all workers count together."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.web.rate_limits import Rate, RateCounts
from tests.patience import PATIENCE_SECONDS

DIGEST, OTHER = "a1" * 32, "b2" * 32
SECOND = 1_000_000_000
PROCESSES, TRIES, BURST = 4, 2000, 1000


def ask_at_one_instant(path: Path) -> int:
    """What a worker lets through of many requests that come at the same time."""
    counts = RateCounts.shared(path, [DIGEST])
    return sum(counts.wait_ns(DIGEST, Rate(1, BURST), SECOND) == 0 for _ in range(TRIES))


def test_a_burst_passes_at_once_and_then_one_request_a_step() -> None:
    counts = RateCounts.in_memory([DIGEST])
    rate = Rate(4, burst=3)

    waits = [counts.wait_ns(DIGEST, rate, now_ns=at * SECOND // 4) for at in (0, 0, 0, 0, 1, 1, 2)]

    assert waits == [0, 0, 0, SECOND // 4, 0, SECOND // 4, 0]


def test_after_a_pause_the_whole_burst_is_there_again_and_no_more() -> None:
    counts = RateCounts.in_memory([DIGEST])
    rate = Rate(1, burst=2)
    counts.wait_ns(DIGEST, rate, 0)

    later = [counts.wait_ns(DIGEST, rate, 1000 * SECOND) for _ in range(3)]

    assert later == [0, 0, SECOND]


@given(
    st.lists(st.integers(0, 3 * SECOND), max_size=60),
    st.floats(0.1, 50),
    st.integers(1, 10),
)
def test_in_no_stretch_of_time_more_passes_than_burst_and_rate_allow(pauses: list[int], per_second: float, burst: int) -> None:
    counts = RateCounts.in_memory([DIGEST])
    times = [sum(pauses[: n + 1]) for n in range(len(pauses))]

    passed = [now for now in times if counts.wait_ns(DIGEST, Rate(per_second, burst), now) == 0]

    assert all(
        count <= burst + (last - first) / SECOND * per_second * (1 + 1e-6) + 1e-6
        for place, first in enumerate(passed)
        for count, last in enumerate(passed[place:], start=1)
    )


@given(st.integers(0, 10 * SECOND), st.integers(1, 5))
def test_who_waits_as_long_as_told_passes(now: int, burst: int) -> None:
    counts = RateCounts.in_memory([DIGEST])
    rate = Rate(3, burst)
    [counts.wait_ns(DIGEST, rate, now) for _ in range(burst)]

    wait = counts.wait_ns(DIGEST, rate, now)

    assert wait > 0
    assert counts.wait_ns(DIGEST, rate, now + wait) == 0


def test_two_workers_count_together_and_two_keys_apart(tmp_path: Path) -> None:
    first = RateCounts.shared(tmp_path / "rates", [DIGEST])
    second = RateCounts.shared(tmp_path / "rates", [OTHER, DIGEST])
    rate = Rate(1, burst=2)

    waits = [
        first.wait_ns(DIGEST, rate, 5),
        second.wait_ns(DIGEST, rate, 5),
        first.wait_ns(DIGEST, rate, 5),
        second.wait_ns(OTHER, rate, 5),
    ]

    assert waits == [0, 0, SECOND, 0]
    assert stat.S_IMODE((tmp_path / "rates").stat().st_mode) == 0o600


def test_workers_that_race_let_through_what_one_would(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        passed = pool.map(ask_at_one_instant, [tmp_path / "rates"] * PROCESSES, chunksize=1)

    # A worker that cannot have the lock after a few tries counts without: a handful at most, see the module.
    assert BURST <= sum(passed) <= BURST + 5 * PROCESSES


def test_who_slept_between_reading_and_writing_takes_back_nothing_that_others_counted() -> None:
    class Shared(list[int]):
        """One number that others move on three steps between the first reading and the next."""

        others: ClassVar = [3 * SECOND]

        def __getitem__(self, place: Any) -> Any:
            number = super().__getitem__(place)
            if self.others:
                self[place] = self.others.pop()
            return number

    words = Shared([0])
    counts = RateCounts(words, {DIGEST: 0}, None)  # type: ignore[arg-type]

    assert counts.wait_ns(DIGEST, Rate(1, burst=10), 0) == 0
    assert words[0] == 4 * SECOND


def test_a_file_of_an_earlier_boot_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "rates"
    path.write_bytes(b"another boot    " + bytes.fromhex(DIGEST)[:16] + (10**18).to_bytes(8, "little"))

    counts = RateCounts.shared(path, [DIGEST])

    assert counts.wait_ns(DIGEST, Rate(1, burst=1), 5) == 0


@pytest.mark.parametrize("now", [5, 10**6])
def test_a_count_that_no_clock_of_this_boot_can_have_made_is_forgotten(now: int) -> None:
    counts = RateCounts.in_memory([DIGEST])
    counts.wait_ns(DIGEST, Rate(1, burst=1), 10**15)

    assert counts.wait_ns(DIGEST, Rate(1, burst=1), now) == 0


def test_a_worker_does_not_wait_for_a_lock_that_another_holds(tmp_path: Path) -> None:
    holding, may_end = multiprocessing.get_context("spawn").Event(), multiprocessing.get_context("spawn").Event()
    counts = RateCounts.shared(tmp_path / "rates", [DIGEST])
    other = multiprocessing.get_context("spawn").Process(target=hold_all, args=(tmp_path / "rates", holding, may_end))
    other.start()
    assert holding.wait(PATIENCE_SECONDS)

    waits = [counts.wait_ns(DIGEST, Rate(1, burst=1), 5) for _ in range(2)]
    may_end.set()
    other.join(PATIENCE_SECONDS)

    assert waits == [0, SECOND]


def hold_all(path: Path, holding, may_end) -> None:  # type: ignore[no-untyped-def]
    """Hold the byte-range locks, as a process that was stopped would."""
    import fcntl

    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        holding.set()
        may_end.wait(PATIENCE_SECONDS)
