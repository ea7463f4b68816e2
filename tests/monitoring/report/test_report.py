"""The report of a model: its figures are those of the journal and the counts, and nothing in it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from monitoring.drift.episodes import Episode, MovedColumn
from monitoring.journal.tables import Look, Quarantine, VerdictRecord, verdicts
from monitoring.judging.estimating.bands import Estimate
from monitoring.judging.labels.arrivals import Arrivals
from monitoring.report.model_facts import Counted, Judged, ModelFacts, read_facts
from monitoring.report.report import page_of, report_of
from monitoring.report.standing import standing_of
from tests.monitoring.world import DAY_US, MODEL_FILE, World, weather
from training.model_file.model_spec import parse_spec
from training.profiles.bins import Bins, ColumnBins, Profile
from training.profiles.measures import Measures
from training.registry.tables import LedgerEntry, VersionRecord
from training.schema.rows import Rows

EVIL = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\x00|\n"
SPEC = parse_spec(MODEL_FILE)
NOW = datetime(2026, 1, 5, tzinfo=UTC)
LIMIT_BYTES = 2_000_000


@pytest.fixture
def opened(make: Callable[..., World]) -> Iterator[Callable[[World], Workbench]]:
    benches: list[Workbench] = []

    def one(world: World) -> Workbench:
        home = {"EVERGREEN_HOME": str(world.stores.home.path), "EVERGREEN_DATABASE_URL": world.stores.database.url}
        benches.append(Workbench(home))
        return benches[-1]

    yield one
    for bench in benches:
        bench.close()


def text_of(html: str) -> str:
    """Return what a person reads."""
    body = html.partition("<body>")[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def page(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>|<meta[^>]*>", "", html))


def assert_harmless(html: str) -> None:
    parts = list(page(html).iter())
    assert {one.tag for one in parts} & {"script", "img", "iframe", "object", "embed", "link", "form", "base"} == set()
    assert [name for one in parts for name in one.attrib if name.startswith("on") or name in ("src", "style")] == []
    assert [one.get("href", "")[:1] for one in parts if one.tag == "a" and one.get("href", "")[:1] != "#"] == []
    assert len(html.encode()) <= LIMIT_BYTES


def stirred(rows: Rows) -> Rows:
    """Return rows with a stuck column for two days, and wind of another kind from day 96 on."""
    stuck = (rows.time_us >= 79 * DAY_US) & (rows.time_us < 81 * DAY_US)
    rows.columns["cloud"][stuck] = 0.25
    rows.columns["wind"][rows.time_us >= 96 * DAY_US] += 4.0
    return rows


def test_what_a_model_went_through_stands_in_its_report(make: Callable[..., World], opened: Callable[[World], Workbench]) -> None:
    world = make()
    rows = stirred(weather(1, 60, 90, flipped_from=67))
    world.answer(rows.between(0, 120 * DAY_US))
    world.settle(world.monitor())
    world.answer(rows.between(120 * DAY_US, 150 * DAY_US), labelled=False)
    world.settle(world.monitors[0])

    known = read_facts(opened(world), "rain", 90)
    html = page_of(known)

    judged = world.stores.journal.verdicts("rain", limit=None)
    assert {"retrain", "quarantine", "blind"} <= {one.verdict for one in judged}
    assert [one.record.slot_us for one in known.judged] == [one.slot_us for one in reversed(judged)]
    read = text_of(html)
    assert [reason for one in judged for reason in one.reasons if re.sub(r"\s+", " ", reason)[:400] not in read] == []
    (episode, _), *_ = world.stores.journal.episodes("rain")
    assert f"wind (PSI {episode.columns[0].psi:.2f})" in read
    (fault,) = world.stores.journal.quarantines("rain")
    assert f"1970-03-{fault.start_us // DAY_US - 58} 00:00 1970-03-{fault.end_us // DAY_US - 58} 00:00 {fault.reason}" in read
    promotion = next(line for line in world.stores.registry.ledger("rain") if line.action == "promote" and line.who == "monitor")
    assert f"promoted {promotion.version.rpartition('-')[2][:8]}" in read  # type: ignore[union-attr]
    assert promotion.why in read
    tested = next(one.evidence["performance"] for one in judged if one.evidence["performance"])
    live = tested["live"]
    assert f"{live['value']:.4g} [{live['low']:.4g}, {live['high']:.4g}] on {live['n']} labelled rows" in read
    assert "blind" in standing_of(known).word
    assert f"matched {known.arrivals.counts['matched']:,} 100.0%" in read
    assert sum(known.rows.values()) == 90 * 40
    assert_harmless(html)


def test_distributions_are_those_of_the_reference_and_of_the_last_window(world: World, opened: Callable[[World], Workbench]) -> None:
    rows = weather(1, 60, 22)
    world.answer(rows)
    world.settle(world.monitor())

    read = text_of(report_of(opened(world), "rain", 90))

    window = rows.between(63 * DAY_US, 77 * DAY_US)
    hill = float(np.mean(window.columns["place"] == "hill"))
    before = float(np.mean(weather(0, 0, 60).columns["place"] == "hill"))
    assert f"hill {100 * before:.2f} % {100 * hill:.2f} %" in read
    assert "560 rows of the last window, 1970-03-05 00:00 to 1970-03-19 00:00" in read


def test_a_model_that_was_never_judged_says_so(world: World, opened: Callable[[World], Workbench]) -> None:
    html = report_of(opened(world), "rain", 90)

    assert "No slot was judged yet: the loop looks every 7d of model time." in text_of(html)
    assert "not judged" in html
    assert_harmless(html)


def test_nothing_that_callers_or_colleagues_write_is_markup() -> None:
    html = page_of(evil_facts())

    assert "<script" not in html
    assert "onerror=&#x27;alert(2)&#x27;" in html
    assert_harmless(html)


def test_a_busy_wide_model_has_a_report_of_bounded_size() -> None:
    known = evil_facts(columns=300, slots=200)

    assert_harmless(page_of(known))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"faults": [{"kind": "constant"}]}, "data fault"),
        ({"performance": {"is_degraded": True, "live": None}}, "degraded"),
        ({"drift": {"drifting": ["wind"]}}, "watched"),
        ({"cohorts": {"labelled": 0}, "score": None, "performance": None, "labels": {"unseen": 0}}, "no labels"),
        ({}, "fresh"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_state_is_the_first_that_holds(change: dict[str, object], word: str) -> None:
    calm = {"score": {"value": 0.4}, "labels": {"unseen": 40}, "drift": {"drifting": []}, "faults": []}
    known = evil_facts()
    record = replace(known.judged[-1].record, verdict="keep", evidence={**calm, **change})

    assert standing_of(replace(known, judged=[replace(known.judged[-1], record=record)])).word == word


def test_live_scores_of_segments_stand_beside_that_of_all_rows() -> None:
    known = evil_facts()
    live = [
        {"segment": segment, "metric": "accuracy", "value": value, "low": value - 0.125, "high": value + 0.125, "n": n, "coverage": 1.0}
        for segment, value, n in (("", 0.75, 900), ("place=hill", 0.5, 300))
    ]
    record = replace(known.judged[-1].record, evidence={**known.judged[-1].evidence, "live": live})

    read = text_of(page_of(replace(known, judged=[replace(known.judged[-1], record=record)])))

    assert "Live accuracy by segment" in read
    assert "0.75 over all (dashed)" in read
    assert "all rows 0.75 0.625 to 0.875 900 rows place=hill 0.5 0.375 to 0.625 300 rows" in read


def test_what_is_estimated_is_drawn_with_its_band_and_what_it_assumes() -> None:
    known = evil_facts()
    line = Estimate("accuracy", "CBPE", 0.75, 0.625, 0.875, n=900, learned_from=2000, outside=0.1).to_dict()
    estimated = {"lines": [line, {**line, "method": "PPI++", "labels": 90}], "missing": []}
    record = replace(known.judged[-1].record, evidence={**known.judged[-1].evidence, "estimated": estimated})

    html = page_of(replace(known, judged=[replace(known.judged[-1], record=record)]))

    read = text_of(html)
    assert "Estimated accuracy without labels (CBPE), higher is better" in read
    assert "0.75 [0.625, 0.875] for 900 rows at the last look that has one; it assumes that the relation of features to target is" in read
    assert "10% of them lie beyond all that was learned from" in read
    assert "by PPI++ from 2,000 labelled rows and 90 labels among the 900 rows: assumes that the labelled rows are a fair draw" in read
    assert_harmless(html)


def test_why_nothing_is_estimated_stands_in_the_report() -> None:
    known = evil_facts()
    estimated = {"lines": [], "missing": ["no estimate: 3 of 500 labelled rows of this version have matured"]}
    record = replace(known.judged[-1].record, evidence={**known.judged[-1].evidence, "estimated": estimated})

    read = text_of(page_of(replace(known, judged=[replace(known.judged[-1], record=record)])))

    assert "Without labels: no estimate: 3 of 500 labelled rows of this version have matured." in read


def test_many_slots_are_joined_and_the_worst_of_neighbours_is_drawn(world: World, opened: Callable[[World], Workbench]) -> None:
    bench = opened(world)
    kinds = ["keep"] * 450
    kinds[7], kinds[8], kinds[449] = "quarantine", "roll_back", "keep"
    bench.journal.prepare()
    with world.stores.database.write() as connection:
        connection.execute(
            verdicts.insert(),
            [
                {"model": "rain", "slot_us": (61 + place) * DAY_US, "verdict": kind, "reasons": "[]", "evidence": "{}", "created_us": place}
                for place, kind in enumerate(kinds)
            ],
        )

    known = read_facts(bench, "rain", 1_000)

    assert (len(known.looks), len(known.judged), known.judged[0].slots) == (450, 150, 3)
    assert [one.record.verdict for one in known.judged[:4]] == ["keep", "keep", "roll_back", "keep"]
    assert known.judged[-1].record.slot_us == (61 + 449) * DAY_US
    assert "450 looks; 3 neighbours are drawn as one, the worst." in text_of(page_of(known))


def evil_facts(columns: int = 2, slots: int = 3) -> ModelFacts:
    """Return facts with a name that wants to be markup wherever somebody else chooses one."""
    names = [f"{EVIL}{place}" for place in range(columns)]
    measures = Measures(Bins(tuple(ColumnBins(name, "categorical", categories=tuple(f"{EVIL}{i}" for i in range(30))) for name in names)))
    counts = {name: np.arange(32) for name in names}
    profile = Profile(measures.id, 496, counts, {}, {})
    moved = [
        {"column": name, "psi": 0.5, "floor": 0.01, "log10_evidence": 4.0, "since": "1970-03-01T00:00:00+00:00", "is_drifting": True}
        for name in names[:100]
    ]
    evidence = {
        "champion": EVIL,
        "drift": {"rule": "sequential", "columns": moved, "drifting": names, "log10_evidence": 5.0, "log10_threshold": 4.0, "note": EVIL},
        "labels": {"coverage": 0.5, "unseen": 4},
        "cohorts": {"blind": EVIL, "maturity_us": DAY_US,
                    "delays": [{"class": EVIL, "labels": 20, "quantile_us": DAY_US, "is_known": False}],
                    "due": 9, "labelled": 4, "by_third_of_score": {EVIL: 0.5}},
        "performance": {"live": {"metric": EVIL, "value": 0.5, "low": 0.4, "high": 0.6, "n": 300, "coverage": 0.9},
                        "baseline": {"value": 0.4, "n": 300}, "source": EVIL, "is_degraded": True},
        "live": [{"segment": segment, "metric": EVIL, "value": 0.25, "low": 0.125, "high": None, "n": 300, "coverage": 0.9}
                 for segment in ("", EVIL)],
        "faults": [],
    }  # fmt: skip
    judged = [
        Judged(slot * DAY_US, (slot + 1) * DAY_US, 1, VerdictRecord("rain", slot * DAY_US, "blind", (EVIL, EVIL), evidence, 0))
        for slot in range(60, 60 + slots)
    ]
    line = LedgerEntry(1, NOW, "rain", "promote", EVIL, EVIL, EVIL, EVIL, {"gain": 0.1, "gain_low": 0.05, "gain_high": 0.2})
    scores = {"log_loss": {"value": 0.5, "low": None, "high": 0.6, "n": 40}}
    return ModelFacts(
        spec=SPEC,
        now=NOW,
        start_us=60 * DAY_US,
        end_us=(60 + slots) * DAY_US,
        watermark_us=62 * DAY_US,
        champion=VersionRecord("rain", EVIL, "", Path(), None, "", NOW, None, {"algorithm": EVIL, "trained_through_us": 59 * DAY_US}),
        serving_since=NOW,
        is_paused=True,
        looks=[Look(one.start_us, "blind", 0) for one in judged],
        judged=judged,
        episodes=[Episode(1, 61 * DAY_US, 60 * DAY_US, tuple(MovedColumn(name, 0.5, 4.0) for name in names), None, 62 * DAY_US, EVIL)],
        quarantines=[Quarantine("rain", 60 * DAY_US, 61 * DAY_US, EVIL, 61 * DAY_US, 0, 1, EVIL, EVIL)],
        counted=Counted(measures, EVIL, {"": profile}, {"": profile}, 60 * DAY_US, 61 * DAY_US),
        rows={60 * DAY_US: 40},
        rejected={(EVIL, EVIL): 3},
        arrivals=Arrivals(None, {EVIL: 3}),
        tested={"metrics": {"overall": scores, "segments": {EVIL: {EVIL: scores}}}},
        moves=[(61 * DAY_US, line), (61 * DAY_US, replace(line, action=EVIL))],
    )


def weighing(seq: int, members: list[dict[str, Any]], **more: Any) -> LedgerEntry:
    """A line of the ledger, as weighings write it."""
    evidence = {"slot": "", "members": members, **more}
    return LedgerEntry(seq, NOW, "rain", "reweigh", f"20260105T000000Z-{'a' * 12}.{seq:04}", None, "monitor", "weighed", evidence)


def a_member(number: int, weight: float, point: list[float] | None = None) -> dict[str, Any]:
    return {"version": f"20260105T000000Z-{number:08}0000", "family": ("all", "half")[number % 2], "weight": weight, "map": point}


def test_weights_and_maps_are_drawn_over_time_and_who_came_and_left_stands_beside_them() -> None:
    known, day = evil_facts(), 60 * DAY_US
    old, new = a_member(0, 0.75, [1.5, -0.25]), a_member(1, 0.25)
    grown = {"newcomer": new["version"], "members": [{**old, "weight": 0.5}, {**new, "weight": 0.5}], "left": [a_member(7, 0)["version"]]}
    promoted = LedgerEntry(3, NOW, "rain", "promote", new["version"], None, "monitor", "not proven worse", grown)
    probation = {"log10_evidence": 1.5, "log10_threshold": 1.3, "rows": 900}
    weighings = [
        (day, weighing(2, [{**old, "weight": 1.0}])),
        (day + 2 * DAY_US, weighing(4, [old, new], threshold={"before": None, "after": 0.31})),
        (day + 3 * DAY_US, weighing(5, [{**old, "weight": 1.0}], expelled=[new["version"]], probations={new["version"]: probation})),
    ]

    html = page_of(replace(known, moves=[(day + DAY_US, promoted)], weighings=weighings))

    read = text_of(html)
    assert "1 answer now; the heaviest is 00000000, 100%." in read
    assert "75%, slope 1.5, intercept -0.25" in read
    assert "Map of the answers: slope 1.5 now, by weight; 1 (dashed) changes nothing." in read
    assert "Threshold The positive class is answered from 0.31 on, now." in read
    assert "00000001 left out proven to harm: evidence 10^1.5 on 900 rows, 10^1.3 is enough" in read
    assert "00000001 came not proven worse" in read
    assert "00000007 left the lightest" in read
    assert_harmless(html)


def test_a_model_that_was_never_weighed_has_no_section_of_members() -> None:
    assert 'id="members"' not in page_of(evil_facts())


def test_years_of_weighings_make_no_longer_a_page_than_months() -> None:
    known = replace(evil_facts(), end_us=2100 * DAY_US)

    def page(n: int) -> str:
        lines = [(60 * DAY_US + slot * DAY_US, weighing(slot, [a_member(slot // 9 + k, 1 / 16, [1.0, 0.1]) for k in range(16)]))
                 for slot in range(n)]  # fmt: skip
        return page_of(replace(known, weighings=lines))

    months, years = page(100), page(2000)

    assert len(years) < 1.1 * len(months)
    assert "2,000 weighings; 20 neighbours are drawn as one, the last." in text_of(years)
    assert_harmless(years)


def test_the_report_is_written_where_it_is_asked_for(world: World, opened: Callable[[World], Workbench], tmp_path: Path) -> None:
    out = tmp_path / "rain.html"

    code = run(["--home", str(world.stores.home.path), "report", "rain", "--out", str(out), "--json"], {})

    assert code == 0
    assert out.read_text().startswith("<!DOCTYPE html>")
