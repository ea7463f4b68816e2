"""What can be the members of a version."""

import math
from dataclasses import replace

import pytest

from training.artifacts.members import Member, newest, refuse_wrong

ONE = Member("20260101T000000Z-" + "a" * 12, "a" * 64, "all", 5, 0.25, (1.2, -0.5))
TWO = Member("20260102T000000Z-" + "b" * 12, "b" * 64, "window", 9, 0.75)


def test_what_is_written_is_read_back() -> None:
    assert [Member.from_dict(each.to_dict()) for each in (ONE, TWO)] == [ONE, TWO]
    assert (ONE.to_dict()["map"], TWO.to_dict()["map"]) == ([1.2, -0.5], None)


def test_right_members_are_let_through() -> None:
    refuse_wrong([ONE, TWO])


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (replace(TWO, weight=0.5), "add up to 0.75, wanted 1"),
        (replace(TWO, weight=math.nan), "is nan, wanted a number from 0 to 1"),
        (replace(TWO, weight=-0.5), "is -0.5, wanted a number from 0 to 1"),
        (replace(TWO, map=(1.0, math.inf)), "wanted two finite numbers"),
        (replace(TWO, version="../elsewhere"), "no artifact has the name '../elsewhere'"),
        (replace(TWO, digest="c" * 64), "no artifact has the name"),
        (replace(TWO, family=""), "has no family"),
        (replace(ONE, weight=0.75), "a member twice"),
    ],
)
def test_wrong_members_are_refused_in_words(second: Member, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        refuse_wrong([ONE, second])


def test_none_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="has none"):
        refuse_wrong([])


@pytest.mark.parametrize("change", [{"map": [1.0]}, {"weight": None}, {"weight": "much"}, {"more": 1}])
def test_what_is_no_member_is_not_read(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Member.from_dict({**ONE.to_dict(), **change})


def test_of_two_that_saw_the_same_rows_the_one_made_last_is_the_newest() -> None:
    assert newest([TWO, ONE]) == TWO
    assert newest([replace(TWO, trained_through_us=5), ONE]).version == TWO.version
