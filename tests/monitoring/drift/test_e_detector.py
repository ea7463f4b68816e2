"""What moved is named with its time; what did not is not; phases, restlessness and rests are kept to."""

import json
import math

import numpy as np
import pytest

from monitoring.drift.classic import psi
from monitoring.drift.e_detector import Look, Rule, look, window_psi
from monitoring.drift.watch_state import Row, State, advance
from training.profiles.bins import Profile
from training.profiles.phases import DAY_US, HOUR_US
from training.profiles.variation import ColumnVariation, Excess, Variation, key_of

TENTHS = np.array([0.1] * 10 + [0.0] * 3)
LOWER = np.array([0.15] + [0.1] * 8 + [0.05] + [0.0] * 3)
PLACES = np.array([0.5, 0.3, 0.2, 0.0, 0.0])


def column(name: str, cells: np.ndarray, *, segment: str = "", phase: str = "none", excess: tuple[Excess, ...] = ()) -> ColumnVariation:
    return ColumnVariation(name, segment, len(cells[0]) == 13, phase, np.round(cells).astype(np.int64), excess)  # type: ignore[arg-type]


def reference(*columns: ColumnVariation, is_enough: bool = True) -> Variation:
    plain = (column("x", TENTHS[None] * 20_000), column("y", TENTHS[None] * 20_000), column("place", PLACES[None] * 20_000))
    return Variation("bins", columns or plain, is_enough)


def hours(n: int, seed: int = 0, *, first: int = 0, rows: int = 200, segment: str = "", **shares: np.ndarray) -> list[Row]:
    """Return buckets of an hour with counts drawn from shares, those of the reference unless said."""
    rng = np.random.default_rng(seed)
    shares = {"x": TENTHS, "y": TENTHS, "place": PLACES} | shares
    made = []
    for hour in range(first, first + n):
        counts = {name: rng.multinomial(rows, p) for name, p in shares.items() if p is not None}
        made.append((hour * HOUR_US, HOUR_US, segment, Profile("bins", rows, counts, {}, {})))
    return made


def seen(variation: Variation, rows: list[Row], slot: int, rule: Rule = Rule()) -> Look:
    return look(advance(State.begin(variation, 0, HOUR_US), slot * HOUR_US, rows), variation, rule)


def moved(**shares: np.ndarray) -> list[Row]:
    """Return two days of the reference, then a day of something else."""
    return hours(48) + hours(24, 1, first=48, **shares)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_named_where_nothing_moved(seed: int) -> None:
    assert seen(reference(), hours(72, seed), 72).named == ()


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("x", LOWER),
        ("x", LOWER[[*range(9, -1, -1), 10, 11, 12]]),
        ("x", np.append(TENTHS[:-1] * 0.97, 0.03)),
        ("x", np.array([0.13, 0.12, 0.1, 0.08, 0.07, 0.07, 0.08, 0.1, 0.12, 0.13, 0, 0, 0])),
        ("place", np.array([0.45, 0.3, 0.2, 0.05, 0.0])),
        ("place", np.array([0.4, 0.4, 0.2, 0.0, 0.0])),
    ],
    ids=["lower", "higher", "missing", "wider", "new category", "more of one"],
)
def test_what_moved_is_named_with_the_time_since_when(name: str, shares: np.ndarray) -> None:
    report = seen(reference(), moved(**{name: shares}), 72)

    assert report.named == (name,)
    assert report.columns[0].share > 0.99
    assert abs(report.columns[0].since_us / HOUR_US - 48) <= 4
    assert report.columns[0].rows == (72 - report.columns[0].since_us / HOUR_US) * 200


def test_all_that_moved_is_named_the_largest_first() -> None:
    report = seen(reference(), moved(x=LOWER, place=np.array([0.2, 0.6, 0.2, 0.0, 0.0])), 72)

    assert report.named == ("place", "x")


def test_many_columns_that_moved_a_little_alarm_together_and_the_largest_is_named() -> None:
    variation = reference(*(column(f"c{i}", TENTHS[None] * 20_000) for i in range(30)))
    shares = {f"c{j}": TENTHS + 0.4 * (LOWER - TENTHS) for j in range(30)}
    rows = hours(24, x=None, y=None, place=None, **shares)
    evidence = seen(variation, rows, 24).log10_evidence

    report = seen(variation, rows, 24, Rule(promise_days=10 ** (evidence - 0.01), share=1.0))

    largest = max(c.log10_evidence for c in report.columns) - math.log10(30)
    assert largest < report.log10_threshold
    assert report.named[0] == report.columns[0].key


def test_the_threshold_is_the_promise_over_the_share() -> None:
    assert seen(reference(), hours(10), 10, Rule(promise_days=900, share=0.25)).log10_threshold == pytest.approx(math.log10(3600))


def test_the_evidence_is_in_days_at_any_cadence() -> None:
    rows, variation = hours(24, x=LOWER), reference()
    by_hour = look(advance(State.begin(variation, 0, HOUR_US), 24 * HOUR_US, rows), variation, Rule())
    by_day = look(advance(State.begin(variation, 0, 24 * HOUR_US), 24 * HOUR_US, rows), variation, Rule())

    (start,) = advance(State.begin(variation, 0, 24 * HOUR_US), 24 * HOUR_US, rows).starts_us
    assert start == 0
    assert by_day.columns[0].log10_evidence - by_hour.columns[0].log10_evidence < math.log10(24)
    assert by_day.columns[0].log10_evidence > by_hour.columns[0].log10_evidence - math.log10(2)


@pytest.mark.parametrize("excess", [(), (Excess(24 * HOUR_US, 0.5, 1200.0),)], ids=["independent", "restless"])
def test_the_evidence_is_at_most_the_days_watched_on_average_over_references(excess: tuple[Excess, ...]) -> None:
    rng = np.random.default_rng(0)
    shares = {f"c{i}": p for i, p in enumerate(rng.dirichlet(np.full(13, 0.5), 500))}
    variation = reference(*(column(name, rng.multinomial(500, p)[None], excess=excess) for name, p in shares.items()))

    report = seen(variation, hours(48, rows=50, **shares), 48, Rule(floor=-math.inf))

    evidence = [10**c.log10_evidence for c in report.columns]
    assert np.mean(evidence) < 2 + 4 * np.std(evidence) / np.sqrt(len(evidence))


def test_categories_the_reference_happens_not_to_hold_are_no_evidence() -> None:
    rng = np.random.default_rng(0)
    shares = np.arange(1, 33) ** -2.0 / (np.arange(1, 33) ** -2.0).sum()
    columns, live = [], {}
    for i in range(200):
        drawn = rng.multinomial(500, shares)
        columns.append(column(f"c{i}", np.append(drawn[drawn > 0], [0, 0])[None]))
        live[f"c{i}"] = np.append(shares[drawn > 0], [shares[drawn == 0].sum(), 0.0])

    days = hours(7, 1, rows=28_800, x=None, y=None, place=None, **live)

    variation = reference(*columns)
    rows = [(i * DAY_US, DAY_US, "", profile) for i, (_, _, _, profile) in enumerate(days)]
    report = look(advance(State.begin(variation, 0, DAY_US), 7 * DAY_US, rows), variation, Rule(floor=-math.inf))

    assert np.mean([10**c.log10_evidence for c in report.columns]) < 7


def test_the_index_is_that_of_a_window_and_the_reference() -> None:
    rows, variation = moved(x=LOWER), reference()
    state = advance(State.begin(variation, 0, HOUR_US), 72 * HOUR_US, rows)

    values = window_psi(state, variation, 48 * HOUR_US)

    window = sum(p.counts["x"] for start, _, _, p in rows if start >= 48 * HOUR_US)
    assert values["x"] == pytest.approx(psi(window, variation.columns[0].total), rel=1e-3)
    assert abs(values["y"]) < 0.005


def test_below_the_floor_nothing_is_evidence() -> None:
    report = seen(reference(), moved(x=LOWER), 72, Rule(floors={"x": 0.2}))

    assert report.named == ()
    assert report.columns[-1].psi < 0.2


@pytest.mark.parametrize("weights", [{"x": 0.0}, {"x": 0.0, "y": 0.0, "place": 0.0}], ids=["one", "all"])
def test_what_has_no_weight_is_not_watched(weights: dict[str, float]) -> None:
    report = seen(reference(), moved(x=LOWER), 72, Rule(weights=weights))

    assert report.named == ()
    assert "x" not in [c.key for c in report.columns]


def test_weights_sum_to_one_and_half_is_for_all_rows_where_there_are_segments() -> None:
    variation = reference(*(column("x", TENTHS[None] * 20_000, segment=s) for s in ("", "a=b", "a=c")))
    rows = [r for s in ("", "a=b", "a=c") for r in hours(12, segment=s, x=LOWER, y=None, place=None)]

    report = {c.key: c for c in seen(variation, rows, 12).columns}
    heavy = {c.key: c for c in seen(variation, rows, 12, Rule(weights={"x where a=b": 3.0})).columns}

    assert [report[k].share for k in ("x", "x where a=b", "x where a=c")] == pytest.approx([0.5, 0.25, 0.25], rel=1e-6)
    assert [heavy[k].share for k in ("x", "x where a=b", "x where a=c")] == pytest.approx([0.5, 0.375, 0.125], rel=1e-6)


def test_a_weight_is_for_its_column_whatever_others_are_called() -> None:
    variation = reference(
        *(column("x", TENTHS[None] * 20_000, segment=s) for s in ("", "a=b")), column("x where a=b", TENTHS[None] * 20_000)
    )
    rows = [r for s in ("", "a=b") for r in hours(12, segment=s, **{"x": LOWER, "x where a=b": LOWER, "y": None, "place": None})]

    keys = [c.key for c in seen(variation, rows, 12, Rule(weights={key_of("x where a=b", ""): 0.0})).columns]

    assert {"x", "x where a=b"} <= set(keys)
    assert '"x where a=b"' not in keys


def test_a_column_that_rests_is_watched_again_from_then_on() -> None:
    rows = moved(x=LOWER)

    resting = seen(reference(), rows, 72, Rule(resting={"x": 72 * HOUR_US}))
    again = seen(reference(), rows + hours(24, 2, first=72, x=LOWER), 96, Rule(resting={"x": 72 * HOUR_US}))

    assert (resting.named, again.named) == ((), ("x",))
    assert again.columns[0].since_us >= 72 * HOUR_US


def test_a_window_is_compared_with_its_own_phases() -> None:
    days = np.where(np.arange(7)[:, None] >= 5, LOWER, TENTHS) * 20_000
    mixed = Variation("bins", (column("x", days.sum(axis=0)[None]),), True)
    phased = Variation("bins", (column("x", days, phase="weekday"),), True)
    saturday = 2 * 24  # 1 January 1970 was a Thursday
    rows = hours(saturday) + hours(48, 1, first=saturday, x=LOWER)

    assert seen(mixed, rows, saturday + 48).named == ("x",)
    assert seen(phased, rows, saturday + 48).named == ()
    assert seen(phased, hours(saturday + 48), saturday + 48).named == ("x",)


def test_hours_of_a_rolled_up_day_are_compared_with_their_phase() -> None:
    cells = np.where(np.arange(24)[:, None] < 6, LOWER, TENTHS) * 5000
    variation = Variation("bins", (column("x", cells, phase="hour"),), True)
    counts = np.random.default_rng(0).multinomial(5000, LOWER)
    night = {"x": counts, "@hour": np.array([5000 // 6] * 6 + [0] * 21)}
    day = {"x": counts, "@hour": np.array([0] * 6 + [5000 // 18] * 18 + [0] * 3)}

    nothing, something = (
        look(advance(State.begin(variation, 0, DAY_US), DAY_US, [(0, DAY_US, "", Profile("bins", 5000, c, {}, {}))]), variation, Rule())
        for c in (night, day)
    )

    assert (nothing.named, something.named) == ((), ("x",))


@pytest.mark.parametrize(("phase", "cells"), [("none", 1), ("hour", 24), ("hour_of_week", 168)])
def test_a_column_is_judged_alike_among_many(phase: str, cells: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [column(f"c{i}", rng.multinomial(900, TENTHS, cells), phase=phase, excess=(Excess(HOUR_US, 0.1, 50.0),)) for i in range(700)]
    rows = hours(48, x=None, y=None, place=None, **{f"c{i}": TENTHS for i in range(700)})

    among, alone = ({c.key: c for c in seen(Variation("bins", tuple(some), True), rows, 48).columns} for some in (drawn, drawn[40:43]))

    for key, one in alone.items():
        assert (among[key].since_us, among[key].rows) == (one.since_us, one.rows)
        assert (among[key].psi, among[key].log10_evidence) == pytest.approx((one.psi, one.log10_evidence), rel=1e-9)


def test_columns_with_a_reference_an_hour_and_with_one_for_all_are_judged_together_as_each_alone() -> None:
    by_hour = np.where(np.arange(24)[:, None] < 6, LOWER, TENTHS) * 300
    variation = reference(
        column("x", by_hour, phase="hour"), column("y", TENTHS[None] * 300), column("place", np.tile(PLACES * 300, (24, 1)), phase="hour")
    )
    rows = moved(x=LOWER, y=LOWER, place=PLACES[[1, 0, 2, 3, 4]])

    together = {c.key: c for c in seen(variation, rows, 72).columns}

    for one in variation.columns:
        (alone,) = seen(reference(one), rows, 72).columns
        assert alone.log10_evidence > -math.inf
        assert together[one.name].log10_evidence == pytest.approx(alone.log10_evidence, rel=1e-12)


def test_rows_of_a_phase_the_reference_has_not_seen_say_nothing() -> None:
    cells = np.where(np.arange(24)[:, None] < 12, TENTHS, 0.0) * 20_000
    variation = Variation("bins", (column("x", cells, phase="hour"),), True)

    assert seen(variation, hours(10, first=12, x=LOWER), 22).named == ()


def test_restless_columns_need_more() -> None:
    calm = Variation("bins", (column("x", TENTHS[None] * 20_000),), True)
    restless = Variation("bins", (column("x", TENTHS[None] * 20_000, excess=(Excess(24 * HOUR_US, 20.0, 4800.0),)),), True)

    assert seen(calm, hours(24, x=LOWER), 24).log10_evidence > 5
    assert seen(restless, hours(24, x=LOWER), 24).log10_evidence < 2


def test_an_excess_that_lasts_is_of_all_of_a_longer_window() -> None:
    ends, lasts = (
        Variation("bins", (column("x", TENTHS[None] * 200_000, excess=(Excess(24 * HOUR_US, 20.0, 4800.0, it),)),), True)
        for it in (False, True)
    )

    rows = hours(24 * 20, x=LOWER)
    assert seen(ends, rows, 24 * 20).log10_evidence > 5
    assert seen(lasts, rows, 24 * 20).log10_evidence < 2


def test_the_fewer_levels_restlessness_was_learned_from_the_more_is_needed() -> None:
    few, many = (
        Variation("bins", (column("x", TENTHS[None] * 200_000, excess=(Excess(24 * HOUR_US, 20.0, 4800.0, freedom=it),)),), True)
        for it in (8.0, 200.0)
    )

    rows = hours(24 * 20, x=LOWER)
    assert seen(few, rows, 24 * 20).log10_evidence < 4 < seen(many, rows, 24 * 20).log10_evidence


def test_more_rows_of_a_restless_day_are_no_more_evidence() -> None:
    excess = (Excess(24 * HOUR_US, 20.0, 4800.0),)
    variation = Variation("bins", (column("x", TENTHS[None] * 20_000, excess=excess),), True)

    quiet, busy = (seen(variation, hours(24, rows=rows, x=LOWER), 24).log10_evidence for rows in (200, 20_000))

    assert quiet < 1
    assert busy < 1


def test_without_blocks_enough_nothing_is_called_drift() -> None:
    report = seen(reference(is_enough=False), moved(x=LOWER), 72)

    assert report.named == ()
    assert "too few blocks" in report.note


@pytest.mark.parametrize("rows", [[], hours(24, x=None), hours(3, rows=0)], ids=["no rows", "a column that is absent", "empty buckets"])
def test_what_holds_no_rows_says_nothing(rows: list[Row]) -> None:
    report = seen(reference(), rows, 24)

    (x,) = [c for c in report.columns if c.key == "x"]
    assert (x.log10_evidence, x.psi, x.since_us, x.rows, x.share) == (-math.inf, 0.0, None, 0, 0.0)
    assert report.named == ()


def test_a_column_the_reference_has_no_rows_of_says_nothing() -> None:
    assert seen(reference(column("x", np.zeros((1, 13))), column("y", TENTHS[None] * 20_000)), hours(24), 24).named == ()


def test_a_reference_of_few_rows_is_not_held_against_many() -> None:
    rng = np.random.default_rng(0)
    drawn = [Variation("bins", (column("x", rng.multinomial(100, TENTHS)[None]),), True) for _ in range(40)]

    assert [seen(v, hours(48, i), 48).named for i, v in enumerate(drawn)].count(()) >= 39


@pytest.mark.parametrize(("columns", "slots"), [(3, 0), (0, 0), (0, 5)], ids=["no slot", "no column, no slot", "no column"])
def test_what_watches_nothing_says_nothing(columns: int, slots: int) -> None:
    variation = Variation("bins", reference().columns[:columns], True)
    state = State.begin(variation, 0, HOUR_US)
    state = advance(state, slots * HOUR_US, hours(slots)) if slots else state

    report = look(state, variation, Rule())

    assert (report.named, report.columns, report.note) == ((), (), "nothing is watched yet")
    assert window_psi(state, variation, 0) == {}
    assert State.from_bytes(state.to_bytes()).to_bytes() == state.to_bytes()


def test_evidence_is_json() -> None:
    stored = json.loads(json.dumps(seen(reference(), moved(x=LOWER), 72).to_dict(most=2), allow_nan=False))

    assert stored["drifting"] == ["x"]
    assert [c["column"] for c in stored["columns"]] == ["x", "y"]
