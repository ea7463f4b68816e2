"""Whether a decision used a row, by its times and what the decision recorded."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.explaining.uses import RowTimes, Training, judged_in, learned_in, weighed_in

PLAN = {
    "log_start_us": 100,
    "log_end_us": 400,
    "gate_start_us": 400,
    "gate_end_us": 500,
    "known_by_us": 599,
    "aside": [[200, 210], [420, 430]],
    "uncovered": [[220, 230]],
    "growth": None,
}
GROWTH = {**PLAN, "log_end_us": 500, "growth": {"family": "half"}}
RESULT = {"version": "v2", "rows": 150, "first_us": 150, "last_us": 399, "first_rows": 1}
JUDGED = {"n": 90, "judged": {"rows": 90, "unseen_after_us": 404}}
WEIGHING = {
    "rows": 300,
    "from_us": 300,
    "through_us": 480,
    "end_us": 490,
    "known_by_us": 599,
    "one_in": 1,
    "quarantined": [[420, 430]],
    "uncovered": [[440, 450]],
    "by_requests": [],
    "is_learned": True,
    "members": [
        {"trained_through_us": 350, "unseen_rows": 150, "wanted_rows": 100},
        {"trained_through_us": 399, "unseen_rows": 120, "wanted_rows": 100},
        {"trained_through_us": 470, "unseen_rows": 10, "wanted_rows": 100},
    ],
}


def training(plan: dict[str, Any] | None = None, result: dict[str, Any] | None = None, evidence: dict[str, Any] | None = None) -> Training:
    given = [default if each is None else each for each, default in ((plan, PLAN), (result, RESULT), (evidence, JUDGED))]
    return Training(600, given[0], given[1], "out of memory", given[2])


def at(event_us: int, labelled_us: int | None = 500, late_us: int | None = None) -> RowTimes:
    return RowTimes(event_us, labelled_us, late_us)


def nobody() -> bool | None:
    raise AssertionError("the ranges say it")


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (at(99), "before_the_log"),
        (at(149), "sampled_out"),
        (at(151), "used"),
        (at(205), "quarantined"),
        (at(225), "uncovered"),
        (at(399), "used"),
        (at(400), "kept_for_the_gate"),
        (at(500), "not_matured"),
        (at(300, None), "no_label"),
        (at(300, 600), "label_came_later"),
        (at(300, 599), "used"),
        (at(300, 599, 600), "came_late"),
        (at(300, 599, 599), "used"),
    ],
)
def test_a_training_learned_from_the_rows_of_its_plan(row: RowTimes, code: str) -> None:
    assert learned_in(row, training(), nobody).code == code


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (at(399), "learned_instead"),
        (at(404), "seen_before"),
        (at(405), "used"),
        (at(425), "quarantined"),
        (at(499), "used"),
        (at(500), "not_matured"),
        (at(450, None), "no_label"),
        (at(450, 700), "label_came_later"),
    ],
)
def test_a_gate_judged_by_the_rows_that_were_kept_for_it(row: RowTimes, code: str) -> None:
    assert judged_in(row, training(), nobody).code == code


def test_a_member_that_grew_learned_from_the_rows_its_forerunner_was_judged_by() -> None:
    grown = training(GROWTH, evidence={"rows": 90, "judged": {"rows": 90, "of": 90}})

    learned, judged = learned_in(at(450), grown, nobody), judged_in(at(450), grown, nobody)

    assert (learned.code, judged.code) == ("used", "used")
    assert learned.reason == "one of 150 rows the new member was fitted on, after its forerunner, fitted without it, was judged by it"


def test_what_failed_used_nothing() -> None:
    failed = training(result={}, evidence={})

    assert (learned_in(at(300), failed, nobody).code, judged_in(at(450), failed, nobody).code) == ("failed", "nothing_judged")
    assert learned_in(at(300), failed, nobody).reason.endswith("the training failed: out of memory")


@pytest.mark.parametrize(("is_one", "code"), [(True, "used"), (False, "sampled_out"), (None, "not_recorded")])
@pytest.mark.parametrize(
    ("row", "plan", "result", "evidence"),
    [
        pytest.param(at(150), PLAN, RESULT, JUDGED, id="the first moment, of which some rows were learned"),
        pytest.param(at(300), {**PLAN, "requested": [[290, 310]]}, RESULT, JUDGED, id="drawn labels were learned"),
        pytest.param(at(450), {**PLAN, "requested": [[440, 460]]}, RESULT, JUDGED, id="drawn labels were judged by"),
        pytest.param(at(450), PLAN, RESULT, {"rows": 50, "judged": {"rows": 50, "of": 90}}, id="some of many were judged by"),
    ],
)
def test_where_ranges_do_not_say_it_the_log_is_asked(
    row: RowTimes, plan: dict[str, Any], result: dict[str, Any], evidence: dict[str, Any], is_one: bool | None, code: str
) -> None:
    one = training(plan, result, evidence)

    use = judged_in(row, one, lambda: is_one) if row.event_us >= 400 else learned_in(row, one, lambda: is_one)

    assert use.code == code


def test_what_an_earlier_release_recorded_is_enough_for_most() -> None:
    old_plan = {name: value for name, value in PLAN.items() if name not in ("uncovered", "growth")}
    old = training(old_plan, {name: RESULT[name] for name in ("version", "rows", "first_us", "last_us")}, {"n": 90})

    codes = [learned_in(at(us), old, nobody).code for us in (149, 150, 300)] + [judged_in(at(us), old, nobody).code for us in (401, 450)]

    assert codes == ["sampled_out", "used", "used", "used", "used"]


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        (at(299), "too_old", "older than the 300 newest rows"),
        (at(340), "used", "no member had rows enough that it had not seen"),
        (at(360), "used", "the maps of 1 of 3 members were learned from them"),
        (at(400), "used", "the maps of 2 of 3 members were learned from them, and the weights"),
        (at(425), "quarantined", "quarantined: "),
        (at(445), "uncovered", "too few rows from "),
        (at(490), "not_matured", "not mature then"),
        (at(400, None), "no_label", "it has no label"),
    ],
)
def test_members_are_weighed_by_the_newest_rows_and_maps_learned_from_what_they_had_not_seen(row: RowTimes, code: str, words: str) -> None:
    use = weighed_in(row, 600, WEIGHING, nobody)

    assert use.code == code
    assert words in use.reason


@pytest.mark.parametrize(("is_one", "code"), [(True, "used"), (False, "sampled_out")])
def test_of_very_many_rows_one_in_several_is_weighed_by(is_one: bool, code: str) -> None:
    assert weighed_in(at(400), 600, {**WEIGHING, "one_in": 3}, lambda: is_one).code == code


def test_a_weighing_of_an_earlier_release_is_known_by_its_first_and_last_row() -> None:
    old = {name: WEIGHING[name] for name in ("rows", "from_us", "through_us", "is_learned", "members")}

    assert [weighed_in(at(us), 600, old, nobody).code for us in (299, 400, 480, 481)] == ["too_old", "used", "used", "not_matured"]
