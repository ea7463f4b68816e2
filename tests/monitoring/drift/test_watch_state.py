"""What is kept between slots is a sum: order, lateness and stops do not show."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift.watch_state import MOST_BYTES, Row, State, advance, hours_of, thin
from training.errors import BinsMismatchError
from training.profiles.bins import Profile
from training.profiles.phases import DAY_US, HOUR_US
from training.profiles.variation import ColumnVariation, Variation

MINUTE_US = 60_000_000


def variation(columns: int = 3, segments: tuple[str, ...] = ("", "a=b"), size: int = 5, names: str = "x{}") -> Variation:
    cells = np.ones((1, size), np.int64)
    made = [ColumnVariation(names.format(i), s, True, "none", cells) for s in segments for i in range(columns)]
    return Variation("bins", tuple(made), True)


def bucket(start_us: int, width_us: int = 10 * MINUTE_US, *, rows: int = 7, segment: str = "", **counts: list[int]) -> Row:
    profile = Profile("bins", rows, {n.replace("_", "@"): np.array(c) for n, c in counts.items()}, {}, {})
    return start_us, width_us, segment, profile


def buckets(n: int, every_us: int, seed: int = 0) -> list[Row]:
    """Return a bucket a slot for all rows and, in every third, for a segment and without one column."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        counts = {f"x{j}": rng.poisson(3, 5).tolist() for j in range(2 if i % 3 == 0 else 3)}
        out.append(bucket(i * every_us, every_us, rows=int(rng.integers(1, 50)), **counts))
        if i % 3 == 0:
            out.append(bucket(i * every_us, every_us, rows=4, segment="a=b", x1=[1, 0, 2, 0, 1]))
    return out


@pytest.mark.parametrize("minutes", [1, 7, 10, 45, 60, 90, 1440, 2160, 10080])
def test_starts_kept_at_a_slot_were_kept_at_each_before(minutes: int) -> None:
    every = minutes * MINUTE_US
    kept = np.zeros(0, np.int64)

    for slot in range(1, 3000):
        kept = thin(np.append(kept, (slot - 1) * every), slot * every, every)

    assert kept.tolist() == thin(np.arange(2999) * every, 2999 * every, every).tolist()
    assert len(kept) <= 60


@pytest.mark.parametrize("minutes", [1, 7, 10, 45, 60, 90])
def test_old_starts_lie_on_what_rolled_up_buckets_keep(minutes: int) -> None:
    every, slot = minutes * MINUTE_US, 100 * DAY_US // (minutes * MINUTE_US) * minutes * MINUTE_US

    kept = thin(np.arange(0, slot, every), slot, every)

    assert all(s % HOUR_US == 0 for s in kept[slot - kept > 2 * DAY_US])
    assert all(s % DAY_US == 0 for s in kept[slot - kept > 14 * DAY_US])


def test_starts_are_a_quarter_of_their_age_apart_at_most() -> None:
    every, slot = 10 * MINUTE_US, 90 * DAY_US

    kept = thin(np.arange(0, slot, every), slot, every)

    ages = slot - kept
    assert all(a - b <= max(every, a / 3) for a, b in itertools.pairwise(ages.tolist()))


@given(st.lists(st.integers(0, 40), min_size=40, max_size=40))
@settings(max_examples=30)
def test_how_late_rows_come_does_not_show_once_they_are_there(late: list[int]) -> None:
    rows = buckets(30, HOUR_US)
    state = State.begin(variation(), 0, HOUR_US)

    for slot in range(1, 72):
        state = advance(state, slot * HOUR_US, [r for r, hours in zip(rows, late, strict=True) if r[0] // HOUR_US + 1 + hours == slot])

    assert state.to_bytes() == advance(State.begin(variation(), 0, HOUR_US), 71 * HOUR_US, reversed(rows)).to_bytes()


def test_what_is_made_anew_is_what_was_advanced_slot_by_slot() -> None:
    every, begun = 10 * MINUTE_US, State.begin(variation(), 0, 10 * MINUTE_US)
    rows, state = buckets(2500, every), begun

    for slot in range(1, 2501):
        state = advance(state, slot * every, [rows.pop(0) for _ in range(2 - bool((slot - 1) % 3))])

    assert state.to_bytes() == advance(begun, 2500 * every, buckets(2500, every)).to_bytes()


def test_rolled_up_buckets_are_what_they_were_made_of() -> None:
    begun = State.begin(variation(), 0, HOUR_US)
    rows = [bucket(i * HOUR_US, HOUR_US, rows=5, x0=[5, 0, 0, 0, 0], _hour=np.eye(27, dtype=int)[i % 24] * 5) for i in range(24 * 40)]
    rolled = [bucket(d * DAY_US, DAY_US, rows=120, x0=[120, 0, 0, 0, 0], _hour=[5] * 24 + [0] * 3) for d in range(26)] + rows[24 * 26 :]

    slot = 40 * DAY_US
    assert advance(begun, slot, rolled).to_bytes() == advance(begun, slot, rows).to_bytes()


def test_a_window_holds_the_buckets_that_begin_at_its_start_or_later() -> None:
    rows = [bucket(i * HOUR_US, HOUR_US, rows=1, x0=[1, 0, 0, 0, 0]) for i in range(30)]

    state = advance(State.begin(variation(), 10 * HOUR_US, HOUR_US), 30 * HOUR_US, rows)

    assert state.counts[:, 0].tolist() == (30 - state.starts_us // HOUR_US).tolist()
    assert state.hours[:, 0].sum(axis=1).tolist() == state.counts[:, 0].tolist()
    assert state.weights_us.tolist() == [HOUR_US] * len(state.starts_us)


def test_rows_that_are_removed_were_never_there() -> None:
    begun, rows = State.begin(variation(), 0, HOUR_US), buckets(30, HOUR_US)

    with_all = advance(begun, 30 * HOUR_US, rows)

    assert advance(with_all, 31 * HOUR_US, [], rows[10:20]).to_bytes() == advance(begun, 31 * HOUR_US, rows[:10] + rows[20:]).to_bytes()
    with pytest.raises(ValueError, match="more rows were removed"):
        advance(begun, 30 * HOUR_US, [], rows)


@pytest.mark.parametrize("times", [1, 2**33], ids=["four bytes", "eight"])
def test_bytes_hold_all_of_it(times: int) -> None:
    rows = [
        (start, width, s, Profile("bins", p.rows, {n: c * times for n, c in p.counts.items()}, {}, {}))
        for start, width, s, p in buckets(30, HOUR_US)
    ]
    state = advance(State.begin(variation(), 0, HOUR_US), 30 * HOUR_US, rows)

    read = State.from_bytes(state.to_bytes())

    assert read.to_bytes() == state.to_bytes()
    assert (read.places, read.counts.tolist(), read.hours.tolist()) == (state.places, state.counts.tolist(), state.hours.tolist())
    assert advance(read, 31 * HOUR_US, []).to_bytes() == advance(state, 31 * HOUR_US, []).to_bytes()


def test_segments_and_then_derived_columns_are_left_out_where_there_is_no_room() -> None:
    many = variation(400, ("", "a=b"), 20)
    derived = variation(400, ("",), 20, names="@product:{}")
    outputs = Variation("bins", (ColumnVariation("@score", "", True, "none", np.ones((1, 20), np.int64)),), True)
    both = Variation("bins", many.columns[400:] + derived.columns + many.columns[:400] + outputs.columns, True)

    state = State.begin(both, 0, 10 * MINUTE_US)

    kept = {p.key for p in state.places}
    assert len(kept) + len(state.left_out) == 1201
    assert {c.key for c in many.columns[:400]} | {"@score"} <= kept
    assert all("where" in key or key.startswith("@") for key in state.left_out)
    grown = advance(state, 4 * 365 * DAY_US, [bucket(0, 60 * MINUTE_US, x0=[1] * 20)])
    assert len(grown.to_bytes()) <= MOST_BYTES


def test_what_is_not_watched_is_not_counted() -> None:
    begun = State.begin(variation(segments=("",)), 0, HOUR_US)

    state = advance(begun, HOUR_US, [bucket(0, x9=[1] * 5), bucket(0, segment="a=c", x0=[1] * 5)])

    assert state.counts.sum() == 0


def test_other_bins_are_refused() -> None:
    with pytest.raises(BinsMismatchError, match="counted under bins other"):
        advance(State.begin(variation(), 0, HOUR_US), HOUR_US, [(0, HOUR_US, "", Profile("other", 1, {}, {}, {}))])


@pytest.mark.parametrize(("slot", "start"), [(0, 0), (1, 1)], ids=["a slot again", "a bucket to come"])
def test_what_is_not_in_time_is_refused(slot: int, start: int) -> None:
    with pytest.raises(ValueError, match="is not"):
        advance(State.begin(variation(), 0, HOUR_US), slot * HOUR_US, [bucket(start * HOUR_US)])


@pytest.mark.parametrize(
    ("start_us", "width_us", "hour", "expected"),
    [
        (0, DAY_US, 5, 3 * 24 + 5),
        (22 * HOUR_US, 6 * HOUR_US, 23, 3 * 24 + 23),
        (22 * HOUR_US, 6 * HOUR_US, 1, 4 * 24 + 1),
        (4 * DAY_US, HOUR_US // 6, 0, 0),
        (4 * DAY_US - 2 * HOUR_US, 4 * HOUR_US, 1, 1),
    ],
    ids=["a day", "before midnight", "after midnight", "ten minutes", "from Sunday to Monday"],
)
def test_hours_of_a_bucket_are_those_of_its_days(start_us: int, width_us: int, hour: int, expected: int) -> None:
    _, _, _, profile = bucket(start_us, width_us, rows=9, _hour=np.eye(27, dtype=int)[hour] * 9)

    assert hours_of(start_us, width_us, profile).nonzero()[0].tolist() == [expected]


def test_without_hours_rows_are_of_the_first() -> None:
    assert hours_of(4 * DAY_US, 7 * DAY_US, bucket(0, rows=9)[3]).tolist() == [9] + [0] * 167
