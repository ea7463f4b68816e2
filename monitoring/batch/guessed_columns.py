"""Two tables without a schema, read as `init` would read them: of each column the one kind that fits both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from monitoring.errors import InputError
from training.dataset.dataset import read_table, rows_from_columns
from training.dataset.files import Table
from training.progress import Progress
from training.proposing.facts import Facts, Signs
from training.proposing.features import number_span, propose_feature
from training.proposing.layout import layout_keys, layout_of
from training.proposing.number_signs import choose_signs
from training.proposing.scanning import scan
from training.proposing.typed_cells import add_cells
from training.proposing.yaml_text import flow
from training.schema.feature import Feature
from training.schema.rows import Rows
from training.schema.schema import Schema
from training.schema.spellings import INFINITE, PLAIN, FileFormat, read_boolean

Tabular: TypeAlias = pd.DataFrame | Path
NO_TARGET = "@target"
LOOKED_AT = 1 << 13
_KINDS = {
    "numeric": "numbers",
    "integer": "numbers",
    "boolean": "true and false",
    "categorical": "texts",
    "datetime": "times",
}


class Guessed(NamedTuple):
    """Rows of both tables with the same columns, what these are, and what was left out, in sentences."""

    schema: Schema
    a: Rows
    b: Rows
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of one table."""

    table: Tabular
    name: str
    facts: Mapping[str, Facts]
    files: FileFormat
    signs: Signs


class _Guess(NamedTuple):
    """One column of one table: a feature, or why it is none, which may hold of an id or a free text only."""

    feature: Feature | None
    reason: str = ""
    is_like_an_id: bool = False


def read_guessed(a: Tabular, b: Tabular, progress: Progress) -> Guessed:
    """Read two tables, of which each column has the kind that fits the values of both.

    Raises
    ------
    DataError
        A table cannot be read.
    InputError
        A table has no rows, or may be read in two ways.
    """
    seen = _seen(a, "A", progress), _seen(b, "B", progress)
    notes = [
        f"{name} is in {one.name} only"
        for one, other in (seen, reversed(seen))
        for name in one.facts
        if name not in other.facts and name.strip()
    ]
    features: tuple[list[Feature], list[Feature]] = ([], [])
    for name in seen[0].facts:
        if name in seen[1].facts:
            left, right = (_guess(one.facts[name], one.signs) for one in seen)
            pair = _fitting(name, left, right, seen)
            if isinstance(pair, str):
                notes.append(pair)
                continue
            for kept, feature in zip(features, pair, strict=True):
                kept.append(feature)
    if not features[0]:
        raise InputError(f"there is no column to compare ({'; '.join(notes) or 'the tables have none'})")
    schemas = [Schema(tuple(kept), NO_TARGET, "regression") for kept in features]
    a_rows, b_rows = (_read(one, schema) for one, schema in zip(seen, schemas, strict=True))
    return Guessed(schemas[0], a_rows, b_rows, tuple(notes))


def _seen(table: Tabular, name: str, progress: Progress) -> _Seen:
    if isinstance(table, pd.DataFrame):
        files, facts, n_rows = PLAIN, _facts_of(Table.of(table, name).columns), len(table)
    else:
        layout = layout_of(table, ())
        _refuse_choices(table, layout.choices)
        whole = scan(table, layout.files, progress)
        files, facts, n_rows = layout.files, whole.facts, whole.n_rows
    if not n_rows:
        raise InputError(f"{_where(table, name)} has no rows")
    chosen = choose_signs(list(facts.values()), layout_keys(files))
    _refuse_choices(table, chosen.choices)
    return _Seen(table, name, facts, replace(files, decimal=chosen.signs.decimal, thousands=chosen.signs.thousands), chosen.signs)


def _where(table: Tabular, name: str) -> str:
    return str(table) if isinstance(table, Path) else name


def _refuse_choices(table: Tabular, choices: Sequence[str]) -> None:
    if choices:
        raise InputError(
            f"more than one reading fits all cells of {table}: compare it with a model file that says which (spec), such as {choices[0]}"
        )


def _facts_of(columns: Mapping[str, pa.ChunkedArray | pd.Series]) -> dict[str, Facts]:
    """Return what is in a table in memory: of many rows some, and of texts every one that is different."""
    facts = {name: Facts(name) for name in columns}
    for name, column in columns.items():
        for chunk in _looked_at(_arrow(column).drop_null()).chunks:
            add_cells(facts[name], chunk)
    return facts


def _arrow(column: pa.ChunkedArray | pd.Series) -> pa.ChunkedArray:
    """Return a column as Arrow has it, without dictionaries; what it has no kind for becomes text."""
    if isinstance(column, pa.ChunkedArray):
        return column
    try:
        cells = pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        cells = pa.array(column.astype(object).map(str, na_action="ignore"), pa.string(), from_pandas=True)
    return cells if isinstance(cells, pa.ChunkedArray) else pa.chunked_array([cells])


def _looked_at(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return so many known cells, evenly spread, that the kind is told by; of texts each different one."""
    is_coded = pa.types.is_dictionary(cells.type)
    spread = cells.take(pa.array(range(0, len(cells), max(1, len(cells) // LOOKED_AT)), pa.int64()))
    spread = spread.cast(cells.type.value_type) if is_coded else spread
    kind = spread.type
    if len(spread) == len(cells) or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return spread
    different = pc.unique(cells.cast(kind) if is_coded else cells)
    unseen = different.filter(pc.invert(pc.is_in(different, value_set=pc.unique(spread))))
    return pa.chunked_array([*spread.chunks, unseen])


def _guess(facts: Facts, signs: Signs) -> _Guess:
    wanted = propose_feature(facts, signs, is_wanted=True)
    if wanted.keys is None:
        return _Guess(None, "" if facts.other is None and facts.n_known == 0 else wanted.remarks[0])
    written = yaml.safe_load(flow({key: value for key, value in wanted.keys.items() if key in ("kind", "format", "missing")}))
    if written.get("format") == "choose":
        return _Guess(None, f"its times may be read in two ways ({'; '.join(wanted.choices)})")
    missing = {*map(str, written.get("missing", ())), *([INFINITE] if written["kind"] in ("numeric", "integer") else [])}
    feature = Feature(facts.name, written["kind"], nullable=True, format=written.get("format"), missing=tuple(sorted(missing)))
    judged = propose_feature(facts, signs)
    if judged.keys is None and not _has_one_value(facts, signs):
        return _Guess(feature, judged.remarks[0], is_like_an_id=True)
    return _Guess(feature)


def _has_one_value(facts: Facts, signs: Signs) -> bool:
    span = number_span(facts, signs)
    return facts.is_constant or (span is not None and span.low == span.high)


def _fitting(name: str, a: _Guess, b: _Guess, seen: tuple[_Seen, _Seen]) -> tuple[Feature, Feature] | str:
    """Return how a column is read in each table, or the sentence why it is not compared."""
    if reasons := [
        f"{guess.reason} in {one.name}" for guess, one in zip((a, b), seen, strict=True) if guess.feature is None and guess.reason
    ]:
        return f"{name} is not compared: {' and '.join(reasons)}"
    if a.is_like_an_id and b.is_like_an_id:
        return f"{name} is not compared: {a.reason}"
    left, right = a.feature or b.feature, b.feature or a.feature
    if left is None or right is None:
        return f"{name} is not compared: it holds nothing"
    kind = _one_kind(left, right, seen, name)
    if kind is None:
        return f"{name} is not compared: it holds {_KINDS[left.kind]} in A and {_KINDS[right.kind]} in B"
    return _as_kind(left, kind), _as_kind(right, kind)


def _as_kind(feature: Feature, kind: str) -> Feature:
    if kind == feature.kind or (kind == "numeric" and feature.kind == "integer"):
        return replace(feature, kind=kind)  # type: ignore[arg-type]
    return Feature(feature.name, kind, nullable=True)  # type: ignore[arg-type]


def _one_kind(left: Feature, right: Feature, seen: tuple[_Seen, _Seen], name: str) -> str | None:
    kinds = {left.kind, right.kind}
    if kinds <= {"integer", "numeric"}:
        return "numeric"
    if len(kinds) == 1:
        return left.kind
    if kinds == {"boolean", "categorical"}:
        return "boolean" if all(_are_booleans(one.facts[name]) for one in seen) else "categorical"
    if kinds == {"boolean", "integer"} and all(_is_zero_or_one(one, name) for one in seen):
        return "boolean"
    return None


def _are_booleans(facts: Facts) -> bool:
    """Return whether every value says true or false, in whatever words."""
    if facts.is_boolean:
        return True
    try:
        return not facts.levels.is_full and all(read_boolean(text) is not None for text in facts.levels.counts)
    except ValueError:
        return False


def _is_zero_or_one(seen: _Seen, name: str) -> bool:
    facts = seen.facts[name]
    span = number_span(facts, seen.signs)
    return facts.is_boolean or (span is not None and span.low >= 0 and span.high <= 1)


def _read(seen: _Seen, schema: Schema) -> Rows:
    if isinstance(seen.table, pd.DataFrame):
        return rows_from_columns(seen.table, schema, source=seen.name)
    return read_table(seen.table, schema, seen.files)
