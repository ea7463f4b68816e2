"""Label faults: what is broken is found in its place, what is usual for a stream, or moved and stays, is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from monitoring.judging.labels.faults import Group, LabelFindings, chance_of, find

DAY, YEAR = 86_400_000_000, 365
Shares = npt.NDArray[np.float64]


def group(day: int, yes: int, n: int, **others: int) -> Group:
    values = {name: number for name, number in (("class no", n - yes), ("class yes", yes)) if number}
    return Group(day * DAY, (day + 1) * DAY, n, values, len(values) == 1, in_time=n, **others)


def stream(share: Shares | float, seed: int, *, n: int = 100, days: int = 120) -> list[Group]:
    rng = np.random.default_rng(seed)
    yes = rng.binomial(n, np.broadcast_to(share, days))
    return [group(day, number, n) for day, number in enumerate(yes.tolist())]


def findings_of(groups: list[Group], before: tuple[Group, ...] = ()) -> LabelFindings:
    return find(before, groups, needed_us=2 * DAY)


def places(findings: LabelFindings) -> list[tuple[str, int, int]]:
    return [(one.kind, one.start_us // DAY, one.end_us // DAY) for one in findings.faults]


def waves(rng: np.random.Generator, days: int, keeps: float, spread: float) -> Shares:
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = keeps * level[day - 1] + rng.normal(0, spread * np.sqrt(1 - keeps**2))
    return level


def logistic(level: Shares) -> Shares:
    return 1 / (1 + np.exp(-level))


CLEAN: dict[str, Callable[[np.random.Generator, int], Shares]] = {
    "a third": lambda rng, days: np.full(days, 0.3),
    "three in a hundred": lambda rng, days: np.full(days, 0.03),
    "three in a thousand": lambda rng, days: np.full(days, 0.003),
    "restless by the day": lambda rng, days: logistic(-1 + waves(rng, days, 0.5, 1.0)),
    "restless by the week": lambda rng, days: logistic(-1 + waves(rng, days, 0.9, 0.5)),
    "a walk": lambda rng, days: logistic(-1 + np.cumsum(rng.normal(0, 0.05, days))),
    "weekends": lambda rng, days: logistic(-1 + 0.8 * (np.arange(days) % 7 > 4)),
    "seasons": lambda rng, days: logistic(-1 + 1.5 * np.sin(np.arange(days) * 2 * np.pi / YEAR)),
    "one class for days on end": lambda rng, days: np.where(np.arange(days) % 30 < 10, 1.0, 0.3),
    "moved by half": lambda rng, days: np.where(np.arange(days) < days // 2, 0.3, 0.6),
}


@pytest.mark.parametrize("name", CLEAN)
def test_ten_years_without_a_fault_have_none(name: str) -> None:
    rng = np.random.default_rng([7, list(CLEAN).index(name)])

    findings = findings_of(stream(CLEAN[name](rng, 10 * YEAR), 8, n=80, days=10 * YEAR))

    assert (findings.faults, findings.notices) == ((), ())


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("days", [1, 12])
def test_labels_that_all_have_one_value_are_constant_in_their_place(value: float, days: int) -> None:
    share = np.full(120, 0.3)
    share[60 : 60 + days] = value

    findings = findings_of(stream(share, 1))

    assert places(findings) == [("labels_constant", day, day + 1) for day in range(60, 60 + days)]
    assert findings.faults[0].sentence().startswith("labels of rows from 1970-03-02 00:00 to 1970-03-03 00:00: all 100 are one value, ")
    assert findings.held == ()


def test_a_class_that_is_nearly_all_is_no_constant_and_numbers_of_one_third_are_none() -> None:
    nearly_all = stream(0.02, 2, n=60)
    of_one_third = [replace(one, is_one_value=False) for one in stream(np.where(np.arange(120) == 60, 1.0, 0.3), 3)]

    assert findings_of(nearly_all).faults == ()
    assert [kind for kind, *_ in places(findings_of(of_one_third))] == ["labels_jumping"]


def test_what_was_learned_from_teaches_what_is_usual_from_the_first_label_on() -> None:
    taught = tuple(stream(0.3, 4, days=40))
    live = [replace(one, start_us=one.start_us + 100 * DAY, end_us=one.end_us + 100 * DAY) for one in stream(0.0, 5, days=3)]

    assert places(findings_of(live, taught)) == [("labels_constant", day, day + 1) for day in (100, 101, 102)]
    assert findings_of(live).faults == ()


def test_labels_of_which_others_came_too_are_conflicting() -> None:
    groups = [replace(one, conflicts=1) for one in stream(0.3, 6)]
    groups[60] = replace(groups[60], conflicts=20)

    findings = findings_of(groups)

    assert places(findings) == [("labels_conflicting", 60, 61)]
    assert findings.faults[0].sentence().endswith(": of 20% of 100 another came too, at most 1% before")


def test_many_conflicts_that_are_usual_are_no_fault() -> None:
    rng = np.random.default_rng(9)

    findings = findings_of([replace(one, conflicts=int(rng.binomial(100, 0.2))) for one in stream(0.3, 6)])

    assert findings.faults == ()


@pytest.mark.parametrize("days", [1, 3])
def test_a_share_that_jumps_and_comes_back_was_a_fault_of_the_labels(days: int) -> None:
    share = np.full(120, 0.3)
    share[60 : 60 + days] = 0.8

    findings = findings_of(stream(share, 10))

    assert places(findings) == [("labels_jumping", 60, 60 + days)]
    assert findings.held == ()


def test_a_share_that_jumps_from_bucket_to_bucket_is_found_each_time() -> None:
    share = np.full(120, 0.3)
    share[60:70:2] = 0.8

    assert places(findings_of(stream(share, 11))) == [("labels_jumping", day, day + 1) for day in range(60, 70, 2)]


def test_a_share_that_jumped_is_held_back_and_counts_when_it_stays_for_a_week() -> None:
    moved = stream(np.where(np.arange(120) < 60, 0.3, 0.8), 12)

    held, stays = findings_of(moved[:64]), findings_of(moved[:68])

    assert (held.faults, [(one.start_us // DAY, one.end_us // DAY) for one in held.held]) == ((), [(60, 64)])
    assert held.notices[0].startswith("labels of rows from 1970-03-02 00:00 to 1970-03-06 00:00: ")
    assert held.notices[0].endswith("% before: held back until it is seen whether that stays")
    assert (stays.faults, stays.held, stays.notices, stays.spans) == ((), (), (), ())


def test_what_a_person_let_go_teaches_what_is_usual() -> None:
    share = np.full(120, 0.3)
    share[60:70] = 0.0
    groups = stream(share, 13)
    released = [replace(one, is_trusted=60 <= day < 62) for day, one in enumerate(groups)]

    assert len(findings_of(groups).faults) == 10
    assert findings_of(released).faults == ()


def test_labels_that_come_later_than_usual_or_no_more_are_said() -> None:
    usual = [replace(one, in_time=95) for one in stream(0.3, 14)]
    later = [*usual[:119], replace(usual[119], in_time=60)]
    stopped = [*usual[:119], replace(usual[119], values={}, in_time=0, is_covered=False)]
    of_rows = "of 100 rows from 1970-04-30 00:00 to 1970-05-01 00:00"

    assert findings_of(usual).notices == ()
    assert findings_of(later).notices == (f"labels come later than usual: {of_rows} 60% had one within 2 days, at least 95% of any before",)
    assert findings_of(stopped).notices == (f"labels stopped: {of_rows} none has one after 2 days, at least 95% of any before",)


def test_labels_that_are_no_sample_of_all_are_not_judged() -> None:
    groups = [replace(one, is_covered=day != 60) for day, one in enumerate(stream(np.where(np.arange(120) == 60, 1.0, 0.3), 15))]

    assert findings_of(groups).faults == ()


def test_the_chance_of_a_group_is_that_of_one_fault_in_twenty_years() -> None:
    hourly = [Group(n * DAY // 24, (n + 1) * DAY // 24, 50, {"class yes": 50}) for n in range(30)]

    assert chance_of(hourly) * 3 * 24 * 365.25 * 20 == pytest.approx(1)
    assert chance_of([]) == 0.01
