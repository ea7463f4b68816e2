from datetime import timedelta
from pathlib import Path

import pytest

from training.errors import SpecError
from training.model_file.model_spec import load_spec, parse_spec
from training.policies import ColumnPolicy, ColumnRule, DriftPolicy, WatchingPolicy

FILE = """
model: m
schema:
  target: y
  task: binary
  features: {km: numeric, stops: integer, city: categorical, rain: boolean, a=b: boolean}
watching:
"""


def watching(written: str) -> WatchingPolicy:
    return parse_spec(f"{FILE}  {written}\n").watching


def problem(written: str) -> str:
    with pytest.raises(SpecError) as caught:
        watching(written)
    (only,) = caught.value.problems
    return f"{only.field}: {only.message}"


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("every: 7d", WatchingPolicy()),
        ("promise: 365d", WatchingPolicy(promise=timedelta(days=365))),
        ("segments: [city, rain, stops]", WatchingPolicy(segments=("city", "rain", "stops"))),
        ("rules: {km: {between: [0, 120]}}", WatchingPolicy(rules={"km": ColumnRule((0.0, 120.0), 0.01)})),
        ("rules: {stops: {between: [3, 3], share: 0.2}}", WatchingPolicy(rules={"stops": ColumnRule((3.0, 3.0), 0.2)})),
        ("drift: {floor: 0.02}", WatchingPolicy(drift=DriftPolicy(floor=0.02))),
        ("drift: {rule: classic}", WatchingPolicy(drift=DriftPolicy(rule="classic"))),
        ("drift: {level: 0.05}", WatchingPolicy(drift=DriftPolicy(level=0.05, rule="classic"))),
        ("drift: {psi_floor: 0.1}", WatchingPolicy(drift=DriftPolicy(psi_floor=0.1, rule="classic"))),
        ("drift: {reference: training}", WatchingPolicy()),
        ("drift: {reference: 14d}", WatchingPolicy(drift=DriftPolicy(reference=timedelta(days=14)))),
        ("drift: {reference: calm.csv}", WatchingPolicy(drift=DriftPolicy(reference=Path("calm.csv")))),
        (
            "drift: {columns: {km: {weight: 2, floor: .1}, city: {watch: false}, '@score': {weight: 3}, '@product:km*stops': {floor: 3}}}",
            WatchingPolicy(
                drift=DriftPolicy(
                    columns={
                        "km": ColumnPolicy(2.0, 0.1),
                        "city": ColumnPolicy(watch=False),
                        "@score": ColumnPolicy(3.0),
                        "@product:km*stops": ColumnPolicy(floor=3.0),
                    }
                )
            ),
        ),
        (
            "drift: {rule: classic, columns: {km: {watch: false}}}",
            WatchingPolicy(drift=DriftPolicy(rule="classic", columns={"km": ColumnPolicy(watch=False)})),
        ),
    ],
)
def test_what_is_written_is_the_policy(written: str, policy: WatchingPolicy) -> None:
    assert watching(written) == policy


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("promis: 3d", "watching.promis: is no known key; did you mean 'promise'?"),
        ("promise: 1800", "watching.promise: '1800' is not a duration"),
        ("promise: 1d", "watching.promise: 1d is under a slot (7d): every look might be a false alarm"),
        ("{bucket: 5d, window: 15d}", "watching.every: 7d is no whole number of buckets (5d)"),
        ("{bucket: 1h, every: 90m}", "watching.every: 1h30m is no whole number of buckets (1h)"),
        ("segments: [citi]", "watching.segments.0: is no categorical, boolean or integer feature; did you mean 'city'?"),
        ("segments: [city, km]", "watching.segments.1: is no categorical, boolean or integer feature; there are stops, city, rain, a=b"),
        ("segments: [city, city]", "watching.segments.1: is named twice"),
        ("segments: [a=b]", "watching.segments.0: its name holds '=', which parts"),
        ("rules: {stop: {between: [0, 1]}}", "watching.rules.stop: is no numeric or integer feature; did you mean 'stops'?"),
        ("rules: {rain: {between: [0, 1]}}", "watching.rules.rain: is no numeric or integer feature; there are km, stops"),
        ("rules: {km: {between: [2, 1]}}", "watching.rules.km.between: 2 is above 1"),
        ("rules: {km: {between: [2]}}", "watching.rules.km.between: Length must be 2"),
        ("rules: {km: {share: 0.1}}", "watching.rules.km.between: Missing data for required field."),
        ("rules: {km: {between: [0, .inf]}}", "watching.rules.km.between.1: Special numeric values (nan or infinity) are not permitted."),
        ("rules: {km: {between: [0, 1], shar: 0.1}}", "watching.rules.km.shar: is no known key; did you mean 'share'?"),
        ("rules: {km: {between: [0, 1], share: 2}}", "watching.rules.km.share: Must be greater than 0 and less than 1"),
        ("drift: {rule: modern}", "watching.drift.rule: 'modern' is none of: sequential, classic"),
        ("drift: {flor: 0.1}", "watching.drift.flor: is no known key; did you mean 'floor'?"),
        ("drift: {rule: sequential, level: 0.01}", "watching.drift.level: means something for rule: classic only"),
        ("drift: {rule: classic, floor: 0.01}", "watching.drift.floor: means something for rule: sequential only"),
        ("drift: {psi_floor: 0.2, reference: 14d}", "watching.drift.reference: means something for rule: sequential only (level and"),
        ("drift: {level: 0.2, columns: {km: {weight: 2}}}", "watching.drift.columns.km.weight: means something for rule: sequential only"),
        ("drift: {reference: trainig}", "watching.drift.reference: 'trainig' is none of: training, a duration such as 14d, a file of rows"),
        (
            "drift: {reference: s3://calm/calm.csv}",
            "watching.drift.reference: 's3://calm/calm.csv' is none of: training, a duration such as 14d,",
        ),
        ("drift: {columns: {kms: {weight: 2}}}", "watching.drift.columns.kms: is no column that is watched; did you mean 'km'?"),
        (
            "drift: {columns: {'@scores': {weight: 2}}}",
            "watching.drift.columns.@scores: is no column that is watched; did you",
        ),
        ("drift: {columns: {'@hour': {watch: false}}}", "watching.drift.columns.@hour: is no column that is watched; there are km"),
        ("drift: {columns: {'@product:km*no': {weight: 2}}}", "watching.drift.columns.@product:km*no: is no column that is watched;"),
        ("drift: {columns: {km: {weight: 0}}}", "watching.drift.columns.km.weight: Must be greater than 0"),
        (
            "drift: {columns: {km: {watch: false, floor: 1}}}",
            "watching.drift.columns.km.floor: means nothing for a column",
        ),
    ],
)
def test_what_is_wrong_is_told_at_its_place(written: str, message: str) -> None:
    assert problem(written).startswith(message)


def test_a_table_of_reference_lies_beside_the_model_file(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(f"{FILE}  drift: {{reference: calm/rows.csv}}\n")

    assert load_spec(tmp_path / "m.yaml").watching.drift.reference == tmp_path / "calm" / "rows.csv"


def test_a_column_without_a_policy_of_its_own_has_that_of_all() -> None:
    drift = DriftPolicy(floor=0.02, columns={"x": ColumnPolicy(floor=0.0), "z": ColumnPolicy(watch=False)})

    assert [drift.floor_of(name) for name in "xyz"] == [0.0, 0.02, 0.02]
    assert [drift.of(name).watch for name in "xyz"] == [True, True, False]


def test_a_regression_has_a_score_and_no_label() -> None:
    regression = FILE.replace("binary", "regression")

    assert parse_spec(f"{regression}  drift: {{columns: {{'@score': {{watch: false}}}}}}\n").watching.drift.columns
    with pytest.raises(SpecError, match=r"@label: is no column that is watched"):
        parse_spec(f"{regression}  drift: {{columns: {{'@label': {{watch: false}}}}}}\n")
