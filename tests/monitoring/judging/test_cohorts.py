"""Cohorts: which rows are mature, which of them have enough labels, and when there is nothing to go by."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitoring.judging.cohorts import Cohorts, Maturity, measured_maturity, where_complete
from monitoring.judging.data_faults import Span
from monitoring.judging.label_delays import ClassDelay
from monitoring.judging.labels.arrivals import Arrivals, Received
from monitoring.judging.labels.counts import LabelCounts
from monitoring.judging.labels.coverage import CoverageRule
from training.policies import LabelPolicy, RetentionPolicy

DAY = 86_400_000_000
RULE = CoverageRule(0.9, 100, DAY, DAY)
IN_TIME = ClassDelay("all", 900, 0, True)


def bucket(due: int, labelled: int) -> LabelCounts:
    """Return rows whose third is not known."""
    return LabelCounts(np.array([0, 0, 0, due]), np.array([0, 0, 0, labelled]))


def matured(days: int, delay_days: int = 1) -> Maturity:
    return measured_maturity(days * DAY, (IN_TIME,), LabelPolicy(timedelta(days=delay_days)))


def cohorts(shares: dict[int, tuple[int, int]], maturity: Maturity, *aside: Span, rule: CoverageRule = RULE) -> Cohorts:
    return Cohorts.of({day * DAY: bucket(*each) for day, each in shares.items()}, maturity, rule, aside)


def days(spans: tuple[Span, ...]) -> list[tuple[int, int]]:
    return [(span.start_us // DAY, span.end_us // DAY) for span in spans]


@pytest.mark.parametrize(
    ("labelled", "is_covered"),
    [([100, 100, 100, 0], True), ([86, 86, 86, 0], True), ([85, 85, 85, 0], False), ([100, 100, 79, 0], True), ([100, 100, 60, 0], False)],
)
def test_enough_labels_are_nine_tenths_of_those_that_are_due_in_all_and_in_each_third(labelled: list[int], is_covered: bool) -> None:
    due = np.array([100, 100, 100, 0])

    assert RULE.is_covered(due, np.array(labelled)) == is_covered
    assert RULE.is_covered(10 * due, 10 * np.array(labelled)) == (is_covered and labelled[2] != 79)


def test_a_third_of_few_rows_is_not_asked() -> None:
    assert RULE.is_covered(np.array([100, 100, 19, 0]), np.array([100, 100, 0, 0]))
    assert not RULE.is_covered(np.array([100, 100, 20, 0]), np.array([100, 100, 0, 0]))


def test_neighbours_are_joined_until_chance_does_not_decide_and_what_is_left_belongs_to_the_last() -> None:
    judged = cohorts({0: (40, 40), 1: (40, 20), 2: (60, 60), 3: (10, 0), 4: (39, 39)}, matured(9))

    assert [(c.start_us // DAY, c.end_us // DAY, c.n_due, c.is_covered) for c in judged.cohorts] == [(0, 2, 80, False), (2, 5, 109, True)]
    assert days(judged.uncovered) == [(0, 2)]


def test_rows_that_are_not_mature_count_nowhere() -> None:
    judged = cohorts({0: (60, 60), 1: (60, 60), 2: (60, 0)}, matured(3))

    assert (judged.end_us, judged.uncovered, judged.share(0)) == (2 * DAY, (), 1.0)


@pytest.mark.parametrize("aside", [(), (Span(2 * DAY, 3 * DAY, "stuck"),), (Span(2 * DAY, 4 * DAY, "a"), Span(3 * DAY, 5 * DAY, "b"))])
def test_quarantined_rows_count_on_neither_side(aside: tuple[Span, ...]) -> None:
    judged = cohorts(dict.fromkeys(range(10), (100, 95)), matured(11), *aside)
    at_once = cohorts(dict.fromkeys(range(10), (100, 95)), matured(11)).without(aside)

    assert judged.share(0) == at_once.share(0) == 0.95
    assert judged.to_dict() == at_once.to_dict()
    assert judged.to_dict()["due"] == 100 * (10 - len({s for span in aside for s in range(span.start_us // DAY, span.end_us // DAY)}))


def test_a_test_spends_no_rows_whose_labels_may_still_come() -> None:
    open_end = cohorts({0: (60, 60), 1: (60, 0), 2: (60, 60), 3: (60, 0), 4: (60, 10)}, matured(6))
    closed = cohorts({0: (60, 60), 1: (60, 0), 2: (60, 60)}, matured(6))
    nothing = cohorts({2: (60, 0), 3: (60, 0)}, matured(6))

    assert [one.covered_end_us for one in (open_end, closed, nothing)] == [3 * DAY, 5 * DAY, 2 * DAY]


def test_maturity_is_the_larger_of_what_the_file_says_and_what_was_measured() -> None:
    slow, quick = ClassDelay("class a", 900, 12 * DAY, True), ClassDelay("class b", 900, DAY, True)
    policy = LabelPolicy(timedelta(days=10))

    matured_by = [
        measured_maturity(100 * DAY, each, policy) for each in ((), (quick,), (slow, quick), (replace(slow, quantile_us=13 * DAY),))
    ]

    assert [(100 * DAY - one.end_us) // DAY for one in matured_by if one.end_us is not None] == [10, 10, 12, 13]


def test_what_is_a_fifth_later_is_in_time() -> None:
    late = ClassDelay("class a", 900, round(10 * DAY * 2 ** (1 / 4)), True)

    assert measured_maturity(100 * DAY, (late,), LabelPolicy(timedelta(days=10))).end_us == 90 * DAY


def test_a_delay_of_more_than_a_century_is_one_too() -> None:
    assert measured_maturity(0, (), LabelPolicy(timedelta(days=40_000))).needed_us == 40_000 * DAY


def test_where_the_log_is_too_young_rows_are_missed_after_the_delay_of_the_file_and_used_after_the_measured_one() -> None:
    late = ClassDelay("class a", 900, 20 * DAY, False)

    young = measured_maturity(30 * DAY, (late,), LabelPolicy(timedelta(days=1)))

    assert (young.needed_us, young.patience_us) == (20 * DAY, DAY)


# blind


def test_a_slot_is_blind_once_too_few_covered_labels_came_in_twice_the_time_that_brings_them() -> None:
    shares = {day: (100, 100 if day < 10 else 12) for day in range(30)}

    blind = [slot for slot in range(5, 30) if cohorts(shares, matured(slot, delay_days=3)).blind is not None]

    # enough rows come in two days and mature in three: of those that matured within ten days, none is covered from slot 23 on
    assert blind == list(range(23, 30))


def test_one_covered_cohort_in_that_time_is_enough() -> None:
    shares = {day: (100, 100 if day % 5 == 0 else 12) for day in range(30)}

    assert all(cohorts(shares, matured(slot, delay_days=3)).blind is None for slot in range(9, 30))


def test_where_too_few_rows_came_to_know_nothing_is_blind() -> None:
    few = dict.fromkeys(range(9, 40), (9, 0)) | {0: (1, 1)}

    assert [cohorts(few, matured(slot)).blind is None for slot in (12, 17, 21, 30)] == [True, True, True, False]


def test_a_day_without_labels_blinds_nobody_however_few_rows_come() -> None:
    few = {day: (40, 0 if day == 24 else 40) for day in range(40)}

    assert all(cohorts({d: each for d, each in few.items() if d < slot}, matured(slot)).blind is None for slot in range(2, 40))


def test_low_traffic_whose_labels_come_is_not_blind() -> None:
    few = dict.fromkeys(range(200), (3, 3))

    assert all(cohorts(few, matured(slot)).blind is None for slot in range(2, 200))


def test_a_model_that_never_had_a_label_is_not_blind_and_says_so() -> None:
    judged = cohorts(dict.fromkeys(range(30), (100, 0)), matured(30))

    assert judged.blind is None
    assert judged.remarks() == ("no labels: what the model answers is not judged",)


def test_what_would_end_it_is_said() -> None:
    shares = dict.fromkeys(range(60), (100, 12))
    canceled, stayed = ClassDelay("class canceled", 300, 9 * DAY, True), ClassDelay("class stayed", 300, 50 * DAY, False)
    young = measured_maturity(60 * DAY, (canceled, stayed), LabelPolicy(timedelta(days=1)))

    by_delay, by_share = cohorts(shares, young), cohorts(shares, matured(60))

    assert by_delay.blind == (
        "blind: 12% of the 600 rows from 1970-02-23 00:00 on are labelled; labels of class canceled in 9 days, of class stayed in at least "
        "50 days: set labels.delay to 53d or more"
    )
    assert by_delay.remarks() == ("labels come late: of class canceled in 9 days, of class stayed in at least 50 days",)
    assert by_share.blind is not None
    assert by_share.blind.endswith(
        "it ends when the missing labels come; if those there are were drawn at random, set labels.coverage to 0.12"
    )


def test_where_one_third_alone_falls_short_no_other_coverage_is_named() -> None:
    counts = {day * DAY: LabelCounts(np.array([100, 100, 100, 0]), np.array([75, 97, 97, 0])) for day in range(30)}

    blind = Cohorts.of(counts, matured(30), RULE).blind

    assert blind == "blind: 90% of the 1200 rows from 1970-01-26 00:00 on are labelled; it ends when the missing labels come"


def test_rows_that_mature_later_than_they_are_missed_end_blindness() -> None:
    shares = {day: (100, 100 if day < 30 else 12) for day in range(60)}
    slow = ClassDelay("class stayed", 300, 30 * DAY, False)

    blind = [
        slot
        for slot in range(40, 60)
        if cohorts({d: each for d, each in shares.items() if d < slot}, measured_maturity(slot * DAY, (slow,), LabelPolicy())).blind
    ]

    assert blind == []


@pytest.mark.parametrize(
    ("newer", "aside", "end"),
    [
        ([(60, 60)] * 6, [], 29),  # a feed that brings all labels once a week
        ([(60, 60)] * 5 + [(60, 20)], [], 28),
        ([(60, 60)] * 4 + [(60, 59), (60, 60)], [], 23),  # 240 rows may all be early ones
        ([(40, 40)] * 6, [], 23),
        ([(100, 100)] * 3 + [(60, 0), (60, 60), (60, 60)], [Span(26 * DAY, 27 * DAY, "stuck")], 29),
        ([(60, 7)] * 6, [], 23),
    ],
)
def test_rows_that_all_have_their_label_are_mature_before_the_measured_delay(
    newer: list[tuple[int, int]], aside: list[Span], end: int
) -> None:
    late, labels = ClassDelay("class stayed", 900, 7 * DAY, True), LabelPolicy(timedelta(days=1))
    counts = {day * DAY: bucket(*each) for day, each in enumerate(newer, 23)}

    maturity = where_complete(measured_maturity(30 * DAY, (late,), labels), counts, labels, DAY, aside)

    assert maturity.end_us == end * DAY
    assert maturity.needed_us == (30 - end) * DAY


def received(counts: dict[str, int]) -> Received:
    came = Arrivals(None, counts)
    return Received.of(came, came, LabelPolicy(), RetentionPolicy())


def test_a_model_whose_every_label_came_to_nothing_is_blind_and_one_that_had_none_is_not() -> None:
    counts = {day * DAY: bucket(20, 0) for day in range(10)}

    lost, tried, quiet = (Cohorts.of(counts, matured(11), RULE, (), received(n)) for n in ({"unknown": 20}, {"unknown": 19}, {}))

    assert lost.blind is not None
    assert lost.blind.startswith(
        "blind: none of the 200 rows from 1970-01-01 00:00 on is labelled; 20 of the 20 labels that came name no row"
    )
    assert (tried.blind, quiet.blind) == (None, None)
    assert tried.remarks() == ("no labels: what the model answers is not judged; 19 labels: 19 unknown came",)
    assert quiet.remarks() == ("no labels: what the model answers is not judged",)
    assert Cohorts.of({0: bucket(99, 0)}, matured(11), RULE, (), received({"unknown": 20})).blind is None


def test_where_rows_are_not_covered_and_most_labels_came_to_nothing_that_is_why() -> None:
    counts = {day * DAY: bucket(20, 8) for day in range(40)}

    judged = Cohorts.of(counts, matured(41), RULE, (), received({"matched": 10, "invalid": 30}))

    assert judged.blind is not None
    assert judged.blind.endswith("are labelled; 30 of the 40 labels that came are no value of the target: the answers to them say why")
    assert judged.without([Span(0, DAY, "stuck")]).received == judged.received
    assert judged.to_dict()["came"]["slot"] == {"invalid": 30, "matched": 10}


def test_covered_rows_are_judged_by_though_most_labels_that_came_are_of_others() -> None:
    counts = {day * DAY: bucket(20, 20) for day in range(40)}

    judged = Cohorts.of(counts, matured(41), RULE, (), received({"matched": 10, "invalid": 30}))

    assert judged.blind is None
    assert judged.remarks() == ("30 of the 40 labels that came are no value of the target: the answers to them say why",)
