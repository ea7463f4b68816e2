"""Each number of a decision stands beside its threshold."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.explaining.turning_points import of_line, of_verdict

PROBATION = {"outcome": "worse", "log10_evidence": 1.5, "log10_threshold": 1.3}
MEMBER = {"version": "20260101T000000Z-aaaaaaaaaaaa", "unseen_rows": 90, "wanted_rows": 100}
GATE = {"n": 400, "wanted_rows": 200, "gain_low": 0.01, "minimum_gain": 0.005}
GROWTH = {
    "outcome": "accepted",
    "rows": 300,
    "wanted_rows": 200,
    "gain_high": 0.02,
    "segments": {"place=hill": {"gain_high": -0.1}},
    "calibration_error": [0.03, 0.04],
    "most_worse_calibration": 0.02,
}


@pytest.mark.parametrize(
    ("action", "evidence", "numbers"),
    [
        ("promote", GATE, [("rows judged", 400, 200), ("gain, lower bound", 0.01, 0.005)]),
        ("refuse", {"n": 10, "wanted_rows": 200}, [("rows judged", 10, 200)]),
        ("refuse", {"n": 10}, []),
        ("failed", {"run": "r"}, []),
        ("promote", {**GATE, "before": {"version": "v0", "gain_low": float("nan"), "minimum_gain": 0.0}},
         [("rows judged", 400, 200), ("gain, lower bound", 0.01, 0.005), ("gain over v0, lower bound", None, 0.0)]),
        ("promote", GROWTH, [("rows judged", 300, 200), ("gain, upper bound", 0.02, 0.0), ("gain in place=hill, upper bound", -0.1, 0.0),
                             ("calibration error with the member", 0.04, 0.05)]),
        ("rollback", {"n": 300, "wanted_rows": 300, "gain_low": 0.1, "minimum_gain": 0.0},
         [("rows looked at", 300, 300), ("gain of the version before, lower bound", 0.1, 0.0)]),
        ("reweigh", {"moved": 0.2, "least_move": 0.01, "members": [MEMBER], "probations": {MEMBER["version"]: PROBATION}},
         [("largest move of a weight or a map", 0.2, 0.01), ("rows that aaaaaaaa had not seen", 90, 100),
          ("evidence against aaaaaaaa, log10", 1.5, 1.3)]),
    ],
    ids=["gate", "too few rows", "an earlier release", "failed", "one that may still come back", "growth", "rollback", "reweigh"],
)  # fmt: skip
def test_a_line_of_the_ledger_has_its_numbers(action: str, evidence: dict[str, Any], numbers: list[Any]) -> None:
    turnings = of_line(action, evidence)

    assert [(one.name, one.value, pytest.approx(one.turns_at)) for one in turnings] == numbers


UNLEARNABLE = {"kind": "labels_unlearnable", "start_us": 90_000_000, "rows": 240, "share": 0.1, "usual": 0.6}


def test_a_verdict_has_those_of_drift_harm_and_faults() -> None:
    fault = {"kind": "constant", "column": "cloud", "start_us": 90_000_000, "rows": 40, "share": 1.0, "usual": 0.1}
    evidence = {
        "drift": {"log10_evidence": 1.0, "log10_threshold": 3.5},
        "performance": {"harm": {"loss": "log_loss", "log10_evidence": None, "log10_threshold": 3.9}},
        "faults": [fault],
        "cohorts": {"label_faults": [{**fault, "kind": "labels_constant", "column": None}, UNLEARNABLE]},
    }

    turnings = of_verdict(evidence)

    assert [(one.name, one.distance) for one in turnings] == [
        ("evidence of drift, log10", -2.5),
        ("evidence that log_loss got worse, log10 of days", None),
        ("labels_unlearnable from 1970-01-01 00:01, agreement of answers with 240 labels", pytest.approx(-0.35)),
        ("constant cloud from 1970-01-01 00:01, share of 40 rows", 0.9),
        ("labels_constant from 1970-01-01 00:01, share of 40 rows", 0.9),
    ]
