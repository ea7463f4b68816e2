"""The ticker goes on whatever the machine's clock does, and a loop that does not turn is noticed."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

import apscheduler.schedulers.base
import pytest

from monitoring.loop.scheduler import Pulse, Ticker
from tests.patience import PATIENCE_SECONDS

INTERVAL = timedelta(seconds=0.01)


class Clock:
    """Stands in for the clock of APScheduler's machine: real time, but set forth and back."""

    def __init__(self) -> None:
        self.step = timedelta()
        self.step_at_look = 0
        self.looks = 0

    def now(self, zone: tzinfo | None = None) -> datetime:
        self.looks += 1
        return datetime.now(zone) + (self.step if self.looks > self.step_at_look else timedelta())


class Calls:
    """Counts calls, and lets one wait for more."""

    def __init__(self) -> None:
        self._more = threading.Condition()
        self.n = 0

    def __call__(self) -> None:
        with self._more:
            self.n += 1
            self._more.notify_all()

    def go_on(self, by: int = 5) -> bool:
        with self._more:
            aim = self.n + by
            return self._more.wait_for(lambda: self.n >= aim, PATIENCE_SECONDS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", clock)
    return clock


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def ticker(calls: Calls, clock: Clock) -> Iterator[Ticker]:
    ticker = Ticker({"tick": (calls, INTERVAL), "rarely": (lambda: None, timedelta(hours=1))})
    ticker.start()
    yield ticker
    ticker.stop()


@pytest.mark.parametrize("step", [{"hours": -1}, {"hours": 1}, {"days": -3}, {"days": 3}, {"seconds": -30}, {"days": 365 * 56}], ids=str)
def test_a_step_of_the_clock_stops_no_tick(step: dict[str, int], ticker: Ticker, calls: Calls, clock: Clock) -> None:
    assert calls.go_on()

    clock.step = timedelta(**step)

    assert calls.go_on()


def test_a_clock_set_forth_and_back_again_stops_no_tick(ticker: Ticker, calls: Calls, clock: Clock) -> None:
    went_on = []
    for hours in (1, 0, -1, 0):
        clock.step = timedelta(hours=hours)
        went_on.append(calls.go_on())

    assert went_on == [True] * 4


@pytest.mark.parametrize("looks", range(1, 9))
def test_a_clock_set_back_between_a_look_and_the_sleep_stops_no_tick(looks: int, clock: Clock, calls: Calls) -> None:
    clock.step, clock.step_at_look = timedelta(hours=-1), looks
    ticker = Ticker({"tick": (calls, INTERVAL)})
    ticker.start()

    went_on = calls.go_on()
    ticker.stop()

    assert went_on


def test_what_was_missed_while_the_clock_was_set_forth_is_made_up_for_once(clock: Clock) -> None:
    rare, often = Calls(), Calls()
    ticker = Ticker({"rarely": (rare, timedelta(hours=1)), "tick": (often, INTERVAL)})
    ticker.start()
    often.go_on()

    clock.step = timedelta(days=3)
    often.go_on()
    ticker.stop()

    assert rare.n == 2  # at the start, and for the three days


@pytest.mark.parametrize(("is_busy", "quiet", "is_there"), [(False, 9, True), (False, 11, False), (True, 11, True), (True, 601, False)])
def test_a_loop_may_be_quiet_for_longer_within_a_call(is_busy: bool, quiet: float, is_there: bool) -> None:
    seconds = [100.0]
    pulse = Pulse(idle_seconds=10, busy_seconds=600, monotonic=lambda: seconds[0])
    pulse.beat(is_busy=is_busy)

    seconds[0] += quiet

    assert pulse.is_there() == is_there
