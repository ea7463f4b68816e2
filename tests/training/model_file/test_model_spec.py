from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from marshmallow import fields

from training.errors import SpecError
from training.model_file.fields import Keys
from training.model_file.keys import ModelKeys
from training.model_file.model_spec import load_spec, parse_spec
from training.policies import Budget
from training.schema.feature import Feature
from training.schema.schema import Schema
from training.schema.sources import Query
from training.schema.time_column import TimeColumn

LEAST = """model: m
schema:
  target: y
  task: binary
  features:
    x: numeric
"""
REAL = Path(__file__).parents[3] / "examples" / "real"


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    return [(p.line, p.field, p.message) for p in caught.value.problems]


def test_the_least_model_file_gets_a_default_for_everything() -> None:
    spec = parse_spec(LEAST)

    assert (spec.metric, spec.labels.delay, spec.training.holdout, spec.retraining.act) == ("log_loss", timedelta(days=1), 0.2, "auto")
    assert parse_spec(spec.text) == spec


def test_every_mistake_is_told_at_once_with_line_and_field() -> None:
    text = LEAST.replace("task: binary", "task: binry").replace("model: m", "model: M!") + "labels: {delay: 3 rowz}\ntrainning: {}\n"

    mistakes = problems(text)

    assert [(line, field) for line, field, _ in mistakes] == [(1, "model"), (4, "schema.task"), (7, "labels.delay"), (8, "trainning")]
    assert "did you mean 'training'?" in mistakes[-1][2]


@pytest.mark.parametrize(
    ("addition", "field"),
    [
        ("training: {budget: 0 fits}", "training.budget"),
        ("training: {holdout: 0.9}", "training.holdout"),
        ("training: {candidates: [linear, magic]}", "training.candidates.1"),
        ("watching: {every: 7d, bucket: 2d}", "watching.every"),
        ("    z: {kind: categorical, monotonic: increasing}", "schema.features.z.monotonic"),
        ("    z: {kind: datetime, monotonic: increasing}", "schema.features.z.monotonic"),
        ("    z: {kind: numeric, monotonic: upward}", "schema.features.z.monotonic"),
        ("    z: {kind: numeric, monotonic: increasing}\ntraining: {candidates: [linear]}", "training.candidates"),
        ("    z: {kind: numeric, monotonic: increasing}\ntraining: {candidates: [{name: mine, factory: a:b}]}", "training.candidates"),
        ("training: {class_weight: heavy}", "training.class_weight"),
        ("training: {half_life: 180d}", "training.half_life"),
        ("metric: mae", "metric"),
        ("segments: [x]", "segments.0"),
        ("retraining: {gate: {rows: many}}", "retraining.gate.rows"),
        ("    x: {kind: integer}", "schema.features.x"),
        ("    z: {kind: numeric, minimum: 3, maximum: 1}", "schema.features.z.minimum"),
        ("    z: {kind: numeric, categories: [a]}", "schema.features.z.categories"),
        ("    z: {kind: categorical, unknown: error}", "schema.features.z.unknown"),
        ("    z: {kind: numeric, minimun: 3}", "schema.features.z.minimun"),
        ("    y: numeric", "schema.target"),
    ],
)
def test_a_mistake_is_found_at_its_field(addition: str, field: str) -> None:
    assert field in [f for _, f, _ in problems(LEAST + addition + "\n")]


@pytest.mark.parametrize(
    ("addition", "field", "message"),
    [
        ("labels: {delay: 100d}", "labels.delay", "100d is beyond too_late (90d): no label would count"),
        ("labels: {too_late: 12h}", "labels.delay", "1d is beyond too_late (12h)"),
        ("labels: {delay: 1h, too_late: 30m}", "labels.delay", "1h is beyond too_late (30m)"),
        ("watching: {window: 36h, bucket: 1h}", "watching.window", "1d12h is under a slot, which is as long as every (7d)"),
        ("watching: {window: 3d}", "watching.window", "3d is under a slot, which is as long as every (7d)"),
        ("watching: {every: 30d}", "watching.window", "14d is under a slot, which is as long as every (30d)"),
        ("watching: {drift: {reference: 401d}}", "watching.drift.reference", "401d is beyond retention.log (400d)"),
        ("watching: {window: 401d}", "watching.window", "401d is beyond retention.log (400d)"),
        ("retention: {log: 12d}", "watching.window", "14d is beyond retention.log (12d)"),
        ("watching: {window: 201d, drift: {rule: classic}}", "watching.window", "twice 201d, which rule: classic looks at, is beyond"),
        (
            "labels: {delay: 2d}\nretention: {log: 15d}",
            "labels.delay",
            "2d and watching.window (14d) are together beyond retention.log (15d)",
        ),
        ("training: {window: 401d}", "training.window", "401d is beyond retention.log (400d)"),
    ],
)
def test_what_makes_no_sense_together_is_refused_and_read_where_it_is_registered(addition: str, field: str, message: str) -> None:
    text = LEAST + addition + "\n"

    (mistake,) = problems(text)

    assert (mistake[1], message in mistake[2]) == (field, True)
    assert parse_spec(text, stored=True).text == text


@pytest.mark.parametrize(
    "addition",
    [
        "labels: {delay: 90d}",
        "watching: {every: 14d}",
        "labels: {delay: 9000 rows, too_late: 1h}",
        "labels: {delay: 9000 rows}\nretention: {log: 14d}",
        "watching: {window: 200d, drift: {rule: classic}}",
        "watching: {drift: {reference: 400d}}\ntraining: {window: 400d}",
        "labels: {delay: 1d}\nretention: {log: 15d}",
        "watching: {drift: {reference: 500d}}\ntraining: {window: 500d}\nretention: {log: 500d}",
    ],
)
def test_what_just_makes_sense_is_taken(addition: str) -> None:
    assert parse_spec(LEAST + addition + "\n").model == "m"


def test_only_a_table_without_times_can_be_split_at_random() -> None:
    text = LEAST + "training: {split: random}\n"

    assert parse_spec(text).training.split == "random"
    assert problems(text.replace("  task:", "  time: {column: at}\n  task:")) == [
        (8, "training.split", "random is for tables without a time; delete this line, or schema.time")
    ]


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "model: m"])
def test_what_is_no_model_file_at_all_is_refused(text: str) -> None:
    assert problems(text)


def test_a_delay_is_a_duration_or_a_number_of_rows() -> None:
    in_rows = parse_spec(LEAST + "labels: {delay: 168 rows}").labels
    in_time = parse_spec(LEAST + "labels: {delay: 36h}").labels

    assert (in_rows.delay, in_rows.delay_rows) == (None, 168)
    assert (in_time.delay, in_time.delay_rows) == (timedelta(hours=36), None)
    assert problems(LEAST + "labels: {delay: 0d}")[0][2] == "'0d' lasts no time; a duration must be longer than zero"


@pytest.mark.parametrize(
    ("text", "budget", "shown"),
    [
        ("12 fits", Budget(None, 12), "12 fits"),
        ("1 fit", Budget(None, 1), "1 fit"),
        ("2m", Budget(120.0, None), "2m"),
        ("1h", Budget(3600.0, None), "1h"),
        ("all", Budget(), "all"),
    ],
)
def test_a_budget_is_a_time_or_a_number_of_fits_and_shown_as_it_was_written(text: str, budget: Budget, shown: str) -> None:
    read = parse_spec(LEAST + f"training: {{budget: {text}}}").training.budget

    assert (read, str(read)) == (budget, shown)


def test_yaml_does_not_turn_the_class_no_into_a_boolean_nor_a_day_into_a_date() -> None:
    text = LEAST.replace("  features:", "  classes: [no, yes]\n  time: {column: t, kind: ordinal, origin: 2024-05-17}\n  features:")

    schema = parse_spec(text).schema

    assert schema.classes == ("no", "yes")
    assert schema.time is not None
    assert schema.time.origin == datetime(2024, 5, 17, tzinfo=UTC)


def test_data_lies_beside_the_model_file(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(LEAST + "data: history.csv\n")

    assert load_spec(tmp_path / "m.yaml").data == tmp_path / "history.csv"


def test_data_at_an_address_lies_there(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(LEAST + "data: s3://bucket/history.csv\n")

    assert load_spec(tmp_path / "m.yaml").data == "s3://bucket/history.csv"


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("sqlite:///rides.db", "sqlite:///{folder}/rides.db"),
        ("sqlite:////srv/rides.db", "sqlite:////srv/rides.db"),
        ("postgresql://me@host/rides", "postgresql://me@host/rides"),
    ],
)
def test_data_in_a_database_is_a_query(tmp_path: Path, url: str, read: str) -> None:
    (tmp_path / "m.yaml").write_text(LEAST + f"data: {{sql: SELECT 1, url: '{url}'}}\n")

    assert load_spec(tmp_path / "m.yaml").data == Query("SELECT 1", read.format(folder=tmp_path))


def test_a_file_that_is_not_there_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.yaml: 1 problem.*\n.*cannot be read: No such file or directory$"):
        load_spec(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["bank_marketing", "beijing_pm25", "bike_sharing", "elec2", "kdd99", "noaa_weather"])
def test_the_model_files_of_the_real_data_are_valid(name: str) -> None:
    spec = load_spec(REAL / f"{name}.yaml")

    assert spec.model == name
    assert spec.labels.delay_rows is not None


def documented() -> str:
    text = (REAL.parents[1] / "docs" / "model-file.md").read_text()
    return text.split("```yaml\n")[1].split("```")[0]


def test_the_documented_model_file_is_valid_and_its_defaults_are_the_defaults() -> None:
    full, least = parse_spec(documented()), parse_spec(LEAST)

    assert (full.labels, full.training, full.watching) == (least.labels, least.training, least.watching)
    assert (full.retraining, full.retention, full.segments) == (least.retraining, least.retention, least.segments)
    assert (full.metric, full.schema.extra) == (least.metric, least.schema.extra)
    assert full.schema.feature("stops") == Feature("stops", "integer")
    assert full.schema.time == TimeColumn("departed")


def test_every_key_of_a_model_file_is_documented() -> None:
    text = documented()

    assert [name for name in all_keys(ModelKeys()) if f"{name}:" not in text] == []


def all_keys(keys: Keys) -> list[str]:
    inner = [field.schema for field in keys.fields.values() if isinstance(field, fields.Nested)]
    return [*keys.fields, *(name for schema in inner if isinstance(schema, Keys) for name in all_keys(schema))]


def test_weights_are_asked_for_by_name_and_mean_something_for_the_task() -> None:
    timed = LEAST.replace("  features:", "  time: {column: t}\n  features:")

    asked = parse_spec(timed + "training: {class_weight: balanced, half_life: 180d}\n")

    assert asked.asked == {"class_weight": "balanced", "half_life": "180d"}
    assert parse_spec(timed + "training: {half_life: 1h30m}\n").asked == {"half_life": "1h30m"}
    assert parse_spec(timed + "training: {class_weight: null, half_life: null}\n").asked == {}
    assert problems(LEAST.replace("binary", "regression") + "training: {class_weight: balanced}\n")[0][1:] == (
        "training.class_weight",
        "means nothing for a regression",
    )


def test_what_finds_the_settings_is_asked_for_by_name() -> None:
    plain, named = parse_spec(LEAST), parse_spec(LEAST + "training: {search: optuna}\n")

    assert (plain.training.search, named.training.search) == ("halving", "optuna")
    assert (plain.asked, named.asked) == ({}, {"search": "optuna"})
    assert parse_spec(LEAST + "training: {search: halving}\n").asked == {}
    assert plain.schema.contract_hash == named.schema.contract_hash
    assert problems(LEAST + "training: {search: optune}\n")[0][1] == "training.search"


def test_a_direction_is_no_part_of_the_contract_and_stands_in_the_schema_only_where_it_is_set() -> None:
    plain, directed = parse_spec(LEAST), parse_spec(LEAST.replace("x: numeric", "x: {kind: numeric, monotonic: decreasing}"))

    assert plain.schema.contract_hash == directed.schema.contract_hash
    assert "monotonic" not in plain.schema.to_dict()["features"][0]
    assert (plain.schema.monotonic, directed.schema.monotonic) == ({}, {"x": -1})
    assert Schema.from_dict(directed.schema.to_dict()) == directed.schema
    assert directed.asked == {"monotonic": {"x": "decreasing"}}
    several = LEAST.replace("binary", "multiclass").replace("x: numeric", "x: {kind: numeric, monotonic: decreasing}")
    assert problems(several)[0][1] == "schema.features.x.monotonic"
