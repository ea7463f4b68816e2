"""The drift watch in the loop, on a real log and journal: episodes open and end, and nothing depends on when one looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from monitoring.drift.e_detector import window_psi
from monitoring.drift.episodes import Acknowledgement, Episode
from monitoring.drift.watch_state import State
from monitoring.journal.tables import TICK
from monitoring.loop import tick as tick_module
from monitoring.loop import watched
from tests.monitoring.world import DAY_US, MODEL_FILE, World, weather
from training.artifacts.manifest import generation_of
from training.clock import from_us
from training.model_file.model_spec import parse_spec
from training.profiles.bins import is_derived
from training.profiles.reference import Reference
from training.profiles.variation import Variation
from training.registry.tables import Cause
from training.schema.rows import Rows

NEVER_RETRAINS = MODEL_FILE.replace("act: auto", "act: auto\n  on_performance: false")
DAILY = NEVER_RETRAINS.replace("every: 7d", "every: 1d")
CLASSIC = NEVER_RETRAINS.replace("bucket: 1d}", "bucket: 1d, drift: {level: 0.01}}")
MOVED_DAY = 80


def windy(days: int, *, until: int | None = None, seed: int = 1) -> Rows:
    """Return rows from day 60 on, with twice the wind from a day on, until a day."""
    rows = weather(seed, 60, days)
    is_moved = (rows.time_us >= MOVED_DAY * DAY_US) & (rows.time_us < (until or 10_000) * DAY_US)
    return Rows({**rows.columns, "wind": np.where(is_moved, 2.0, 1.0) * rows.columns["wind"]}, rows.labels, rows.time_us)


def episodes(world: World) -> list[Episode]:
    """Return the episodes, the oldest first."""
    return [one for one, _ in reversed(world.stores.journal.episodes("rain", None))]


def of_slots(world: World) -> list[tuple[int, str, tuple[str, ...], Any]]:
    """Return what every slot concluded, and what drift it saw, the oldest first."""
    verdicts = world.stores.journal.verdicts("rain", limit=None)
    return [(v.slot_us // DAY_US, v.verdict, v.reasons, v.evidence["drift"]) for v in reversed(verdicts)]


def test_a_column_that_moves_opens_one_episode_and_is_watched_while_it_is_open(make: Callable[..., World]) -> None:
    world = make(model_file=DAILY)

    world.answer(windy(35))
    world.settle(world.monitor())

    [episode] = episodes(world)
    assert "wind" in episode.names
    assert MOVED_DAY < episode.opened_us // DAY_US <= MOVED_DAY + 3
    assert abs(episode.since_us - MOVED_DAY * DAY_US) <= 2 * DAY_US
    assert episode.ended_us is None
    verdicts = {day: (verdict, reasons) for day, verdict, reasons, _ in of_slots(world)}
    assert {day: verdict for day, (verdict, _) in verdicts.items()} == {
        day: "watch" if day * DAY_US >= episode.opened_us else "keep" for day in range(61, 95)
    }
    assert verdicts[94][1][0].startswith("drift in ")
    assert f"since about {from_us(episode.since_us):%Y-%m-%d}" in verdicts[94][1][0]


@pytest.mark.slow
def test_what_comes_back_ends_after_a_whole_window_below_the_floor(make: Callable[..., World]) -> None:
    world = make(model_file=DAILY)

    world.answer(windy(60, until=MOVED_DAY + 10))
    world.settle(world.monitor())

    [episode] = episodes(world)
    assert episode.why_ended == "a window below the floor"
    assert episode.ended_us is not None
    assert MOVED_DAY + 10 < episode.ended_us // DAY_US <= MOVED_DAY + 26
    ended = next(reasons for day, _, reasons, _ in of_slots(world) if day * DAY_US == episode.ended_us)
    assert any(reason.startswith("episode 1 (") and "ended" in reason for reason in ended)


@pytest.mark.slow
def test_one_who_acknowledges_it_ends_or_mutes_it_at_the_next_slot(make: Callable[..., World]) -> None:
    world = make(model_file=DAILY)
    watch = world.monitor()
    rows = windy(60)
    world.answer(rows.between(0, 85 * DAY_US))
    world.settle(watch)

    world.stores.journal.acknowledge("rain", 1, Acknowledgement("ann", "known", 0, mute_us=5 * DAY_US))
    world.answer(rows.between(85 * DAY_US, 100 * DAY_US))
    world.settle(watch)
    muted = [day for day, verdict, _, _ in of_slots(world) if day > 84 and verdict == "keep"]
    world.stores.journal.acknowledge("rain", 1, Acknowledgement("ann", "it stays", 0))
    world.answer(rows.between(100 * DAY_US, 104 * DAY_US))
    world.settle(watch)

    assert muted == [85, 86, 87, 88, 89]
    assert episodes(world)[0].why_ended == "acknowledged by ann: it stays"
    assert episodes(world)[0].ended_us == 100 * DAY_US
    assert all(e.opened_us > 100 * DAY_US for e in episodes(world)[1:])


@pytest.mark.slow
def test_the_last_window_becomes_the_reference_on_request(make: Callable[..., World]) -> None:
    world = make(model_file=DAILY)
    watch = world.monitor()
    rows = windy(75)
    world.answer(rows.between(0, 100 * DAY_US))
    world.settle(watch)

    world.stores.journal.acknowledge("rain", 1, Acknowledgement("ann", "it stays", 0, is_reference=True))
    world.answer(rows.between(100 * DAY_US, 135 * DAY_US))
    world.settle(watch)

    assert [e.why_ended for e in episodes(world)] == ["ann took the last window as the reference: it stays"]
    state = world.stores.journal.watch_state("rain")
    assert state is not None
    assert world.stores.journal.reference("rain", state.reference).why == "ann took the last window as the reference: it stays"
    assert [verdict for day, verdict, _, _ in of_slots(world) if day > 100] == ["keep"] * 34


def test_a_promotion_that_learned_from_it_ends_it_and_one_that_did_not_changes_nothing(make: Callable[..., World]) -> None:
    world = make(model_file=DAILY)
    watch = world.monitor()
    rows = windy(75)
    world.answer(rows.between(0, 90 * DAY_US))
    world.settle(watch)

    promote(world, world.train(weather(1, 60, 20)))
    world.answer(rows.between(90 * DAY_US, 100 * DAY_US))
    world.settle(watch)
    after_the_old = [e.ended_us for e in episodes(world)]
    promote(world, world.train(rows.between(60 * DAY_US, 100 * DAY_US)))
    world.answer(rows.between(100 * DAY_US, 135 * DAY_US))
    world.settle(watch)

    [episode] = episodes(world)
    assert after_the_old == [None]
    assert episode.why_ended == f"{generation_of(world.champion)} was trained on rows up to 1970-04-10 23:24"
    assert [verdict for day, verdict, _, _ in of_slots(world) if day > 101] == ["keep"] * 33


@pytest.mark.slow
def test_new_bins_are_of_inputs_never_of_what_is_computed_of_them(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed is learned anew by another computation than the one that goes on."""
    monkeypatch.setattr("monitoring.loop.drift_watch.fits", lambda *_: False)
    world = make(model_file=DAILY)
    watch = world.monitor()
    rows = windy(50)
    world.answer(rows.between(0, 100 * DAY_US))
    world.settle(watch)

    promote(world, world.train(rows.between(60 * DAY_US, 100 * DAY_US)))
    world.answer(rows.between(100 * DAY_US, 103 * DAY_US))
    world.settle(watch)

    before, after = (Reference.from_json(world.stores.journal.reference("rain", number).content).bins for number in (1, 2))
    assert any(is_derived(c.name) for c in after.columns)
    assert [c.name for c in after.columns if c != before.column(c.name)] == ["wind"]


@pytest.mark.slow
def test_a_promotion_that_learned_from_two_episodes_covers_both_though_the_first_gets_new_bins(make: Callable[..., World]) -> None:
    world = make(model_file=NEVER_RETRAINS)
    watch = world.monitor()
    rows = windy(100)
    cloudy = np.where(rows.time_us >= 98 * DAY_US, rows.columns["cloud"] + 1.0, rows.columns["cloud"])
    rows = Rows({**rows.columns, "cloud": cloudy}, rows.labels, rows.time_us)
    world.answer(rows.between(0, 130 * DAY_US))
    world.settle(watch)
    before = [e.names for e in episodes(world)]

    promote(world, world.train(rows.between(60 * DAY_US, 118 * DAY_US)))
    world.answer(rows.between(130 * DAY_US, 160 * DAY_US))
    world.settle(watch)

    assert ["wind" in before[0], "cloud" in before[0], "cloud" in before[1], len(before)] == [True, False, True, 2]
    assert [e.why_ended for e in episodes(world)] == [f"{generation_of(world.champion)} was trained on rows up to 1970-04-28 23:24"] * 2


def promote(world: World, version: str) -> None:
    """Promote a version by hand."""
    world.stores.registry.promote("rain", version, expected=world.champion, cause=Cause("ann", "better"), now=world.machine_now)


def test_a_monitor_that_was_stopped_comes_to_the_same(make: Callable[..., World]) -> None:
    """Late rows among them: they count from the slot after their arrival on, whenever one looks."""
    rows = windy(40)
    is_late = (np.arange(len(rows)) % 7 == 3) & (rows.time_us < 96 * DAY_US)
    now, late = rows.take(~is_late), rows.take(is_late)

    def replayed(pauses: range) -> tuple[list[Any], list[Episode]]:
        world = make(model_file=DAILY)
        watch = world.monitor()
        for day in range(60, 100):
            world.answer(now.between(day * DAY_US, (day + 1) * DAY_US), labelled=False)
            world.log(late.between((day - 3) * DAY_US, (day - 2) * DAY_US))
            if day not in pauses:
                world.settle(watch)
        world.settle(watch)
        world.close()
        return of_slots(world), episodes(world)

    whole, stopped = replayed(range(0)), replayed(range(75, 90))

    assert len(whole[0]) == 39
    assert whole == stopped


@pytest.mark.slow
def test_a_slot_whose_attempts_fail_leaves_no_trace_in_the_sums(make: Callable[..., World]) -> None:
    calm, shaken = make(model_file=DAILY), None
    calm.answer(windy(30))
    calm.settle(calm.monitor())
    expected = of_slots(calm), episodes(calm)
    calm.close()
    shaken = make(model_file=DAILY)
    watch = shaken.monitor()
    shaken.answer(windy(30).between(0, 84 * DAY_US))
    shaken.settle(watch)
    shaken.answer(windy(30).between(84 * DAY_US, 90 * DAY_US))

    shaken.fail_slot(watch, 2)
    shaken.settle(watch)

    assert (of_slots(shaken), episodes(shaken)) == expected


@pytest.mark.parametrize(("length", "learned_on"), [("3d", 68), pytest.param("14d", 74, marks=pytest.mark.slow)])
def test_the_first_live_rows_are_the_reference_where_the_model_file_says_so(
    length: str, learned_on: int, make: Callable[..., World]
) -> None:
    """Eight blocks at least; until then nothing is known, and that is what is said."""
    world = make(model_file=DAILY.replace("bucket: 1d}", f"bucket: 1d, drift: {{reference: {length}}}}}"))

    world.answer(windy(35))
    world.settle(world.monitor())

    slots = {day: (reasons, drift) for day, _, reasons, drift in of_slots(world)}
    assert [day for day, (_, drift) in slots.items() if drift["note"]] == list(range(61, learned_on))
    assert not any("nothing moved" in reason for day in range(61, learned_on) for reason in slots[day][0])
    assert [drift["reference"] for _, drift in slots.values()] == [1 if day < learned_on else 2 for day in slots]
    assert "wind" in episodes(world)[0].names


def test_the_classic_rule_is_there_for_those_who_set_its_keys(make: Callable[..., World]) -> None:
    world = make(model_file=CLASSIC)

    world.answer(windy(60))
    world.settle(world.monitor())

    assert {"rule"} & set(of_slots(world)[-1][3]) == set()
    assert world.verdicts()[-1] == "watch"
    assert episodes(world) == []


@pytest.mark.slow
def test_episodes_end_where_the_rule_becomes_the_classic_one_and_the_way_back_begins_anew(make: Callable[..., World]) -> None:
    """What was counted meanwhile is no evidence; another champion's outputs are gathered first."""
    world = make(model_file=DAILY)
    watch = world.monitor()
    rows = windy(46, until=95)
    world.answer(rows.between(0, 85 * DAY_US))
    world.settle(watch)
    sequential, world.spec = world.spec, parse_spec(DAILY.replace("bucket: 1d}", "bucket: 1d, drift: {rule: classic}}"))

    world.stores.registry.put_model(world.spec)
    world.answer(rows.between(85 * DAY_US, 95 * DAY_US))
    world.settle(watch)
    shown = watch.metrics.registry.get_sample_value("evergreen_drift_episodes", {"model": "rain", "state": "open"})
    evidence = watch.metrics.registry.get_sample_value("evergreen_drift_evidence_ratio", {"model": "rain", "feature": "wind"})
    is_taken = world.stores.journal.acknowledge("rain", 1, Acknowledgement("ann", "known", 0))
    promote(world, world.train(weather(2, 0, 60)))
    world.answer(rows.between(95 * DAY_US, 97 * DAY_US))
    world.settle(watch)
    world.stores.registry.put_model(sequential)
    world.stores.journal.add_request("rain", "check", who="ann", machine_now=world.machine_now)
    world.settle(watch)
    asked = of_slots(world)[-1][3]
    world.answer(rows.between(97 * DAY_US, 106 * DAY_US))
    world.settle(watch)

    [episode] = episodes(world)
    slots = {day: (reasons, drift) for day, _, reasons, drift in of_slots(world)}
    assert (episode.ended_us, episode.why_ended) == (85 * DAY_US, "the rule is classic now")
    assert [day for day, (reasons, _) in slots.items() if episode.ended_sentence() in reasons] == [85]
    assert not is_taken
    assert asked["note"] == "the watch begins anew at the next slot"
    assert [slots[day][1].get("rule") for day in (84, 85, 95, 97)] == ["sequential", None, None, "sequential"]
    assert "is gathered for a window" in slots[97][1]["note"]
    since = [column["since"] for day in range(97, 106) for column in slots[day][1]["columns"] if column["since"] is not None]
    assert min(since) >= from_us(96 * DAY_US).isoformat()
    assert (shown, evidence) == (0, None)


@pytest.mark.parametrize("file", [NEVER_RETRAINS, DAILY], ids=["weekly slots", "daily slots"])
def test_a_look_by_hand_adds_nothing_to_the_sums(file: str, make: Callable[..., World]) -> None:
    world = make(model_file=file)
    watch = world.monitor()
    world.answer(windy(20))
    world.settle(watch)
    before = world.stores.journal.watch_state("rain")

    world.stores.journal.add_request("rain", "check", who="ann", machine_now=world.machine_now)
    world.settle(watch)

    assert before is not None
    assert world.stores.journal.watch_state("rain") == before
    assert len(world.stores.journal.runs("rain", TICK)) == len(of_slots(world)) - 1


@pytest.mark.slow
def test_slots_of_another_length_are_watched_too(make: Callable[..., World]) -> None:
    """The last slot before the change, day 71, is no bound of the new ones."""
    world = make(model_file=DAILY)
    watch = world.monitor()
    rows = windy(50)
    world.answer(rows.between(0, 72 * DAY_US))
    world.settle(watch)

    world.stores.registry.put_model(parse_spec(DAILY.replace("every: 1d", "every: 2d")))
    world.answer(rows.between(72 * DAY_US, 110 * DAY_US))
    world.settle(watch)

    assert [day for day, *_ in of_slots(world)][-4:] == [102, 104, 106, 108]
    assert "wind" in episodes(world)[-1].names
    assert MOVED_DAY < episodes(world)[-1].opened_us // DAY_US <= MOVED_DAY + 6


@pytest.mark.parametrize("live", ["drift: {reference: 3d}", pytest.param("drift: {reference: 14d}", marks=pytest.mark.slow)])
def test_live_rows_teach_until_there_are_blocks_enough(live: str, make: Callable[..., World]) -> None:
    world = make(model_file=DAILY.replace("bucket: 1d}", f"bucket: 1d, {live}}}"))

    world.answer(windy(30))
    world.settle(world.monitor())

    day = 68 if "3d" in live else 74
    until = {d for d, _, reasons, _ in of_slots(world) if any("nothing is called drift" in reason for reason in reasons)}
    state = world.stores.journal.watch_state("rain")
    assert until == set(range(61, day))
    assert state is not None
    assert state.reference == 2
    assert ["wind" in e.names for e in episodes(world)] == [True]


WINDLESS = DAILY.replace("    wind: numeric\n", "")
GUSTY = DAILY.replace("    wind: numeric\n", "    wind: numeric\n    gust: numeric\n")


@pytest.mark.parametrize(
    "file", [pytest.param(WINDLESS, id="a feature less", marks=pytest.mark.slow), pytest.param(GUSTY, id="a feature more")]
)
def test_a_champion_of_other_features_is_watched_by_them(file: str, make: Callable[..., World]) -> None:
    world = make(model_file=DAILY)
    watch = world.monitor()
    world.answer(weather(1, 60, 10))
    world.settle(watch)
    world.spec = parse_spec(file)
    world.stores.registry.put_model(world.spec)

    def known(rows: Rows) -> Rows:
        gust = np.where(rows.time_us >= MOVED_DAY * DAY_US, 3.0, 2.0) * rows.columns["wind"]
        columns = {**rows.columns, "gust": gust}
        return Rows({name: columns[name] for name in world.spec.schema.names}, rows.labels, rows.time_us)

    version, cause = world.train(known(weather(0, 0, 60))), Cause("ann", "better")
    world.stores.registry.promote("rain", version, expected=world.champion, cause=cause, now=world.machine_now, force=True)
    world.answer(known(weather(1, 70, 20)))
    world.settle(watch)

    names = {column["column"] for column in of_slots(world)[-1][3]["columns"]}
    assert {"wind", "gust"} & names == {"wind", "gust"} & set(world.spec.schema.names)
    assert len(of_slots(world)) == 29
    assert ["gust" in e.names for e in episodes(world)] == ([True] if file == GUSTY else [])


def test_a_slot_that_fails_in_a_way_nobody_foresaw_gives_way_to_the_next(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(model_file=DAILY)
    watch = world.monitor()
    whole = tick_module.gather

    def gather(*args: Any, **kwargs: Any) -> Any:
        if args[3].slot_us == 63 * DAY_US:
            raise KeyError("place")
        return whole(*args, **kwargs)

    monkeypatch.setattr(tick_module, "gather", gather)
    world.answer(weather(1, 60, 6))
    for _ in range(20):
        tick_module.tick(watch, world.machine_now)

    runs = {run.slot_us // DAY_US: (run.state, run.attempt) for run in world.stores.journal.runs("rain", TICK, limit=None)}
    assert runs == {day: ("failed", 5) if day == 63 else ("done", 1) for day in (61, 62, 63, 64, 65)}


@pytest.mark.slow
def test_a_window_too_small_for_a_reference_says_so_and_is_waited_for(make: Callable[..., World]) -> None:
    world = make(model_file=DAILY)
    watch = world.monitor()
    rows = windy(60)
    sparse = rows.take(np.arange(0, len(rows), 40))
    world.answer(rows.between(0, 84 * DAY_US))
    world.settle(watch)
    world.answer(sparse.between(84 * DAY_US, 100 * DAY_US))
    world.settle(watch)

    world.stores.journal.acknowledge("rain", 1, Acknowledgement("ann", "it stays", 0, is_reference=True))
    world.answer(sparse.between(100 * DAY_US, 102 * DAY_US))
    world.settle(watch)
    waiting = of_slots(world)[-1][2]
    world.answer(rows.between(102 * DAY_US, 106 * DAY_US))
    world.settle(watch)

    assert "episode 1 waits for a window of 50 rows or more, to be taken as the reference" in waiting
    assert episodes(world)[0].why_ended == "ann took the last window as the reference: it stays"


ODD = "wind where place=hill"


@pytest.mark.slow
def test_a_feature_may_be_called_as_another_one_of_a_segment_is(make: Callable[..., World]) -> None:
    """It has its own floor, its own missing values, and its own part of an episode."""
    world = make(model_file=DAILY)
    file = DAILY.replace("    wind: numeric\n", f"    wind: numeric\n    {ODD!r}: {{kind: numeric, nullable: true}}\n")
    file = file.replace("bucket: 1d}", f"bucket: 1d, segments: [place], drift: {{columns: {{{ODD!r}: {{floor: .02}}}}}}}}")
    world.spec = parse_spec(file)
    world.stores.registry.put_model(world.spec)

    def known(rows: Rows) -> Rows:
        odd = np.where(rows.time_us >= MOVED_DAY * DAY_US, 2.0, 1.0) * rows.columns["wind"][::-1]
        odd[::4] = np.nan
        return Rows({**rows.columns, ODD: odd}, rows.labels, rows.time_us)

    version, cause = world.train(known(weather(0, 0, 60))), Cause("ann", "better")
    world.stores.registry.promote("rain", version, expected=world.champion, cause=cause, now=world.machine_now, force=True)
    world.answer(known(weather(1, 60, 27)))
    world.settle(world.monitor())

    columns = {column["column"]: column for column in of_slots(world)[-1][3]["columns"]}
    assert [columns[key]["floor"] for key in (f'"{ODD}"', ODD)] == [0.02, 0.01]
    assert [columns[key]["missing_share"] for key in (f'"{ODD}"', ODD)] == [0.25, None]
    [episode] = episodes(world)
    assert f'"{ODD}"' in episode.names
    assert ODD not in episode.names


def test_the_distances_of_a_slot_are_measured_once(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def count(state: State, variation: Variation, since_us: int) -> dict[str, float]:
        measured.append(state.slot_us // DAY_US)
        return window_psi(state, variation, since_us)

    monkeypatch.setattr(watched, "window_psi", count)
    world = make(model_file=DAILY)
    world.answer(weather(1, 60, 4))
    world.settle(world.monitor())

    assert measured == [61, 62, 63]
