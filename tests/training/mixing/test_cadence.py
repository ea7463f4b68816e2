from __future__ import annotations

import json

import numpy as np
import pytest

from training.mixing.cadence import EVERY, LONGEST, MUCH, NOTHING, PROVEN, SHORTEST, Cadence, Rating, rate
from training.mixing.labelled_rows import LabelledRows
from training.schema.prediction import Prediction

NONE, LITTLE, MUCH_MORE = (0.001, NOTHING - 0.5), (MUCH / 2, PROVEN + 1), (2 * MUCH, PROVEN + 5)


def after(cadence: Cadence, *ratings: tuple[float, float]) -> Cadence:
    for number, (gain, errors) in enumerate(ratings):
        cadence = cadence.after(Rating(f"v{number}", gain, errors))
    return cadence


def rows(n: int = 400, seed: int = 0) -> tuple[LabelledRows, np.ndarray]:
    random = np.random.default_rng(seed)
    return LabelledRows(np.arange(n), random.normal(0, 9, n)), random.normal(0, 1, (3, n))


def test_members_that_bring_nothing_make_growths_ever_rarer_up_to_a_bound() -> None:
    slots = [after(Cadence(), *[NONE] * n).slots for n in range(6)]

    assert slots == [2, 4, 8, 8, 8, 8]
    assert slots[0] == EVERY
    assert slots[-1] == LONGEST


def test_members_that_bring_much_make_growths_as_frequent_as_at_first_and_then_more_so() -> None:
    rare = after(Cadence(), NONE, NONE)

    assert [after(rare, *[MUCH_MORE] * n).slots for n in range(4)] == [8, EVERY, SHORTEST, SHORTEST]


def test_members_that_bring_a_little_lead_back_slowly() -> None:
    assert [after(Cadence(slots=5), *[LITTLE] * n).slots for n in range(5)] == [5, 4, 3, 2, 2]
    assert after(Cadence(slots=SHORTEST), LITTLE).slots == SHORTEST


def test_a_large_gain_that_may_be_chance_is_none() -> None:
    assert after(Cadence(), (0.5, NOTHING - 0.1)).slots == 2 * EVERY
    assert after(Cadence(slots=4), (0.5, PROVEN - 0.1)).slots == 4  # nobody knows


def test_a_member_is_rated_once() -> None:
    once = Cadence().after(Rating("a", *NONE))

    assert once.after(Rating("a", *NONE)) == once
    assert once.after(None) == once


def test_an_alarm_makes_growths_as_frequent_as_at_first() -> None:
    assert Cadence(slots=LONGEST).alarmed().slots == EVERY
    assert Cadence(slots=SHORTEST).alarmed().slots == SHORTEST


def test_a_cadence_is_kept_as_json() -> None:
    cadence = after(Cadence(), NONE)

    assert Cadence.from_dict(json.loads(json.dumps(cadence.to_dict()))) == cadence


def test_a_member_is_rated_by_what_the_mixture_gains_and_not_by_how_good_it_is() -> None:
    labelled, noise = rows()
    good, same, other = (Prediction(labelled.y + 3 * noise[i]) for i in (0, 0, 1))

    nothing, variety = rate("b", [good, same], 1, labelled), rate("b", [good, other], 1, labelled)

    assert nothing.gain == pytest.approx(0.0, abs=1e-12)
    assert nothing.errors < PROVEN < variety.errors
    assert variety.gain == pytest.approx(1 - np.sqrt(0.5), abs=0.08)


def test_a_member_of_noise_brings_nothing() -> None:
    labelled, noise = rows()
    good, poor = Prediction(labelled.y + noise[0]), Prediction(labelled.y + 20 * noise[1])

    assert rate("b", [good, poor], 1, labelled).errors < PROVEN


def test_a_member_alone_or_few_rows_cannot_be_rated() -> None:
    labelled, _ = rows(12)

    assert rate("a", [Prediction(labelled.y)], 0, labelled) is None
    assert rate("a", [Prediction(labelled.y)] * 2, 0, labelled) is None
