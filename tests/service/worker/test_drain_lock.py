"""Whoever drains is found again at every look: the lock that is left empty is filled, by one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.worker.drain_lock import LOOKS, PATIENCE_SECONDS, DrainLock

Make = Callable[[], DrainLock]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    made: list[DrainLock] = []

    def one() -> DrainLock:
        made.append(DrainLock(tmp_path / "drain.lock", clock))
        return made[-1]

    yield one
    for lock in made:
        lock.leave()


def looks(lock: DrainLock, n: int) -> list[bool]:
    return [lock.is_ours_to_fill() for _ in range(n)]


def test_the_first_at_birth_drains_and_the_others_serve(make: Make) -> None:
    assert [make().take() for _ in range(3)] == [True, False, False]


def test_nobody_makes_room_while_somebody_drains(make: Make) -> None:
    make().take()

    assert not any(looks(make(), 5 * LOOKS))


def test_a_lock_left_free_is_noticed_by_one_that_found_it_taken(make: Make, tmp_path: Path, clock: Clock) -> None:
    old, serving = DrainLock(tmp_path / "drain.lock", clock), make()
    taken = old.take(), serving.take()
    before = looks(serving, LOOKS)
    old.leave()

    after = looks(serving, LOOKS)

    assert taken == (True, False)
    assert (before, after) == ([False] * LOOKS, [False] * (LOOKS - 1) + [True])


def test_a_drain_that_is_replaced_soon_costs_nobody_its_place(make: Make) -> None:
    serving = make()
    looks(serving, LOOKS - 1)
    make().take()

    assert not any(looks(serving, 5 * LOOKS))


def test_one_goes_at_a_time_and_the_next_only_when_its_successor_does_not_come(make: Make, clock: Clock) -> None:
    one, other = make(), make()

    first = [(one.is_ours_to_fill(), other.is_ours_to_fill()) for _ in range(LOOKS)]
    soon = looks(other, LOOKS)
    clock.seconds += PATIENCE_SECONDS
    later = other.is_ours_to_fill()

    assert (first[-1], any(soon), later) == ((True, False), False, True)


def test_a_look_does_not_take_the_lock(make: Make) -> None:
    make().is_ours_to_fill()

    assert make().take()


def test_what_was_left_before_the_machine_was_started_anew_counts_for_nothing(make: Make, tmp_path: Path) -> None:
    (tmp_path / "drain.lock").write_text("900000.0")

    assert looks(make(), LOOKS)[-1]
