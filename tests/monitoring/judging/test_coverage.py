"""Rows that each have enough labels by the benefit of chance, and too few together; and those whose missing labels may be of one class."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.judging.labels.coverage import Cohort, CoverageRule, settled

RULE = CoverageRule(0.9, 100, 1, 1)


def days(due: list[int], labelled: list[int], number: int = 10) -> list[Cohort]:
    """Return days that are all alike, as each is judged alone."""
    each = np.array(due), np.array(labelled)
    return [Cohort(day, day + 1, *each, RULE.is_covered(*each)) for day in range(number)]


def covered(cohorts: list[Cohort], *, is_known: bool = True) -> list[bool]:
    return [one.is_covered for one in settled(cohorts, RULE, is_known=is_known)]


def test_what_a_third_lacks_each_day_is_no_chance() -> None:
    lacks = days([67, 67, 66, 0], [67, 62, 52, 0])

    assert all(one.is_covered for one in lacks)
    assert covered(lacks) == [False] * 10


def test_a_third_may_lack_what_is_late_at_maturity() -> None:
    assert covered(days([67, 67, 66, 0], [67, 66, 63, 0])) == [True] * 10
    assert covered(days([67, 67, 66, 0], [62, 62, 61, 0])) == [True] * 10


@pytest.mark.parametrize(("labelled", "is_known", "is_covered"), [(95, True, True), (95, False, False), (98, False, True)])
def test_where_delays_are_not_known_few_labels_may_be_missing(labelled: int, is_known: bool, is_covered: bool) -> None:
    alike = days([0, 0, 0, 100], [0, 0, 0, labelled])

    assert covered(alike, is_known=is_known) == [is_covered] * 10


def test_the_newest_rows_are_not_complete_because_older_ones_are() -> None:
    full, newest = days([0, 0, 0, 100], [0, 0, 0, 100]), days([0, 0, 0, 100], [0, 0, 0, 95], 4)

    assert covered([*full, *newest], is_known=False) == [*[True] * 11, False, False, False]
    assert all(covered([*full, *newest]))


def test_who_says_that_labels_are_missing_evenly_is_believed_before_delays_are_known() -> None:
    rule = CoverageRule(0.8, 100, 1, 1)
    alike = days([0, 0, 0, 100], [0, 0, 0, 88])

    assert all(one.is_covered for one in settled(alike, rule, is_known=False))


def test_a_day_that_falls_short_alone_takes_no_other_with_it() -> None:
    full, short = days([0, 0, 0, 100], [0, 0, 0, 97]), days([0, 0, 0, 100], [0, 0, 0, 20])

    assert covered([*full[:5], short[0], *full[5:]]) == [*[True] * 5, False, *[True] * 5]


def test_days_that_drawn_labels_speak_for_stay_as_they_are() -> None:
    drawn = Cohort(0, 1, np.array([0, 0, 0, 100]), np.array([0, 0, 0, 20]), True, 20)

    assert settled([drawn], RULE, is_known=False) == (drawn,)
