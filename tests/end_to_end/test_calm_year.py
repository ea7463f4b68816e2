"""The example's year without its events, five seeds: the negative control."""

from __future__ import annotations

from types import ModuleType

import pytest

from monitoring.replay import replay
from tests.end_to_end.system import Example, Launch, Year
from training.dataset import read_table


@pytest.fixture(scope="module", params=range(5), ids=lambda seed: f"seed {seed}")
def calm_year(request: pytest.FixtureRequest, launch: Launch, example: Example, stream: ModuleType) -> Year:
    """Replay the same stream without its events."""
    folder = example(request.param, False)
    system = launch(folder / "model.yaml")
    rows = read_table(folder / "live.csv.gz", system.spec.schema)
    replayed = replay(rows, system.spec, system.url, database=system.bench.database)
    return Year(system, replayed, system.scored_by(system.first, rows), "", stream)


def test_without_events_nothing_is_promoted_for_drift_and_nothing_is_quarantined(calm_year: Year) -> None:
    model, bench = calm_year.system.spec.model, calm_year.system.bench
    promoted = [line for line in bench.registry.ledger(model, None) if line.action == "promote" and "run" in line.evidence]

    assert [line for line in promoted if "drift" in line.evidence["trigger"]] == []
    assert bench.journal.quarantines(model) == []
