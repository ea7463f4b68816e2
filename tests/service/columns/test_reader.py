"""Columns: the fast path and marshmallow take and refuse the same rows, with the same words."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.columns.explaining import EXTRA, MAX_LISTED
from service.columns.fields import row_fields
from service.columns.values import OWN_ID
from service.errors import InvalidRowsError
from tests.properties import few
from tests.service.kinds import FEATURES, GOOD, LETTERS, NUMBERED, STAMPED, reader, schema
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

odd_values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 8), st.floats(), st.integers(), st.just(10**400), st.just(2.5),
    st.sampled_from(["", "a", "b", "1_000", "12", "2026-01-01T00:00:00Z", "2026-13-01", "now", "nan", "٣", "x" * 300]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)  # fmt: skip


@st.composite
def row_lists(draw: st.DrawFn) -> list[Any]:
    """Good rows in which some fields are odd, missing or extra; now and then no row at all."""
    rows: list[Any] = []
    for _ in range(draw(st.integers(1, 4))):
        row: dict[str, Any] = dict(GOOD)
        for name in draw(st.lists(st.sampled_from([*GOOD, OWN_ID, "Plain", "other"]), max_size=3)):
            if draw(st.booleans()):
                row[name] = draw(odd_values)
            else:
                row.pop(name, None)
        rows.append(draw(st.sampled_from([row] * 20 + [[], None])))
    return rows


def row_schema(schema: Schema) -> type[ma.Schema]:
    """Generate the marshmallow schema of a row."""
    fields = {f"f{n}": field for n, field in enumerate(row_fields(schema, OWN_ID, LETTERS).values())}

    class Row(ma.Schema.from_dict(fields, name="Row")):  # type: ignore[misc]
        class Meta:
            unknown = ma.RAISE if schema.extra == "error" else ma.EXCLUDE

    return Row


def errors_of_marshmallow(schema: Schema, rows: list[Any]) -> set[tuple[int, str, str]]:
    """(row, field, code) of everything that marshmallow refuses."""
    try:
        row_schema(schema)().load(rows, many=True)
    except ma.ValidationError as error:
        return {
            (row, "", "type") if name == "_schema" else (row, name, parts["code"] if isinstance(parts, dict) else "extra_field")
            for row, fields in error.messages.items()  # type: ignore[union-attr]
            for name, parts in fields.items()
        }
    return set()


@few(150)
@given(row_lists(), st.sampled_from(["ignore", "error"]), st.sampled_from([STAMPED, NUMBERED, None]))
def test_both_paths_take_and_refuse_the_same_rows_with_the_same_words(rows: list[Any], extra: str, time: TimeColumn | None) -> None:
    read = reader(extra, time)
    sent = rows if time else without_time(rows)

    table, suspects = read.try_read(sent)
    explained = read.explain(sent, suspects)

    expected = errors_of_marshmallow(schema(extra, time), sent)
    assert (table is not None) == (not expected)
    assert {(problem.row, problem.field, problem.code) for problem in explained.problems} == expected


def without_time(rows: list[Any]) -> list[Any]:
    return [{k: v for k, v in row.items() if k != "at"} if isinstance(row, dict) else row for row in rows]


def test_columns_come_in_schema_order_with_their_types() -> None:
    table = reader().read([dict(reversed(GOOD.items())), {"plain": 2, "choice": "b", "at": 6}])

    assert list(table.columns) == [feature.name for feature in FEATURES]
    assert [values.dtype.kind for values in table.columns.values()] == ["f", "f", "f", "f", "f", "O", "O", "f"]
    assert table.columns["clipped"].tolist()[0] == 1.0
    assert table.columns["odd name"].tolist() == ["x", None]
    assert math.isnan(table.columns["since"][1])
    assert table.columns["since"][0] == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert table.event_us is not None
    assert table.event_us.tolist() == [5_000_000, 6_000_000]


@pytest.mark.parametrize(
    ("time", "value", "expected"),
    [
        (STAMPED, "1970-01-01T02:00:00+02:00", 0),
        (STAMPED, "1970-01-01T00:00:01", 1_000_000),
        (STAMPED, 1.5, 1_500_000),
        (NUMBERED, 24, 946_771_200_000_000),
    ],
)
def test_event_times_are_read_in_every_form(time: TimeColumn, value: object, expected: int) -> None:
    table = reader(time=time).read([{**GOOD, "at": value}])

    assert table.event_us is not None
    assert table.event_us.tolist() == [expected]


@pytest.mark.parametrize("value", [1e300, -1e300, 5e298, 10**400, 1e12])
@pytest.mark.parametrize("time", [STAMPED, NUMBERED], ids=["timestamp", "ordinal"])
def test_a_time_beyond_all_calendars_is_named(time: TimeColumn, value: float) -> None:
    with pytest.raises(InvalidRowsError) as refused:
        reader(time=time).read([{**GOOD, "at": value}])

    assert refused.value.counts == {("at", "not_a_time"): 1}


def test_every_bad_value_is_named_and_the_rest_is_counted() -> None:
    rows = [{**GOOD, "plain": "no", "count": 0.5} for _ in range(300)]

    with pytest.raises(InvalidRowsError) as refused:
        reader().read(rows)

    assert refused.value.total == 600
    assert len(refused.value.problems) == MAX_LISTED
    assert refused.value.counts == {("plain", "type"): 300, ("count", "not_an_integer"): 300}
    assert refused.value.problems[0].to_dict() == {"row": 0, "field": "plain", "code": "type", "got": "'no'", "want": "a number"}


@pytest.mark.parametrize("word", [None, "y"], ids=["beside null", "beside text"])
def test_a_text_that_is_too_long_is_named_and_shown_shortened(word: str | None) -> None:
    read = reader(max_letters=70)
    rows = [{**GOOD, "odd name": word}, {**GOOD, "odd name": "x" * 71}, {**GOOD, "odd name": "x" * 70}]

    with pytest.raises(InvalidRowsError) as refused:
        read.read(rows)

    assert [problem.to_dict() for problem in refused.value.problems] == [
        {
            "row": 1,
            "field": "odd name",
            "code": "too_long",
            "got": "'" + "x" * 60 + "'…",
            "want": "a string of at most 70 letters, not 71",
        }
    ]


def test_an_ignored_column_is_counted_and_the_nearest_name_suggested() -> None:
    read = reader()

    table = read.read([{**GOOD, "boundd": 1}, {**GOOD, "zzz": 1}, {**GOOD, "zzz": 2}])

    assert table.ignored == {"boundd": 1, "zzz": 2}
    assert (read.hint("boundd"), read.hint("zzz")) == ("; did you mean 'bounded'?", "")


def test_an_extra_column_is_refused_where_the_schema_says_so() -> None:
    with pytest.raises(InvalidRowsError) as refused:
        reader(extra="error").read([GOOD, {**GOOD, "plian": 1}])

    assert refused.value.counts == {(EXTRA, "extra_field"): 1}
    assert refused.value.problems[0].want == "no such column; did you mean 'plain'?"


def test_own_ids_are_read_and_may_be_left_out() -> None:
    table = reader().read([{**GOOD, OWN_ID: "ride-1"}, GOOD, {**GOOD, OWN_ID: 7}])

    assert table.own_ids == ["ride-1", None, "7"]


def test_the_time_column_may_come_along_unasked_when_arrival_is_the_clock() -> None:
    arrival = TimeColumn("at", "timestamp", clock="arrival")

    table = reader(extra="error", time=arrival).read([GOOD])

    assert (table.event_us, table.ignored) == (None, {})
