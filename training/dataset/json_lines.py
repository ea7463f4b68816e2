"""JSON, an object a line or an array of objects, as typed columns: numbers keep their digits, what is no row is refused by its number.

A column with lists or objects in it may stand in a file as long as nobody wants it; its values are kept as their JSON (`NESTED`).

A column of whole numbers, numbers, booleans or texts has that type; one of which values differ in kind, or that has numbers no such type
can hold, is text, in which each number stands as it was written. What is null or absent is missing.
"""

from __future__ import annotations

import codecs
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntFlag
from typing import TypeAlias

import msgspec
import pyarrow as pa

from training.dataset.locations import Location
from training.dataset.refusals import Refusals, refused
from training.dataset.unpacking import open_unpacked
from training.errors import DataError, DataProblem
from training.schema.spellings import MOST_WHOLE, FileFormat

SUFFIXES = frozenset([".jsonl", ".ndjson"])
_MOST_LINE_BYTES = 64 << 20
_PART_ROWS = 1 << 14
_PART_BYTES = 4 << 20
_INT64 = 2**63
_NAME_ENDS = re.compile(rb'"[ \t\r\n]*:')
_LONG = re.compile(rb"[0-9]{16}|[eE]")
_EXPONENT = re.compile(rb"[eE]|[0-9]{300}")
_NULL = b"null"
_TEXT_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b')
_AS_JSON = {"NaN": "null", "Infinity": '"inf"', "-Infinity": '"inf"'}
NESTED = pa.struct([("json", pa.string())])
"""The type of a column in which some values are lists or objects: of each its JSON."""
_ROW, _WHAT = b"row", b"what"
_Row: TypeAlias = dict[str, msgspec.Raw]
_one_row = msgspec.json.Decoder(_Row)
_one_text = msgspec.json.Decoder(str)
_all_rows = msgspec.json.Decoder(list[msgspec.Raw])


class _Kinds(IntFlag):
    """What values of one column were."""

    NONE = 0
    TEXT = 1
    BOOLEAN = 2
    WHOLE = 4
    NUMBER = 8
    TOO_LARGE = 16
    """A whole number that a float does not keep."""
    ENORMOUS = 32
    """A number that no type keeps."""
    NESTED = 64


_NESTED = {b"{": _Kinds.NESTED, b"[": _Kinds.NESTED}
_STARTS = {b"n": _Kinds.NONE, b'"': _Kinds.TEXT, b"t": _Kinds.BOOLEAN, b"f": _Kinds.BOOLEAN, **_NESTED}
_TYPES = ((pa.bool_(), _Kinds.BOOLEAN), (pa.int64(), _Kinds.WHOLE | _Kinds.TOO_LARGE), (pa.float64(), _Kinds.WHOLE | _Kinds.NUMBER))


def begins_as_json(path: Location, begin: bytes, files: FileFormat) -> bool:
    """Return whether a file is JSON, by its name or by how it begins."""
    if not SUFFIXES.isdisjoint(path.suffixes):
        return True
    try:
        text = codecs.getincrementaldecoder(_encoding(files))("ignore").decode(begin)
    except UnicodeError:  # without the mark that the encoding wants
        return False
    return text.lstrip()[:1] in ("{", "[")


def json_schema(path: Location, files: FileFormat) -> pa.Schema:
    """Return names and types of the columns, in the order in which the rows first name them.

    Raises
    ------
    DataError
        A row is no object, or names something twice.
    """
    kinds: dict[str, _Kinds] = {}
    nested: dict[str, Mapping[bytes, bytes]] = {}
    for first, rows in _parts(path, files, is_new=True):
        for name in dict.fromkeys(name for row in rows for name in row):
            written = [_NULL if (raw := row.get(name)) is None else bytes(raw) for row in rows]
            seen = _kinds_in(written)
            kinds[name] = kinds.get(name, _Kinds.NONE) | seen
            if seen & _Kinds.NESTED and name not in nested:
                nested[name] = _first_nested(first, written)
    if not kinds:
        raise refused(path, "JSON without a row that has a value")
    return pa.schema([pa.field(name, _type_of(seen), metadata=nested.get(name)) for name, seen in kinds.items()])


def refuse_nested(path: Location, schema: pa.Schema, wanted: Collection[str] | None) -> None:
    """Raise DataError where a wanted column (None: any) has lists or objects, by the first row that has one."""
    for field in schema:
        if field.type == NESTED and field.metadata and (wanted is None or field.name in wanted):
            got = field.metadata[_WHAT].decode()
            raise _bad(path, int(field.metadata[_ROW]), field.name, got, "a single value; leave it out, or write its parts as columns")


def json_batches(path: Location, files: FileFormat, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the columns of `schema`, which `json_schema` told, in parts of bounded size."""
    for _, rows in _parts(path, files, is_new=False):
        columns = [_column(field, [row.get(field.name) for row in rows]) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _encoding(files: FileFormat) -> str:
    return "utf-8-sig" if codecs.lookup(files.encoding).name == "utf-8" else files.encoding


def _parts(path: Location, files: FileFormat, *, is_new: bool) -> Iterator[tuple[int, list[_Row]]]:
    """Yield rows, some at a time, after the number of the first of them; what was looked at before is not checked again."""
    rows: list[_Row] = []
    first = n_bytes = 0
    for text in _texts(path, files):
        row = _row(path, first + len(rows), text)
        if is_new and len(_NAME_ENDS.findall(text)) != len(row):
            _refuse_twice(path, first + len(rows), text)
        rows.append(row)
        n_bytes += len(text)
        if len(rows) == _PART_ROWS or n_bytes > _PART_BYTES:
            yield first, rows
            first, n_bytes, rows = first + len(rows), 0, []
    if rows:
        yield first, rows


def _texts(path: Location, files: FileFormat) -> Iterator[bytes]:
    """Yield the JSON of each row: a line, or a part of the array that the file is."""
    with Refusals(path), open_unpacked(path) as content, io.TextIOWrapper(content, encoding=_encoding(files), newline="\n") as text:
        number = 0
        while line := text.readline(_MOST_LINE_BYTES):
            if number == 0 and line.lstrip()[:1] == "[":
                yield from map(bytes, _elements(path, line + text.read()))
                return
            if len(line) == _MOST_LINE_BYTES:
                raise refused(path, f"JSON with a line of more than {_MOST_LINE_BYTES:,} letters (row {number})", "one object a line")
            if line.strip():
                number += 1
                yield _without_constants(line.strip()).encode()


def _without_constants(text: str) -> str:
    """Write as JSON the numbers NaN and Infinity, which Python writes though they are none, and the service takes.

    As there, one that is not finite is missing where `missing:` has the word ``inf``, whatever its sign, and else is no value.
    """
    if "NaN" in text or "Infinity" in text:
        return _TEXT_OR_CONSTANT.sub(lambda word: _AS_JSON.get(word[0], word[0]), text)
    return text


def _elements(path: Location, text: str) -> list[msgspec.Raw]:
    try:
        return _all_rows.decode(_without_constants(text))
    except (msgspec.DecodeError, RecursionError) as error:
        raise refused(path, "an array of JSON that is cut off or damaged", "an array of objects, or one object a line") from error


def _row(path: Location, number: int, text: bytes) -> _Row:
    try:
        return _one_row.decode(text)
    except msgspec.ValidationError as error:
        raise _bad(path, number, "", "JSON that is no object", "an object, one a line") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _bad(path, number, "", "no JSON, or a part of an object", "an object, one a line") from error


def _bad(path: Location, number: int, column: str, got: str, wanted: str) -> DataError:
    return DataError([DataProblem(number, column, got, wanted)], str(path))


def _refuse_twice(path: Location, number: int, text: bytes) -> None:
    names = [name for name, _ in json.loads(text, object_pairs_hook=lambda pairs: pairs, parse_int=str)]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise _bad(path, number, twice[0], "the name twice in one object", "each name once")


def _first_nested(first: int, written: Sequence[bytes]) -> Mapping[bytes, bytes]:
    place = next(place for place, value in enumerate(written) if value[:1] in _NESTED)
    return {_ROW: str(first + place).encode(), _WHAT: b"an object" if written[place].startswith(b"{") else b"a list"}


def _kinds_in(written: Sequence[bytes]) -> _Kinds:
    starts = {value[:1] for value in written}
    seen = _Kinds.NONE
    for start in starts & _STARTS.keys():
        seen |= _STARTS[start]
    if starts - _STARTS.keys():
        seen |= _numbers_in({value for value in written if value[:1] not in _STARTS})
    return seen


def _numbers_in(values: set[bytes]) -> _Kinds:
    joined = b" ".join(values)
    if not _LONG.search(joined):
        return _Kinds.NUMBER if b"." in joined else _Kinds.WHOLE
    seen = _Kinds.NONE
    for kind in set(map(_number_kind, values)):
        seen |= kind
    return seen


def _number_kind(value: bytes) -> _Kinds:
    if not value.isdigit() and not value[1:].isdigit():
        return _Kinds.ENORMOUS if _EXPONENT.search(value) and not math.isfinite(float(value)) else _Kinds.NUMBER
    if len(value) < 16:
        return _Kinds.WHOLE
    if len(value) > 20 or not -_INT64 <= int(value) < _INT64:
        return _Kinds.ENORMOUS
    return _Kinds.WHOLE if abs(int(value)) <= MOST_WHOLE else _Kinds.WHOLE | _Kinds.TOO_LARGE


def _type_of(seen: _Kinds) -> pa.DataType:
    if seen & _Kinds.NESTED:
        return NESTED
    return next((kind for kind, holds in _TYPES if seen and seen | holds == holds), pa.string())


def _column(field: pa.Field, values: list[msgspec.Raw | None]) -> pa.Array:
    raw = [None if value is None or (written := bytes(value)) == _NULL else written for value in values]
    if field.type == NESTED:
        texts = pa.array([None if value is None else value.decode() for value in raw], pa.string())
        return nested_of(texts)
    if pa.types.is_boolean(field.type):
        return pa.array([None if value is None else value == b"true" for value in raw], field.type)
    if pa.types.is_string(field.type):
        return pa.array([None if value is None else _text(value) for value in raw], field.type)
    return pa.array(raw, pa.binary()).cast(pa.string()).cast(field.type)


def nested_of(texts: pa.Array) -> pa.Array:
    """Return values as ones of a column with lists or objects."""
    return pa.StructArray.from_arrays([texts], fields=list(NESTED), mask=texts.is_null())


def _text(value: bytes) -> str:
    return _one_text.decode(value) if value[:1] == b'"' else value.decode()
