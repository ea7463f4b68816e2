"""Tables in Arrow and Parquet: read within bounds, and answers written as an Arrow stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from service.codecs.parquet_process import ReadFile
from service.codecs.tables import NO_ROWS, SentTable, typed_text, unique
from service.columns.arrow_buffers import coded_array, float_array, id_array, listed_in, numbers_in, text_array
from service.columns.dictionary import arrow_texts
from service.columns.explaining import MAX_LISTED
from service.columns.feature_columns import as_booleans
from service.columns.values import OWN_ID, Unread, Values
from service.errors import TooManyRowsError, UnreadableBodyError
from training.clock import from_us
from training.schema.prediction import Prediction
from training.schema.rows import Coded, object_column
from training.schema.schema import Schema, normalise_label
from training.schema.spellings import MOST_WHOLE, number_of
from training.schema.times import TimeFormat

_NO_ARROW = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, SystemError)
"""What pyarrow raises on damaged bytes: a KeyError for types that it does not know."""
_MOST_VIEWED = 1 << 26  # many views may be of the same bytes


def from_arrow(body: bytes | bytearray, schema: Schema, max_rows: int) -> SentTable:
    """Read an Arrow IPC stream without compressed buffers (compress the whole body instead).

    Raises
    ------
    UnreadableBodyError
        It is not that, or has no rows.
    TooManyRowsError
        More rows than `max_rows`.
    """
    try:
        _refuse_compressed(body)
        with pa.ipc.open_stream(pa.py_buffer(body)) as stream:
            batches, n_rows, seen = [], 0, set[Any]()
            for batch in stream:
                n_rows += batch.num_rows
                _check_count(n_rows, max_rows)
                for column in batch.columns:
                    _validate(column, seen)
                batches.append(batch)
            return _sent(pa.Table.from_batches(batches, stream.schema), schema)
    except _NO_ARROW as error:
        raise UnreadableBodyError(f"the body is not an Arrow stream: {str(error)[:200]}") from None


def columns_known_to(schema: Schema) -> tuple[str, ...]:
    """Return the names of columns that are read; of all others nothing is, or the first values only."""
    return (OWN_ID, *schema.request_names)


def from_parquet(file: ReadFile, schema: Schema, max_rows: int) -> SentTable:
    """Take what the process that reads Parquet has read of a file; errors as `from_arrow`."""
    known = columns_known_to(schema)
    if not file.n_rows:
        raise UnreadableBodyError(NO_ROWS)
    columns = from_arrow(file.stream, schema, max_rows).columns if file.stream else {}
    n_shown = min(file.n_rows, MAX_LISTED)
    unread: dict[str, Values] = {
        name: [Unread(kind)] * (file.n_rows if name in known else n_shown) for name, kind in file.unread.items() if not _is_index(name)
    }
    return SentTable({**unread, **columns}, file.n_rows)


def to_arrow(prediction: Prediction, prefix: str, own_ids: Sequence[str | None] | None, facts: Mapping[str, str]) -> bytes:
    """Write an answer: ``id``, ``own_id`` if there are any, ``label`` and ``probability.<class>``, or ``value``.

    Parameters
    ----------
    prefix
        Row i has the id ``<prefix>-<i>``.
    facts
        What goes into the metadata of the stream's schema: model, version, request id.
    """
    columns: dict[str, pa.Array] = {"id": id_array(prefix, len(prediction))}
    if own_ids is not None:
        columns["own_id"] = text_array(own_ids)
    if prediction.probability is None:
        columns["value"] = float_array(prediction.label)
    else:
        classes, codes = prediction.classes or (), prediction.codes
        columns["label"] = text_array(prediction.label.tolist()) if codes is None else coded_array(Coded(codes.astype(np.int32), classes))
        for place, name in enumerate(classes):
            columns[f"probability.{name}"] = float_array(prediction.probability[:, place])
    table = pa.table(columns).replace_schema_metadata(dict(facts))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _sent(table: pa.Table, schema: Schema) -> SentTable:
    if table.num_rows == 0:
        raise UnreadableBodyError(NO_ROWS)
    names = [name for name in unique(list(table.column_names)) if not _is_index(name)]
    known = frozenset(columns_known_to(schema))
    unknown = [name for name in names if name not in known]
    columns: dict[str, Values] = {name: [] for name in unknown}
    for name in unknown[:MAX_LISTED] if schema.extra == "error" else ():  # no more are ever shown
        columns[name] = _values(table.column(name).slice(0, MAX_LISTED), name, schema)
    columns |= {name: _values(table.column(name), name, schema) for name in names if name in known}
    return SentTable(columns, table.num_rows)


def _is_index(name: str) -> bool:
    return name.startswith("__index_level_")


def _values(column: pa.ChunkedArray, name: str, schema: Schema) -> Values:
    """Return a column as it is judged: numbers are the names of categories, 0 and 1 booleans, and texts cells of a table."""
    values = _typed(column, name, schema)
    kind = schema.feature(name).kind if name in schema.by_name else None
    if kind == "categorical":
        return values if isinstance(values, Coded) else _named(values)
    if kind == "boolean" and not isinstance(values, Coded):
        return as_booleans(values)
    if isinstance(values, Coded) and name in schema.request_names:
        known = typed_text(values.values, name, schema)
        return [known[code] for code in values.codes.tolist()]
    return values


def _named(values: list[Any] | npt.NDArray[Any]) -> list[Any]:
    """Name numbers and booleans as categories, each different one once."""
    if isinstance(values, np.ndarray):
        distinct, places = np.unique(values, return_inverse=True)
        names = object_column([None if value != value else normalise_label(value) for value in distinct.tolist()])
        return list(names[places.reshape(-1)].tolist())
    return [normalise_label(value) if type(value) in (bool, int, float) and value == value else _no_nan(value) for value in values]


def _no_nan(value: Any) -> Any:
    return None if type(value) is float else value


def _typed(column: pa.ChunkedArray, name: str, schema: Schema) -> Values:
    """Return a column by its type; never more values than rows, whatever the type."""
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    kind = column.type
    feature = schema.by_name.get(name)
    is_category = feature is not None and feature.kind == "categorical"
    if pa.types.is_null(kind):
        return [None] * len(column)
    texts = arrow_texts(column)
    if texts is not None:
        return texts if is_category or texts.values != (None,) else [None] * len(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _times(column, name, schema)
    if pa.types.is_dictionary(kind):
        return [value for chunk in column.chunks for value in _decoded(chunk, is_category=is_category)]
    if pa.types.is_decimal(kind) and is_category:
        return _names_of(column)
    if pa.types.is_decimal(kind):
        column = _floats_of(decimals := column)
        if bool((np.abs(numbers_in(column.combine_chunks())) >= MOST_WHOLE).any()):
            return _numbers_of(decimals)
    if not _is_number(column.type):
        return _unread(column)
    whole = column.combine_chunks()
    is_nullable = feature is not None and feature.nullable and feature.kind != "boolean"
    return numbers_in(whole) if not whole.null_count or (is_nullable and pa.types.is_floating(whole.type)) else listed_in(whole)


def _floats_of(decimals: Any) -> Any:
    """Return the floats nearest to decimals, as Python and training read them; Arrow's own cast is off by a bit at times."""
    return decimals.cast(pa.string()).cast(pa.float64())


def _numbers_of(decimals: Any) -> list[Any]:
    """Return decimals as numbers, of which whole ones keep every digit."""
    return [None if value is None else number_of(value) for value in decimals.to_pylist()]


def _names_of(decimals: Any) -> list[Any]:
    """Return decimals as the categories they name."""
    return [None if value is None else normalise_label(value) for value in _numbers_of(decimals)]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _unread(column: pa.ChunkedArray) -> list[Any]:
    """Stand for values of a type that no column takes: a list of a few bytes may have any number of elements."""
    unread = Unread(str(column.type))
    return [unread if is_there else None for is_there in listed_in(column.is_valid().combine_chunks())]


def _times(column: pa.ChunkedArray, name: str, schema: Schema) -> Values:
    """Return seconds since 1970 where a time is wanted, else dates (which no other column takes)."""
    stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
    feature, time = schema.by_name.get(name), schema.event_time
    times = feature.times if feature is not None and feature.kind == "datetime" else None
    if times is None and time is not None and name == time.column and time.kind == "timestamp":
        times = time.times
    microseconds = stamps.cast(pa.int64()).combine_chunks()
    if times is not None:
        has_days = times.are_days(microseconds.drop_null().to_numpy() / 1e6).any()  # which as numbers would be read as other times
        if times.written is not None or times.zone is not None or has_days:
            is_local = getattr(column.type, "tz", None) is None
            return [None if value is None else _written(value, times, is_local=is_local) for value in listed_in(microseconds)]
        if microseconds.null_count == 0:
            return numbers_in(microseconds) / 1e6
        return [None if value is None else value / 1e6 for value in listed_in(microseconds)]
    dates = np.array(listed_in(microseconds), dtype="M8[us]")  # None becomes "not a time"
    return [None if np.isnat(value) else value for value in dates]


def _written(microseconds: int, times: TimeFormat, *, is_local: bool) -> Any:
    """Write a typed time as JSON would have it; infinity, which is no time, for what the calendar cannot hold."""
    try:
        moment = from_us(microseconds)
        return times.write(times.moment_us(moment.replace(tzinfo=None) if is_local else moment))
    except (ValueError, OverflowError):
        return float("inf")


def _decoded(chunk: pa.DictionaryArray, *, is_category: bool) -> list[Any]:
    """Return the values of a dictionary of numbers, of which only those that rows have are looked at."""
    places = chunk.indices.dictionary_encode("encode")
    used = chunk.dictionary.take(places.dictionary)
    is_decimal = pa.types.is_decimal(used.type)
    if is_decimal:
        known = _names_of(used) if is_category else _numbers_of(used)
    else:
        known = listed_in(used) if _is_number(used.type) else _unread(pa.chunked_array([used]))
    return [known[place] for place in numbers_in(places.indices).tolist()]


def _validate(column: pa.Array, seen: set[Any]) -> None:
    """Check a column of one batch as deep as it will be read; a dictionary that many batches share only once.

    Of nested types no value is read, so that their children need no look.
    """
    column.validate()
    kind = column.type
    if pa.types.is_dictionary(kind):
        dictionary = column.dictionary
        key = (len(dictionary), *((buffer.address, buffer.size) if buffer else None for buffer in dictionary.buffers()))
        if key not in seen:
            seen.add(key)
            dictionary.validate(full=not pa.types.is_nested(dictionary.type))
        column.indices.validate(full=True)
        places = numbers_in(column.indices)
        places = places[places == places]  # without nulls
        if len(places) and not 0 <= places.min() <= places.max() < len(dictionary):
            raise ValueError("an index is outside of its dictionary")
        return
    if pa.types.is_string_view(kind):
        n_letters = np.frombuffer(column.buffers()[1], dtype=np.int32)[4 * column.offset :: 4][: len(column)]
        if int(np.maximum(n_letters, 0).sum(dtype=np.int64)) > _MOST_VIEWED:
            raise ValueError(f"the views of a column have more than {_MOST_VIEWED} bytes of text")
    column.validate(full=not pa.types.is_nested(kind))


def _check_count(n_rows: int, max_rows: int) -> None:
    if n_rows > max_rows:
        raise TooManyRowsError(f"more than {max_rows} rows in one request; that is the limit")


def _refuse_compressed(body: bytes | bytearray) -> None:
    """Look into the messages' flatbuffers: a few compressed bytes, or additions to a dictionary, could ask for any amount of work."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    for message in reader:
        if message.type in ("record batch", "dictionary"):
            meta = bytes(message.metadata)
            root = _u32(meta, 0)
            batch = _field(meta, root, 8)
            if message.type == "dictionary":
                if _slot(meta, batch, 8) and meta[batch + _slot(meta, batch, 8)]:
                    raise UnreadableBodyError("the Arrow stream has deltas of dictionaries; send each dictionary whole")
                batch = _field(meta, batch, 6)
            if _slot(meta, batch, 10):
                raise UnreadableBodyError("the Arrow stream has compressed buffers; send it plain, or with Content-Encoding: gzip")


def _field(meta: bytes, table: int, slot: int) -> int:
    place = table + _slot(meta, table, slot)
    return place + _u32(meta, place)


def _slot(meta: bytes, table: int, slot: int) -> int:
    vtable = table - int.from_bytes(meta[table : table + 4], "little", signed=True)
    if slot >= int.from_bytes(meta[vtable : vtable + 2], "little"):
        return 0
    return int.from_bytes(meta[vtable + slot : vtable + slot + 2], "little")


def _u32(meta: bytes, place: int) -> int:
    if not 0 <= place <= len(meta) - 4:
        raise ValueError("a message has a wrong shape")
    return int.from_bytes(meta[place : place + 4], "little")
