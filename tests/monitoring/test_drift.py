"""Inputs that moved, and inputs that did not."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import benjamini_hochberg, chi_squared, drift, floors, psi
from training.errors import BinsMismatchError
from training.profile import Profile, Reference, build_reference
from training.rows import Rows
from training.schema import Feature, Schema

DAY_US = 86_400_000_000
SCHEMA = Schema((Feature("a", "numeric"), Feature("b", "numeric"), Feature("place", "categorical")), "y", "regression")
counts = st.lists(st.integers(0, 1000), min_size=4, max_size=4).map(np.array)


def rows(seed: int, days: int, *, shift: float = 0.0, wave: float = 0.0, new: float = 0.0, a_day: int = 60) -> Rows:
    rng = np.random.default_rng(seed)
    n = days * a_day
    day = np.arange(n) // a_day
    place = np.where(rng.random(n) < new, "harbour", rng.choice(np.array(["x", "y", "z"], dtype=object), n))
    columns = {
        "a": rng.normal(shift + wave * np.sin(2 * np.pi * day / 90), 1.0, n),
        "b": np.where(rng.random(n) < 0.05, np.nan, rng.gamma(2.0, 1.0, n)),
        "place": place.astype(object),
    }
    return Rows(columns, None, np.arange(n) * (DAY_US // a_day))


def reference(wave: float = 0.0) -> Reference:
    return build_reference(rows(0, 180, wave=wave), SCHEMA, bucket=timedelta(days=1), window=timedelta(days=14))


def windows(against: Reference, **kind: float) -> tuple[Profile, Profile]:
    live = rows(1, 28, **kind)
    return against.bins.count(live.between(14 * DAY_US, 28 * DAY_US).columns), against.bins.count(live.between(0, 14 * DAY_US).columns)


@pytest.mark.parametrize("seed", range(5))
def test_the_test_rejects_about_as_often_as_its_level_when_nothing_moved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = np.array([0.4, 0.3, 0.2, 0.08, 0.02])

    p = [chi_squared(rng.multinomial(500, shares), rng.multinomial(5000, shares))[1] for _ in range(400)]

    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


@given(counts, counts)
def test_the_test_does_not_care_which_sample_comes_first(a: np.ndarray, b: np.ndarray) -> None:
    one, other = chi_squared(a, b), chi_squared(b, a)

    assert one == pytest.approx(other, abs=1e-9)


@given(counts)
def test_a_window_equal_to_the_reference_is_never_far(a: np.ndarray) -> None:
    assert psi(a, a) <= 1e-12


def test_the_debiased_index_is_about_zero_on_average_when_nothing_moved() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)

    found = [psi(rng.multinomial(300, shares), rng.multinomial(3000, shares)) for _ in range(300)]

    assert abs(np.mean(found)) < 0.003


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50)
def test_q_values_are_never_below_p_values_and_keep_their_order(p: list[float]) -> None:
    q = benjamini_hochberg(p)

    assert (q >= np.array(p) - 1e-12).all()
    assert (np.diff(q[np.argsort(p, kind="stable")]) >= -1e-12).all()


def test_nothing_drifts_in_a_stream_that_does_not_move() -> None:
    known = reference()

    report = drift(known, *windows(known), level=0.01, psi_floor=0.1)

    assert report.drifting == ()


def test_a_recalibrated_sensor_drifts_and_is_named() -> None:
    known = reference()

    report = drift(known, *windows(known, shift=1.0), level=0.01, psi_floor=0.1)

    assert report.drifting == ("a",)


def test_a_new_district_drifts_with_its_share() -> None:
    known = reference()

    report = drift(known, *windows(known, new=0.3), level=0.01, psi_floor=0.1)

    assert report.drifting == ("place",)
    assert next(c for c in report.columns if c.column == "place").new_share == pytest.approx(0.3, abs=0.05)


def test_seasons_that_the_reference_knows_are_not_drift() -> None:
    known = reference(wave=1.5)

    report = drift(known, *windows(known, shift=1.2), level=0.01, psi_floor=0.1)

    assert "a" not in report.drifting
    assert floors(known, 0.1)["a"] > 0.5


def test_one_window_alone_is_not_drift() -> None:
    known = reference()
    moved, _ = windows(known, shift=1.0)
    still, _ = windows(known)

    report = drift(known, moved, still, level=0.01, psi_floor=0.1)

    assert report.drifting == ()


def test_an_almost_empty_window_is_not_judged() -> None:
    known = reference()
    few = known.bins.count(rows(3, 1, a_day=10).columns)

    report = drift(known, few, few, level=0.01, psi_floor=0.1)

    assert report.columns == ()
    assert "10 rows" in report.note


def test_counts_under_other_bins_are_refused() -> None:
    known = reference()
    other = build_reference(rows(7, 30), SCHEMA, bucket=timedelta(days=1), window=timedelta(days=14))

    with pytest.raises(BinsMismatchError):
        drift(known, other.total, other.total, level=0.01, psi_floor=0.1)
