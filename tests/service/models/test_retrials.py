"""A version on which workers died is tried again by one worker at a time, ever more rarely, whatever became of the file that says when."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.models.retrials import FIRST_WAIT_SECONDS, MOST_WAITS, Retrials

SEGMENTS = "it died of SIGSEGV"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trials(tmp_path: Path, clock: Clock) -> Retrials:
    return Retrials(tmp_path, clock)


def tries_within(trials: Retrials, clock: Clock, seconds: float, step: float) -> list[float]:
    """Ask every `step` seconds; return after how many seconds it was tried."""
    began, times = clock.now, list[float]()
    while clock.now < began + seconds:
        trials.clears("bikes", "v1", 1, lambda: times.append(clock.now - began) or SEGMENTS)
        clock.now += step
    return times


def test_a_version_that_goes_on_to_kill_is_tried_ever_more_rarely(trials: Retrials, clock: Clock) -> None:
    times = tries_within(trials, clock, 86400, step=5.0)

    assert times == [15.0, 75.0, 315.0, 1275.0, 5115.0, 20475.0, 81915.0]


def test_there_is_a_longest_wait(trials: Retrials, clock: Clock) -> None:
    longest = FIRST_WAIT_SECONDS * 4**MOST_WAITS

    times = tries_within(trials, clock, 5 * longest, step=longest / 4)

    assert times[-1] - times[-2] == longest


def test_one_that_is_loaded_well_is_cleared_and_its_next_wait_is_longer_until_that_is_forgotten(trials: Retrials, clock: Clock) -> None:
    trials.clears("bikes", "v1", 1, lambda: None)
    clock.now += FIRST_WAIT_SECONDS
    cleared = trials.clears("bikes", "v1", 1, lambda: None)
    clock.now += FIRST_WAIT_SECONDS
    too_early = trials.clears("bikes", "v1", 1, lambda: None)
    trials.forget("bikes")
    trials.clears("bikes", "v1", 1, lambda: None)
    clock.now += FIRST_WAIT_SECONDS

    assert (cleared, too_early, trials.clears("bikes", "v1", 1, lambda: None)) == ((True, None), (False, None), (True, None))


@pytest.mark.parametrize(("version", "move"), [("v2", 1), ("v1", 2)], ids=["another version", "another move"])
def test_the_waits_of_another_version_or_move_begin_anew(trials: Retrials, clock: Clock, version: str, move: int) -> None:
    tries_within(trials, clock, 2000, step=5.0)

    answered = trials.clears("bikes", version, move, lambda: None)
    clock.now += FIRST_WAIT_SECONDS

    assert (answered, trials.clears("bikes", version, move, lambda: None)) == ((False, None), (True, None))


def test_one_worker_at_a_time_tries(trials: Retrials, clock: Clock, tmp_path: Path) -> None:
    other = Retrials(tmp_path, clock)
    trials.clears("bikes", "v1", 1, lambda: None)
    clock.now += FIRST_WAIT_SECONDS
    seen: list[object] = []

    trials.clears("bikes", "v1", 1, lambda: seen.append(other.clears("bikes", "v1", 1, lambda: None)))
    of_another_model = other.clears("fares", "v1", 1, lambda: None)

    assert seen == [(False, None)]
    assert of_another_model == (False, None)


def test_after_a_new_start_of_the_machine_the_wait_is_over(trials: Retrials, clock: Clock) -> None:
    trials.clears("bikes", "v1", 1, lambda: None)
    clock.now = 3.0

    assert trials.clears("bikes", "v1", 1, lambda: None) == (True, None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "v1"}', "\x00" * 40, '{"other": 1}'])
def test_a_damaged_file_costs_a_wait_and_no_more(trials: Retrials, clock: Clock, tmp_path: Path, content: str) -> None:
    (tmp_path / "bikes.trials").write_text(content)

    answered = trials.clears("bikes", "v1", 1, lambda: None)
    clock.now += FIRST_WAIT_SECONDS

    assert (answered, trials.clears("bikes", "v1", 1, lambda: None)) == ((False, None), (True, None))


def test_where_nothing_can_be_written_it_stays_refused(clock: Clock, tmp_path: Path) -> None:
    trials = Retrials(tmp_path / "nowhere", clock)

    assert [trials.clears("bikes", "v1", 1, lambda: None) for _ in range(2)] == [(False, None)] * 2
    trials.forget("bikes")
