from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from training.errors import SchemaError
from training.schema import Feature, Schema, TimeColumn, frame, normalise_label

SCHEMA = Schema(
    features=(
        Feature("temp", "numeric", nullable=True, minimum=-40, maximum=60, out_of_range="error"),
        Feature("city", "categorical", categories=("a", "b")),
    ),
    target="late",
    task="binary",
    classes=("no", "yes"),
    time=TimeColumn("t", "ordinal", datetime(2024, 1, 1, tzinfo=UTC), timedelta(hours=1)),
)


def with_feature(index: int, **changes: object) -> Schema:
    features = list(SCHEMA.features)
    features[index] = replace(features[index], **changes)  # type: ignore[arg-type]
    return replace(SCHEMA, features=tuple(features))


def test_a_schema_survives_json() -> None:
    assert Schema.from_dict(SCHEMA.to_dict()) == SCHEMA


def test_something_else_is_refused_as_a_stored_schema() -> None:
    with pytest.raises(SchemaError, match="not a stored schema"):
        Schema.from_dict({"features": 3})


@pytest.mark.parametrize(
    "changed",
    [
        with_feature(0, maximum=50),
        with_feature(0, nullable=False),
        with_feature(1, unknown="error"),
        replace(SCHEMA, extra="error"),
        replace(SCHEMA, classes=("no", "yes", "maybe")),
        replace(SCHEMA, features=SCHEMA.features[:1]),
    ],
    ids=["bound", "nullable", "unknown", "extra", "classes", "feature"],
)
def test_another_contract_has_another_hash_and_names_what_breaks(changed: Schema) -> None:
    assert changed.contract_hash != SCHEMA.contract_hash


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (with_feature(0, maximum=50), "temp: values above 50 are refused"),
        (with_feature(0, minimum=0), "temp: values below 0 are refused"),
        (with_feature(0, nullable=False), "temp: may no longer be null"),
        (with_feature(0, kind="categorical"), "temp: numeric becomes categorical"),
        (with_feature(1, unknown="error"), "city: refused from now on"),
        (replace(SCHEMA, features=(*SCHEMA.features, Feature("new", "numeric"))), "new: is new and required"),
        (replace(SCHEMA, features=SCHEMA.features[:1], extra="error"), "city: is no feature any more"),
        (replace(SCHEMA, classes=("no", "never")), "labels refused from now on: yes"),
        (replace(SCHEMA, task="regression", classes=None), "answer changes from binary"),
    ],
)
def test_breaks_says_which_requests_would_be_refused(changed: Schema, said: str) -> None:
    assert any(said in text for text in SCHEMA.breaks(changed))


@pytest.mark.parametrize(
    "changed",
    [
        SCHEMA,
        with_feature(0, maximum=90),
        with_feature(1, nullable=True),
        replace(SCHEMA, features=SCHEMA.features[:1]),
        replace(SCHEMA, features=(*SCHEMA.features, Feature("new", "numeric", nullable=True))),
    ],
    ids=["same", "wider", "nullable", "fewer", "optional"],
)
def test_a_wider_contract_breaks_nothing(changed: Schema) -> None:
    assert SCHEMA.breaks(changed) == []


def test_how_a_time_is_prepared_is_no_part_of_the_contract() -> None:
    plain = Schema((Feature("t", "datetime"),), "y", "regression")
    derived = Schema((Feature("t", "datetime", derive=("year",)),), "y", "regression")

    assert plain.contract_hash == derived.contract_hash


@pytest.mark.parametrize("features", [(), (Feature("x", "numeric"),) * 2, (Feature("y", "numeric"),)], ids=["none", "twice", "target"])
def test_a_senseless_schema_is_refused(features: tuple[Feature, ...]) -> None:
    with pytest.raises(SchemaError):
        Schema(features, "y", "regression")


def test_the_positive_class_comes_last_and_found_classes_follow_the_declared() -> None:
    binary = Schema((Feature("x", "numeric"),), "y", "binary", positive="good")
    several = Schema((Feature("x", "numeric"),), "y", "multiclass", classes=("z", "a"))

    assert binary.order_classes({"good", "open"}) == ("open", "good")
    assert several.order_classes({"c", "b"}) == ("z", "a", "b", "c")


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, "true"),
        (np.bool_(False), "false"),
        ("TRUE", "true"),
        (1.0, "1"),
        ("1.0", "1"),
        (-2.0, "-2"),
        (1.5, "1.5"),
        ("dos", "dos"),
        (" a ", "a"),
        (np.int64(3), "3"),
        ("1.2.0", "1.2.0"),
    ],
)
def test_a_label_has_one_spelling(value: object, label: str) -> None:
    assert normalise_label(value) == label


def test_the_table_of_a_pipeline_has_float_columns_and_object_columns_with_none() -> None:
    table = frame({"temp": np.array([1.0, np.nan]), "city": np.array(["a", None], object)}, SCHEMA)

    assert [str(t) for t in table.dtypes] == ["float64", "object"]
    assert table["city"].tolist() == ["a", None]
