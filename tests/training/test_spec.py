from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from marshmallow import fields

from training.errors import SpecError
from training.filefields import Keys
from training.filekeys import ModelKeys
from training.schema import Feature, TimeColumn
from training.spec import Budget, load_spec, parse_spec

LEAST = """model: m
schema:
  target: y
  task: binary
  features:
    x: numeric
"""
REAL = Path(__file__).parents[2] / "examples" / "real"


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

    found = problems(text)

    assert [(line, field) for line, field, _ in found] == [(1, "model"), (4, "schema.task"), (7, "labels.delay"), (8, "trainning")]
    assert "did you mean 'training'?" in found[-1][2]


@pytest.mark.parametrize(
    ("addition", "field"),
    [
        ("training: {budget: 0 fits}", "training.budget"),
        ("training: {holdout: 0.9}", "training.holdout"),
        ("training: {candidates: [linear, magic]}", "training.candidates.1"),
        ("watching: {every: 7d, bucket: 2d}", "watching.every"),
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


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "model: m"])
def test_what_is_no_model_file_at_all_is_refused(text: str) -> None:
    assert problems(text)


def test_a_delay_is_a_duration_or_a_number_of_rows() -> None:
    in_rows = parse_spec(LEAST + "labels: {delay: 168 rows}").labels
    in_time = parse_spec(LEAST + "labels: {delay: 36h}").labels

    assert (in_rows.delay, in_rows.delay_rows) == (None, 168)
    assert (in_time.delay, in_time.delay_rows) == (timedelta(hours=36), None)


@pytest.mark.parametrize(("text", "budget"), [("12 fits", Budget(None, 12)), ("1 fit", Budget(None, 1)), ("2m", Budget(120.0, None))])
def test_a_budget_is_a_time_or_a_number_of_fits(text: str, budget: Budget) -> None:
    assert parse_spec(LEAST + f"training: {{budget: {text}}}").training.budget == budget


def test_yaml_does_not_turn_the_class_no_into_a_boolean_nor_a_day_into_a_date() -> None:
    text = LEAST.replace("  features:", "  classes: [no, yes]\n  time: {column: t, kind: ordinal, origin: 2024-05-17}\n  features:")

    schema = parse_spec(text).schema

    assert schema.classes == ("no", "yes")
    assert schema.time is not None
    assert schema.time.origin == datetime(2024, 5, 17, tzinfo=UTC)


def test_data_lies_beside_the_model_file(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(LEAST + "data: history.csv\n")

    assert load_spec(tmp_path / "m.yaml").data == tmp_path / "history.csv"


def test_a_file_that_is_not_there_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["bike_sharing", "bank_marketing", "elec2", "kdd99"])
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
