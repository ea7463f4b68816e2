"""The example without its events, half a year of one seed and years of five (slow): the negative control, with retraining on drift.

The seasons move the inputs; what runs empty for which inputs stays the same. An alarm may name what the seasons move, and a challenger may
be a little better, by having seen more of the year, or a little worse. Which it is can be measured here: the stream can be drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from monitoring.local.replay import replay
from tests.end_to_end.system import Example, Launch, System, parts
from training.clock import to_us
from training.dataset.dataset import read_table
from training.evaluation.losses import METRICS
from training.registry.tables import LedgerEntry
from training.schema.rows import Rows

MOVED_BY_SEASONS = {"temperature", "weather", "rain", "departures_last_hour", "arrivals_last_hour", "@score", "@label"}
DRAWN = range(1000, 1005)  # seeds of no replayed year
SIX_WEEKS = timedelta(days=42)  # then the schedule makes the next challenger
BEYOND_CHANCE = 0.01


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate decided, and by how much the challenger is better: in log loss, on unseen rows of the six weeks after it."""

    action: str
    slot: str
    better: float


@dataclass(frozen=True, slots=True)
class CalmYear:
    """A replayed year with what its gates decided."""

    system: System
    gated: tuple[Gated, ...]


@pytest.fixture(scope="module", params=parts("calm year", [(0, 0.5), *((seed, 1.0) for seed in range(5))], []))
def calm_year(request: pytest.FixtureRequest, launch: Launch, example: Example, stream: ModuleType) -> CalmYear:
    """Replay the same stream without its events, and draw the year again, five times, to measure what was gated."""
    seed, share = request.param
    folder = example(seed, False, share == 1.0)
    file = folder / "model.yaml"
    file.write_text(replacing(file.read_text()))
    system = launch(file)
    assert system.spec.retraining.on_drift
    rows = read_table(folder / "live.csv.gz", system.spec.schema)
    rows = rows.slice(0, int(share * len(rows)))
    replay(rows, system.spec, system.url, database=system.bench.database)
    drawn = pd.concat([stream.live(each, events=False) for each in DRAWN]).sort_values("observed_at")
    drawn.to_csv(folder / "unseen.csv", index=False)
    unseen = read_table(folder / "unseen.csv", system.spec.schema)
    ledger = system.bench.registry.ledger(system.spec.model, None)
    by_gate = [line for line in ledger if {"gain", "slot"} <= line.evidence.keys()]
    return CalmYear(system, tuple(measured(system, line, unseen) for line in by_gate))


def replacing(text: str) -> str:
    """Return the model file of one model that challengers replace, by schedule and on drift: of that the gate promises something."""
    changes = {"members: 6": "members: 1", "on_drift: false": "on_drift: true\n  schedule: 42d", "gate: {rows: 200": "gate: {rows: 400"}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def measured(system: System, line: LedgerEntry, unseen: Rows) -> Gated:
    """Ask both versions of a gate's line about rows that neither has seen."""
    first = datetime.fromisoformat(line.evidence["slot"])
    rows = unseen.take(np.flatnonzero((unseen.time_us >= to_us(first)) & (unseen.time_us < to_us(first + SIX_WEEKS))))
    champion, challenger = (
        METRICS["log_loss"].function(rows.labels, system.scored_by(str(version), rows)) for version in (line.previous, line.version)
    )
    return Gated(line.action, line.evidence["slot"], champion - challenger)


def test_without_events_nothing_is_quarantined(calm_year: CalmYear) -> None:
    assert calm_year.system.bench.journal.quarantines(calm_year.system.spec.model) == []


def test_without_events_nothing_drifts_but_what_the_seasons_move(calm_year: CalmYear) -> None:
    verdicts = calm_year.system.bench.journal.verdicts(calm_year.system.spec.model, None)

    assert {column for verdict in verdicts for column in verdict.evidence["drift"]["drifting"]} <= MOVED_BY_SEASONS


def test_without_events_no_promotion_costs_more_than_the_gain_the_gate_wants(calm_year: CalmYear) -> None:
    wanted = calm_year.system.spec.retraining.gate.minimum_gain

    assert calm_year.gated
    assert [each for each in calm_year.gated if each.action == "promote" and each.better < -wanted] == []


def test_without_events_challengers_that_are_no_better_pass_about_as_rarely_as_the_level_says(calm_year: CalmYear) -> None:
    passed = [each.action == "promote" for each in calm_year.gated if each.better <= 0]

    assert sum(passed) <= binom.isf(BEYOND_CHANCE, len(passed), calm_year.system.spec.retraining.gate.level)
