"""How files and columns are written: the sections `read`, `format`, `zone`, `missing` and `time.columns` of a model file."""

from __future__ import annotations

import pytest

from training.errors import SpecError
from training.model_file.model_spec import parse_spec
from training.schema.schema import Schema
from training.schema.spellings import PLAIN, FileFormat
from training.schema.time_column import TimeColumn

FULL = """model: m
read: {delimiter: ";", decimal: ",", thousands: ".", encoding: latin-1, quote: "'", sheet: rides}
schema:
  target: y
  task: binary
  missing: ["?", NA]
  time: {columns: [year, month, day], format: "%Y %m %d", zone: Europe/Berlin}
  features:
    x: {kind: numeric, format: percent}
    c: {kind: categorical, missing: [NA, "NULL", 999]}
    d: {kind: datetime, format: "%d/%m/%Y", zone: UTC}
"""
LEAST = "model: m\nschema:\n  target: y\n  task: binary\n  features:\n    x: numeric\n"


def test_what_is_written_is_what_is_read() -> None:
    spec = parse_spec(FULL)

    x, c, d = spec.schema.features
    assert spec.read == FileFormat(";", ",", ".", "latin-1", "'", "rides")
    assert (x.format, c.missing, d.format, d.zone) == ("percent", ("NA", "NULL", "999"), "%d/%m/%Y", "UTC")
    assert spec.schema.missing == ("?", "NA")
    assert spec.schema.time == TimeColumn("time", format="%Y %m %d", zone="Europe/Berlin", columns=("year", "month", "day"))
    assert Schema.from_dict(spec.schema.to_dict()) == spec.schema


def test_what_is_not_written_is_plain_and_in_no_stored_schema() -> None:
    spec = parse_spec(LEAST.replace("  features", "  time: {column: at}\n  features"))

    stored = spec.schema.to_dict()
    assert spec.read == PLAIN
    assert set(stored["features"][0]) == {
        "name",
        "kind",
        "nullable",
        "minimum",
        "maximum",
        "categories",
        "unknown",
        "out_of_range",
        "derive",
    }
    assert set(stored["time"]) == {"column", "kind", "origin", "step_us", "clock"}
    assert "missing" not in stored


def test_the_parts_of_a_time_in_files_change_no_contract_and_a_format_does() -> None:
    one, parts, formatted = (
        parse_spec(LEAST.replace("  features", f"  time: {{{keys}}}\n  features")).schema.contract_hash
        for keys in ("column: at", "column: at, columns: [day, hour]", "column: at, format: epoch_ms")
    )

    assert one == parts != formatted


@pytest.mark.parametrize(
    ("written", "field", "message"),
    [
        ("    z: {kind: numeric, format: epoch_s}", "schema.features.z.format", "percent"),
        ("    z: {kind: boolean, format: percent}", "schema.features.z.format", "means nothing"),
        ("    z: {kind: numeric, missing: [NA]}", "schema.features.z.missing", "only inf can be listed"),
        ("    z: {kind: categorical, missing: [NULL]}", "schema.features.z.missing.0", "quotes"),
        ("    z: {kind: categorical, zone: UTC}", "schema.features.z.zone", "means nothing"),
        ("    z: {kind: datetime, format: dmy}", "schema.features.z.format", "no pattern"),
        ("    z: {kind: datetime, format: '%d/%m'}", "schema.features.z.format", "no year"),
        ("    z: {kind: datetime, format: '%Q'}", "schema.features.z.format", "no pattern"),
        ("    z: {kind: datetime, zone: Europe/Nowhere}", "schema.features.z.zone", "no zone"),
        ("    z: {kind: datetime, format: epoch_s, zone: Europe/Berlin}", "schema.features.z.zone", "counts from 1970"),
        ("    _id: integer", "schema.features._id", "own id"),
        ("    '@x': integer", "schema.features.@x", "added to tables"),
        ("  time: {clock: event}", "schema.time.column", "name the column"),
        ("  time: {columns: [a, a]}", "schema.time.columns", "twice"),
        ("  time: {columns: [a, y]}", "schema.time", "target"),
        ("  time: {column: t, kind: ordinal, format: epoch_s}", "schema.time.format", "ordinal"),
        ("    at: datetime\n  time: {column: at, format: epoch_s}", "schema.time", "same column"),
        ("  classes: [a, b]\n  missing: [a]", "schema.missing", "among the classes"),
        ("read: {delimiter: x}", "read.delimiter", "cannot part cells"),
        ("read: {delimiter: '--'}", "read.delimiter", "1"),
        ("read: {decimal: ',', thousands: ','}", "read.thousands", "decimal mark"),
        ("read: {encoding: klingon}", "read.encoding", "no encoding"),
        ("read: {quote: x}", "read.quote", "none of"),
        ("data: sftp://me:secret@host/rides.csv", "data", "has a password in it"),
        ("data: {sql: SELECT 1, url: 'postgresql://me:s/c@host/db'}", "data.url", "EVERGREEN_DATA_PASSWORD"),
        ("data: {sql: SELECT 1, url: 'postgresql://host/db?x=1&PassWord=secret'}", "data.url", "has a password in it"),
        ("data: {sql: SELECT 1, url: rides.db}", "data.url", "no address such as"),
        ("data: {sql: '  ', url: 'sqlite:///x.db'}", "data.sql", "is empty"),
        ("data: {sql: SELECT 1}", "data.url", "required"),
        ("data: {sq: SELECT 1, sql: SELECT 1, url: 'sqlite:///x.db'}", "data.sq", "did you mean 'sql'"),
        ("data: [a.csv, b.csv]", "data", "neither a path"),
    ],
)
def test_what_makes_no_sense_is_told_by_field(written: str, field: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(LEAST + written + "\n")

    (problem,) = caught.value.problems
    assert problem.field == field
    assert message in problem.message


def test_a_stored_model_file_may_have_names_that_are_refused_now() -> None:
    text = LEAST + "    _id: integer\n"

    assert parse_spec(text, stored=True).schema.names == ("x", "_id")
