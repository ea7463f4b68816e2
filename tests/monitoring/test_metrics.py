"""What the monitor exports."""

from __future__ import annotations

from typing import Any

from monitoring.metrics import make_metrics

QUIET: dict[str, Any] = {"faults": [], "labels": {"coverage": 0.5}, "score": None, "performance": None}


def column(name: str, evidence: float | None, *, is_drifting: bool = False) -> dict[str, Any]:
    segment = None if " where " in name else 0.25
    return {"column": name, "psi": 0.5, "floor": 0.01, "missing_share": segment, "log10_evidence": evidence, "is_drifting": is_drifting}


def evidence(columns: list[dict[str, Any]]) -> dict[str, Any]:
    return {"drift": {"rows": 9, "drifting": [], "columns": columns, "columns_left_out": 5000}, **QUIET}


def test_the_ten_strongest_columns_have_series_and_those_that_are_so_no_more_end() -> None:
    metrics = make_metrics()
    value = metrics.registry.get_sample_value
    many = [column(f"x{n} where place=b", float(n)) for n in range(100)]

    metrics.show("rain", 10**6, "keep", evidence([*many, column("resting", None, is_drifting=True)]))
    metrics.show("rain", 2 * 10**6, "watch", evidence([*many[:50], column("wind", 99.0)]))

    samples = [s for family in metrics.registry.collect() for s in family.samples if "feature" in s.labels]
    by_name = {name: {s.labels["feature"] for s in samples if s.name == name} for name in {s.name for s in samples}}
    strongest = {"wind", *(f"x{n} where place=b" for n in range(41, 50))}
    assert by_name.pop("evergreen_feature_missing_ratio") == {"wind"}
    assert by_name == dict.fromkeys(("evergreen_drift_score", "evergreen_drift_floor", "evergreen_drift_evidence_log10"), strongest)
    assert (value("evergreen_verdict", {"model": "rain", "verdict": "watch"}), value("evergreen_drift_rows", {"model": "rain"})) == (1, 9)
