"""What the rest of a bucket lost, and how a segment that got worse is spoken of."""

import numpy as np
import pytest

from monitoring.judging.performance.baseline import BucketLoss
from monitoring.judging.performance.disparity import Disparity, rest_of
from monitoring.judging.performance.harm import HarmLook


def of(losses: np.ndarray) -> BucketLoss:
    return BucketLoss(7, len(losses), float(losses.mean()), float(losses.var()))


def test_the_rest_is_what_is_left_of_all_rows() -> None:
    losses = np.random.default_rng(0).gamma(2.0, 1.0, 90)

    rest = rest_of({7: of(losses)}, [of(losses[:25])])[7]

    wanted = of(losses[25:])
    assert (rest.n, rest.mean, rest.variance) == pytest.approx((wanted.n, wanted.mean, wanted.variance))


def test_buckets_of_one_segment_alone_have_no_rest() -> None:
    one = of(np.ones(5))

    assert rest_of({7: one}, [one]) == {}
    assert rest_of({}, [one]) == {}


def test_it_is_said_by_how_much_and_since_when() -> None:
    look = HarmLook(4.2, 4.1, True, 31 * 86_400_000_000, 300, 0.151)

    one = Disparity("place=coast", "miss", 0.02, 0.01, look, True)

    assert one.sentence() == (
        "place=coast got worse against the rest: share of wrong answers +0.151 since 1970-02-01 00:00, +0.02 before, "
        "tolerance 0.01; evidence 10^4.2 of 10^4.1 days"
    )
    assert one.to_dict()["more"] == 0.151
