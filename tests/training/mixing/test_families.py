from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.mixing.families import FAMILIES, LEAST_WINDOW, Standing, distinct_families, leaving, next_family, window_rows

FAMILY = st.sampled_from(list(FAMILIES))
POOLS = st.lists(
    st.tuples(FAMILY, st.integers(0, 50), st.floats(0, 1), st.sets(st.sampled_from("abc"), min_size=1)), min_size=1, max_size=12
).map(
    lambda rows: [
        Standing(str(i), family, through, weight, tuple(sorted(known))) for i, (family, through, weight, known) in enumerate(rows)
    ]
)


def member(version: str, family: str, through: int, weight: float, classes: tuple[str, ...] | None = None) -> Standing:
    return Standing(version, family, through, weight, classes)


@given(FAMILY, st.integers(1, 10**7))
@settings(max_examples=20)
def test_a_window_is_never_longer_than_the_history_nor_shorter_than_a_thousand_rows_of_it(family: str, history: int) -> None:
    rows = window_rows(family, history)

    assert min(LEAST_WINDOW, history) <= rows <= history
    assert window_rows("all", history) == history


@given(st.integers(1, 20_000))
@settings(max_examples=20)
def test_families_of_a_short_history_are_trained_on_different_rows(history: int) -> None:
    rows = [window_rows(family, history) for family in distinct_families(history)]

    assert rows == sorted(set(rows), reverse=True)


def test_the_family_that_weighs_most_together_grows() -> None:
    members = [member("a", "all", 9, 0.4), member("b", "quarter", 9, 0.35), member("c", "quarter", 5, 0.25)]

    assert next_family(members, ["all"], 100_000) == "quarter"


@given(POOLS, st.integers(8000, 100_000))
@settings(max_examples=15)
def test_every_family_has_its_turn_whatever_the_weights(members: list[Standing], history: int) -> None:
    grown: list[str] = []

    for _ in range(3 * len(FAMILIES)):
        grown.append(next_family(members, grown, history))

    assert set(grown) == set(FAMILIES)


def test_a_history_too_short_for_windows_grows_the_family_of_all_rows() -> None:
    assert {next_family([member("b", "eighth", 9, 1.0)], ["all"] * n, 900) for n in range(3)} == {"all"}


@pytest.mark.parametrize(("most", "families"), [(1, 1), (2, 1), (4, 3), (5, 4), (9, 4)])
def test_there_are_fewer_families_than_members_so_that_an_old_one_can_stay(most: int, families: int) -> None:
    assert len(distinct_families(100_000, most)) == families
    assert next_family([member("e", "eighth", 9, 1.0)], [], 100_000, most) == ("eighth" if families == 4 else "all")


def test_the_lightest_leaves_but_not_the_newest_of_its_family() -> None:
    members = [
        member("old", "all", 1, 0.3),
        member("light", "all", 2, 0.1),
        member("newest of all", "all", 3, 0.5),
        member("newest of half", "half", 1, 0.05),
        member("comes", "quarter", 9, 0.0),
    ]

    assert leaving(members, 5) == ()
    assert leaving(members, 4) == ("light",)
    assert leaving(members, 3) == ("light", "old")


def test_the_last_that_knows_a_class_stays_however_light() -> None:
    members = [
        member("knows c", "all", 1, 0.01, ("a", "b", "c")),
        member("heavy", "all", 2, 0.9, ("a", "b")),
        member("newest", "all", 3, 0.09, ("a", "b")),
    ]

    assert leaving(members, 2) == ("heavy",)


def test_where_families_are_more_than_members_the_newest_of_the_lightest_leaves() -> None:
    members = [member("a", "all", 1, 0.5), member("h", "half", 2, 0.1), member("q", "quarter", 3, 0.4), member("e", "eighth", 9, 0.0)]

    assert leaving(members, 3) == ("h",)
    assert leaving(members, 1) == ("h", "q", "a")


@given(POOLS, st.integers(1, 12))
@settings(max_examples=25)
def test_no_class_is_forgotten_and_the_newest_stays(members: list[Standing], most: int) -> None:
    gone = leaving(members, most)

    staying = [m for m in members if m.version not in gone]
    assert {name for m in staying for name in m.classes} == {name for m in members for name in m.classes}
    assert max(m.trained_through_us for m in members) in {m.trained_through_us for m in staying}
    assert len(staying) <= max(most, 4)


def test_a_mixture_has_a_member() -> None:
    with pytest.raises(ValueError, match="at most 0 members"):
        leaving([member("a", "all", 1, 1.0)], 0)
