"""Episodes: how they end, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitoring.drift.episodes import Acknowledgement, Episode, MovedColumn
from training.json_text import from_text, to_text

EPISODE = Episode(3, 100, 60, (MovedColumn("wind", 0.3, 4.2), MovedColumn("rain where place=coast", 0.1, 3.9)))
FLOORS = {"wind": 0.01, "rain where place=coast": 0.2}


def test_it_is_stored_and_read_back() -> None:
    ended = replace(EPISODE, muted_until_us=7).end(200, "calm")

    assert Episode.from_dict(from_text(to_text(ended.to_dict()))) == ended


@pytest.mark.parametrize(
    ("slot_us", "distances", "is_ended"),
    [
        (110, {"wind": 0.005, "rain where place=coast": 0.1}, True),
        (110, {"wind": 0.005, "rain where place=coast": 0.2}, False),
        (110, {"wind": 0.01, "rain where place=coast": 0.1}, False),
        (109, {"wind": 0.005, "rain where place=coast": 0.1}, False),
        (110, {"cloud": 0.5}, True),
        (110, {}, False),
    ],
    ids=[
        "below",
        "one at its floor",
        "the other at its floor",
        "the window holds rows from before it began",
        "columns that are gone",
        "a window without rows",
    ],
)
def test_a_whole_window_below_every_floor_ends_it(slot_us: int, distances: dict[str, float], is_ended: bool) -> None:
    calmed = EPISODE.calmed(slot_us, 50, distances, FLOORS)

    assert (calmed.ended_us == slot_us, calmed == EPISODE) == (is_ended, not is_ended)


@pytest.mark.parametrize(("trained_through_us", "is_covered"), [(109, False), (110, True)])
def test_a_training_covers_it_with_a_window_of_rows_since_it_began(trained_through_us: int, is_covered: bool) -> None:
    assert EPISODE.is_covered(trained_through_us, 50) == is_covered


def test_who_acknowledges_it_ends_it_or_mutes_it_once() -> None:
    muted = EPISODE.acknowledged(Acknowledgement("ann", "known", 0, mute_us=30), 120)

    assert EPISODE.acknowledged(Acknowledgement("ann", "", 0), 120).why_ended == "acknowledged by ann"
    assert muted.acknowledged(Acknowledgement("ann", "known", 0, mute_us=30), 140) == muted
    assert muted.acknowledged(Acknowledgement("ann", "again", 1, mute_us=30), 160).muted_until_us == 190
    assert [muted.is_muted(slot_us) for slot_us in (120, 149, 150)] == [True, True, False]
    assert (
        EPISODE.acknowledged(Acknowledgement("ann", "known", 0), 120).ended_sentence()
    ) == "episode 3 (wind, rain where place=coast) ended: acknowledged by ann: known"
