"""What the loop concludes is a function of the rows alone: not of when a monitor looked, nor of how often it was killed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitoring.admin.manual_actions import set_clock
from monitoring.admin.workbench import Workbench
from monitoring.drift.episodes import Acknowledgement
from monitoring.journal.journal import Journal
from monitoring.journal.tables import RETRAIN, TICK
from monitoring.loop.retention import add_up_old_counts
from monitoring.loop.tick import Watch, tick
from tests.conftest import Once
from tests.monitoring.loop.test_drift_watch import DAILY, windy
from tests.monitoring.world import DAY_US, HANGS, ON_LABELS, World, make_world, weather
from training.clock import from_us
from training.json_text import to_text
from training.registry.tables import Cause
from training.schema.rows import Rows

FIRST, LAST, STUCK_DAY, ASKED_DAY = 60, 94, 76, 86
HOURLY = DAILY.replace("bucket: 1d", "bucket: 2h")
BY_ROWS = DAILY.replace("labels: {delay: 1d}", "labels: {delay: 60 rows}")
Make = Callable[..., World]


class KilledError(BaseException):
    """The monitor's process is gone."""


def rows_with_a_fault() -> tuple[Rows, Rows]:
    """Return rows that come in time and such as come three days late, all of the first day among these; one day's wind is missing."""
    rows = windy(LAST - FIRST)
    is_stuck = (rows.time_us >= (STUCK_DAY + 0.25) * DAY_US) & (rows.time_us < (STUCK_DAY + 0.75) * DAY_US)
    rows = Rows({**rows.columns, "cloud": np.where(is_stuck, np.nan, rows.columns["cloud"])}, rows.labels, rows.time_us)
    is_late = ((np.arange(len(rows)) % 7 == 3) & (rows.time_us < (LAST - 4) * DAY_US)) | (rows.time_us < (FIRST + 1) * DAY_US)
    return rows.take(~is_late), rows.take(is_late)


def concluded(world: World) -> tuple[Any, ...]:
    """Return all that the journal concluded, without machine times."""
    journal = world.stores.journal
    verdicts = [(v.slot_us // DAY_US, v.verdict, v.reasons, v.evidence) for v in reversed(journal.verdicts("rain", limit=None))]
    episodes = [one for one, _ in journal.episodes("rain", None)]
    messages = sorted((str(one.incident), one.type, to_text(one.content)) for one, _ in journal.outbox.last("rain", 100))
    return verdicts, episodes, [(q.start_us, q.end_us, q.reason, q.slot_us) for q in journal.quarantines("rain")], messages


def replayed(
    make: Make, file: str, *, pauses: range = range(0), on_day: Callable[[World, Watch, int], None] | None = None
) -> tuple[Any, ...]:
    """Replay days of which some rows come late; the monitor is stopped for some days, and adds up old counts when it is back.

    Nothing is mapped: while no monitor is there, rows are answered by older maps, and so the log would be another one.
    """
    world, (now, late) = make(model_file=file), rows_with_a_fault()
    watch = world.monitor()
    for day in range(FIRST, LAST):
        world.log(now.between(day * DAY_US, (day + 1) * DAY_US))
        world.log(late.between((day - 3) * DAY_US, (day - 2) * DAY_US))
        world.label(now.between((day - 1) * DAY_US, day * DAY_US))
        if on_day is not None:
            on_day(world, watch, day)
        if day not in pauses:
            add_up_old_counts(world.stores, world.spec)
            world.settle(watch)
    add_up_old_counts(world.stores, world.spec)
    world.settle(watch)
    world.close()
    return concluded(world)


@pytest.fixture(scope="session")
def whole(once: Once) -> tuple[Any, ...]:
    """Return what is concluded of the replay that nobody disturbs; made once a run."""

    def make(folder: Path) -> None:
        concluded_there = replayed(partial(make_world, folder / "home", once=once), HOURLY)
        (folder / "whole.pickle").write_bytes(pickle.dumps(concluded_there))

    answer: tuple[Any, ...] = pickle.loads((once("whole-replay", make) / "whole.pickle").read_bytes())
    return answer


@contextmanager
def killed(method: str, at_day: int) -> Iterator[list[str]]:
    """Let the monitor die when it is about to write something of one slot, each time it is asked to."""
    original, seen = getattr(Journal, method), list[str]()

    def dies(journal: Journal, turn: Any, what: Any, *args: Any, **options: Any) -> Any:
        slot = what if isinstance(what, str) else f"rain.{TICK}.{what.slot_us}"
        if slot == f"rain.{TICK}.{at_day * DAY_US}":
            seen.append(slot)
            raise KilledError
        return original(journal, turn, what, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, method, dies)
        yield seen


def die_at(world: World, watch: Watch, method: str, day: int) -> None:
    """Let the monitor die at a write of one slot, and another one take its lease."""
    with killed(method, day) as seen, pytest.raises(KilledError):
        world.settle(watch)
    assert len(seen) == 1
    watch.leadership.lose()
    world.stores.references.clear()
    world.machine_now += timedelta(hours=1)


@pytest.mark.slow
@pytest.mark.slow
def test_a_monitor_that_was_stopped_or_killed_comes_to_the_same(make: Make, whole: tuple[Any, ...]) -> None:
    deaths = {FIRST + 2: "record_verdict", STUCK_DAY + 1: "finish_run", 82: "finish_run", 83: "record_verdict"}

    def die(world: World, watch: Watch, day: int) -> None:
        if day in deaths:
            die_at(world, watch, deaths[day], day)

    assert whole[1]
    assert {"data_fault.began", "data_fault.ended", "drift.began"} <= {type for _, type, _ in whole[3]}
    assert STUCK_DAY + 1 in [slot_us // DAY_US for *_, slot_us in whole[2]]
    assert replayed(make, HOURLY, on_day=die) == whole
    for pauses in (range(FIRST, FIRST + 10), range(STUCK_DAY - 1, STUCK_DAY + 14)):
        assert replayed(make, HOURLY, pauses=pauses) == whole


def set_back(world: World, day: int) -> None:
    """Set model time back as `evergreen resume --set-clock` does."""
    bench = Workbench({"EVERGREEN_HOME": str(world.stores.home.path), "EVERGREEN_DATABASE_URL": world.stores.database.url})
    set_clock(bench, "rain", from_us(day * DAY_US), "it was wrong")
    bench.close()


@pytest.mark.slow
def test_slots_that_were_taken_back_come_to_the_same(make: Make, whole: tuple[Any, ...]) -> None:
    """All of it where none is left; else all but the drift, whose sums begin anew."""

    def back_to(day: int, at: int) -> Callable[[World, Watch, int], None]:
        def on_day(world: World, watch: Watch, today: int) -> None:
            if today == at:
                world.settle(watch)
                set_back(world, day)

        return on_day

    again, half = (replayed(make, HOURLY, on_day=back_to(day, 85)) for day in (FIRST, STUCK_DAY - 1))

    assert again == whole
    assert half[2] == whole[2]
    assert [without_drift(verdict) for verdict in half[0]] == [without_drift(verdict) for verdict in whole[0]]


def without_drift(verdict: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the slot of a verdict and the evidence that is not of drift."""
    slot, _, _, evidence = verdict
    return slot, {name: value for name, value in evidence.items() if name not in ("drift", "rows")}


@pytest.mark.slow
def test_labels_that_come_so_many_rows_later_are_due_at_the_same_slots_after_a_pause(make: Make) -> None:
    assert replayed(make, BY_ROWS, pauses=range(FIRST, FIRST + 10)) == replayed(make, BY_ROWS)


def ask(world: World, day: int, *, is_reference: bool) -> None:
    """Acknowledge the open episode, on one day."""
    if day == ASKED_DAY:
        world.stores.journal.acknowledge("rain", 1, Acknowledgement("ann", "it stays", 0, is_reference=is_reference))


@pytest.mark.slow
def test_a_new_reference_is_the_same_whenever_it_is_made(make: Make) -> None:
    def asked_and_died(method: str) -> Callable[[World, Watch, int], None]:
        def on_day(world: World, watch: Watch, day: int) -> None:
            ask(world, day, is_reference=True)
            if day == ASKED_DAY and method:
                die_at(world, watch, method, day)

        return on_day

    whole = replayed(make, DAILY, on_day=asked_and_died(""))

    assert any(one.why_ended == "ann took the last window as the reference: it stays" for one in whole[1])
    assert replayed(make, DAILY, on_day=asked_and_died("finish_run")) == whole
    assert replayed(make, DAILY, on_day=asked_and_died("record_verdict"), pauses=range(ASKED_DAY + 1, LAST)) == whole
    assert replayed(make, DAILY, on_day=asked_and_died(""), pauses=range(ASKED_DAY, LAST)) == whole


@pytest.mark.slow
def test_one_who_thinks_better_of_a_new_reference_after_a_crash_finds_all_rows_counted(make: Make) -> None:
    def asked(world: World, _: Watch, day: int) -> None:
        ask(world, day, is_reference=False)

    def thought_better(world: World, watch: Watch, day: int) -> None:
        ask(world, day, is_reference=True)
        if day == ASKED_DAY:
            die_at(world, watch, "record_verdict", day)
        ask(world, day, is_reference=False)

    assert replayed(make, DAILY, on_day=thought_better) == replayed(make, DAILY, on_day=asked)


def without_versions(reasons: tuple[str, ...]) -> list[str]:
    """Return sentences without names of versions: these have the machine's time."""
    return [re.sub(r"\d{8}T\d{6}Z-[0-9a-f]+", "VERSION", reason) for reason in reasons]


def replayed_until_promoted(make: Make, file: str, on_day: Callable[[World, Watch, int], None] = lambda *_: None) -> tuple[Any, ...]:
    """Replay days of which the tenth asks for a retraining whose challenger is promoted."""
    world = make(model_file=file)
    watch = world.monitor()
    rows = weather(1, 60, 28, flipped_from=60)
    for day in range(60, 88):
        world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
        world.label(rows.between((day - 1) * DAY_US, day * DAY_US))
        on_day(world, watch, day)
        world.settle(watch)
    verdicts = reversed(world.stores.journal.verdicts("rain", limit=None))
    slots = [(v.slot_us // DAY_US, v.verdict, without_versions(v.reasons)) for v in verdicts]
    runs = [(r.slot_us // DAY_US, r.job, r.result.get("outcome")) for r in world.stores.journal.runs("rain", TICK)]
    ended = slots, runs, world.actions(), world.probations(), world.messages()
    world.close()
    return ended


def another_begins(world: World, watch: Watch, command: tuple[str, ...] | None) -> None:
    """Let another monitor lead until it has begun a retraining, and be killed; its child, started by a command, ends with it."""
    watch.leadership.lose()
    other = world.monitor("another", command)
    world.machine_now += timedelta(hours=1)
    while not world.stores.journal.runs("rain", RETRAIN):
        assert tick(other, world.machine_now)
    other.retraining.children.end_all()
    world.machine_now += timedelta(hours=1)


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 3], ids=["a challenger", "a member"])
def test_a_monitor_that_was_killed_at_any_step_of_a_retraining_comes_to_the_same(members: int, make: Make) -> None:
    """While its child worked, when that was done, and when the champion had moved: judged again, the slot would be another's."""
    deaths: dict[str, Callable[[World, Watch], None]] = {
        "the child works": lambda world, watch: another_begins(world, watch, HANGS),
        "the child is done": lambda world, watch: another_begins(world, watch, None),
        "it is promoted": lambda world, watch: die_at(world, watch, "finish_run", 70),
    }

    file = ON_LABELS.replace("members: 1, map: false", f"members: {members}")
    whole = replayed_until_promoted(make, file)
    killed_at = {
        name: replayed_until_promoted(make, file, lambda world, watch, day, die=die: die(world, watch) if day == 70 else None)
        for name, die in deaths.items()
    }

    assert (70, TICK, "promoted") in whole[1]
    assert "model.promoted" in whole[-1]
    assert killed_at == dict.fromkeys(deaths, whole)


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [pytest.param(True, id="passed"), pytest.param(False, id="unjudged", marks=pytest.mark.slow)])
def test_a_probation_is_looked_at_once_a_slot_though_the_monitor_died_before_the_slot_ended(is_there: bool, make: Make) -> None:
    """Else its looks are used up, and it passes, sooner, and what it held back is done."""

    def replayed_after_a_promotion(*, dies: bool) -> tuple[Any, ...]:
        world = make(model_file=ON_LABELS)
        watch, rows, first = world.monitor(), weather(1, 60, 36), world.champion
        for day in range(60, 96):
            world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
            world.label(rows.between((day - 1) * DAY_US, day * DAY_US))
            if day == 65:
                other, path = world.train(weather(4, 0, 61)), world.stores.registry.version("rain", first).path
                world.stores.registry.promote("rain", other, expected=first, cause=Cause("ann", "newer"), now=world.machine_now)
            if day == 71 and not is_there:
                world.stores.loaded.clear()
                (world.stores.home.artifacts / path).rename(world.stores.home.path / f"away-{dies}")
            if dies and day in (70, 77, 84):
                die_at(world, watch, "finish_run", day)
            world.settle(watch)
        verdicts = reversed(world.stores.journal.verdicts("rain"))
        slots = [(v.slot_us // DAY_US, v.verdict, without_versions(v.reasons), v.evidence["probation"]) for v in verdicts]
        ended = slots, world.probations(), world.actions(), world.messages()
        world.close()
        return ended

    whole = replayed_after_a_promotion(dies=False)

    assert whole[1][0] == (("passed", 2) if is_there else ("unjudged", 0))
    assert whole[-1].count("probation.ended") == len([state for state, _ in whole[1] if state in ("passed", "unjudged")])
    assert replayed_after_a_promotion(dies=True) == whole
