import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from training.errors import SchemaError
from training.schema.feature import Feature
from training.schema.schema import Schema, Task, frame, normalise_label
from training.schema.time_column import TimeColumn

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


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMA,
        Schema((Feature("x", "numeric"),), "y", "regression"),
        Schema((Feature("x", "boolean"),), "y", "binary", positive="on", extra="error", time=TimeColumn("t", clock="arrival")),
    ],
    ids=["full", "defaults", "the rest"],
)
def test_a_schema_survives_json(schema: Schema) -> None:
    stored = schema.to_dict()

    assert json.loads(json.dumps(stored)) == stored
    assert Schema.from_dict(stored) == schema


def test_a_stored_schema_is_spelled_out() -> None:
    assert Schema((Feature("c", "categorical", categories=("a",)),), "y", "binary", ("n", "p"), "n", TimeColumn("t")).to_dict() == {
        "features": [
            {
                "name": "c",
                "kind": "categorical",
                "nullable": False,
                "minimum": None,
                "maximum": None,
                "categories": ["a"],
                "unknown": "encode",
                "out_of_range": "accept",
                "derive": ["hour", "weekday", "month"],
            }
        ],
        "target": "y",
        "task": "binary",
        "classes": ["n", "p"],
        "positive": "n",
        "time": {
            "column": "t",
            "kind": "timestamp",
            "origin": "2000-01-01T00:00:00+00:00",
            "step_us": 3_600_000_000,
            "clock": "event",
        },
        "extra": "ignore",
    }


def test_something_else_is_refused_as_a_stored_schema() -> None:
    with pytest.raises(SchemaError, match=r"^this is not a stored schema: KeyError\('target'\)$"):
        Schema.from_dict({"features": []})


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
    ("changed", "sentences"),
    [
        (
            with_feature(0, minimum=0, maximum=50, nullable=False),
            ["temp: may no longer be null or left out", "temp: values below 0 are refused", "temp: values above 50 are refused"],
        ),
        (
            with_feature(0, kind="categorical"),
            ["temp: numeric becomes categorical; requests with a number between -40 and 60 or null are refused"],
        ),
        (
            replace(SCHEMA, features=(*SCHEMA.features, Feature("new", "numeric"))),
            ["new: is new and required; requests without it are refused"],
        ),
        (
            replace(SCHEMA, features=SCHEMA.features[:1], extra="error"),
            ["city: is no feature any more, and extra columns are refused", "extra columns, ignored until now, are refused"],
        ),
        (replace(SCHEMA, extra="error"), ["extra columns, ignored until now, are refused"]),
        (replace(SCHEMA, time=TimeColumn("at")), ["at: the time column changes; requests must carry it as timestamp"]),
        (replace(SCHEMA, classes=("never",)), ["late: labels refused from now on: no, yes"]),
        (replace(SCHEMA, task="regression", classes=None), ["the answer changes from binary 'late' to regression 'late'"]),
        (replace(SCHEMA, target="delay"), ["the answer changes from binary 'late' to binary 'delay'"]),
    ],
)
def test_breaks_says_which_requests_would_be_refused(changed: Schema, sentences: list[str]) -> None:
    assert SCHEMA.breaks(changed) == sentences


def test_strictness_that_was_there_before_breaks_nothing() -> None:
    strict = replace(SCHEMA, extra="error", classes=None)

    assert strict.breaks(strict) == []
    assert strict.breaks(SCHEMA) == []
    assert SCHEMA.breaks(replace(SCHEMA, time=TimeColumn("at", clock="arrival"))) == []
    assert SCHEMA.breaks(replace(SCHEMA, time=None)) == []


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


@pytest.mark.parametrize(
    ("features", "sentence"),
    [
        ((), "a schema needs at least one feature"),
        ((Feature("x", "numeric"),) * 2, "two features have the same name"),
        ((Feature("y", "numeric"),), "the target 'y' is among the features"),
    ],
    ids=["none", "twice", "target"],
)
def test_a_senseless_schema_is_refused(features: tuple[Feature, ...], sentence: str) -> None:
    with pytest.raises(SchemaError, match=f"^{sentence}$"):
        Schema(features, "y", "regression")


@pytest.mark.parametrize(
    ("task", "declared", "positive", "learned", "ordered"),
    [
        ("binary", None, "good", {"good", "open"}, ("open", "good")),
        ("binary", None, None, {"open", "good"}, ("good", "open")),
        ("binary", ("z", "a"), None, {"a", "z"}, ("z", "a")),
        ("binary", None, "good", {"open"}, ("open",)),
        ("multiclass", ("z", "a"), None, {"c", "b"}, ("z", "a", "b", "c")),
        ("multiclass", ("z", "a"), "z", {"b"}, ("z", "a", "b")),
    ],
)
def test_learned_classes_follow_the_declared_and_a_positive_one_comes_last(
    task: Task, declared: tuple[str, ...] | None, positive: str | None, learned: set[str], ordered: tuple[str, ...]
) -> None:
    assert Schema((Feature("x", "numeric"),), "y", task, declared, positive).order_classes(learned) == ordered


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (True, "true"),
        (np.bool_(False), "false"),
        ("TRUE", "true"),
        ("False", "false"),
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
