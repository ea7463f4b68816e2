"""Tables in Arrow and Parquet: read within bounds, and answers written as an Arrow stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.arrow_arrays import coded_array, float_array, id_array, numbers_in, text_array
from service.coding import arrow_texts
from service.errors import BodyTooLargeError, TooManyRowsError, UnreadableBodyError
from service.feature_columns import Values
from service.tables import SentTable, unique
from training.prediction import Prediction
from training.rows import Coded
from training.schema import Schema


def from_arrow(body: bytes, schema: Schema, max_rows: int) -> SentTable:
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
            batches, n_rows = [], 0
            for batch in stream:
                n_rows += batch.num_rows
                _check_count(n_rows, max_rows)
                batch.validate(full=True)
                batches.append(batch)
            return _sent(pa.Table.from_batches(batches, stream.schema), schema)
    except (pa.ArrowException, OSError, ValueError, IndexError, OverflowError) as error:
        raise UnreadableBodyError(f"the body is not an Arrow stream: {str(error)[:200]}") from None


def from_parquet(body: bytes, schema: Schema, max_rows: int, max_bytes: int) -> SentTable:
    """Read a Parquet file.

    Raises
    ------
    UnreadableBodyError
        It is not that, or has no rows.
    TooManyRowsError, BodyTooLargeError
        More rows than `max_rows`, or more than `max_bytes` when decompressed.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        _check_parquet(file.metadata, max_rows, max_bytes)
        texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
        table = pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts).read(use_threads=False)
        table.validate(full=True)
        return _sent(table, schema)
    except (pa.ArrowException, OSError, ValueError, IndexError, OverflowError) as error:
        raise UnreadableBodyError(f"the body is not a Parquet file: {str(error)[:200]}") from None


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
        raise UnreadableBodyError("there are no rows in this request")
    names = [name for name in unique(list(table.column_names)) if not name.startswith("__index_level_")]
    return SentTable({name: _values(table.column(name), name, schema) for name in names}, table.num_rows)


def _values(column: pa.ChunkedArray, name: str, schema: Schema) -> Values:
    kind = column.type
    nulls = column.null_count
    feature = schema.by_name.get(name)
    if feature is not None and feature.kind == "categorical":
        texts = arrow_texts(column)
        if texts is not None:
            return texts
    if pa.types.is_dictionary(kind):
        return [value for chunk in column.chunks for value in _decoded(chunk)]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _times(column, name, schema)
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    is_nullable = feature is not None and feature.nullable and feature.kind != "boolean"
    if pa.types.is_floating(column.type) and (nulls == 0 or is_nullable):
        return numbers_in(column.combine_chunks())
    if nulls == 0 and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return numbers_in(column.combine_chunks())
    return list(column.to_pylist())


def _times(column: pa.ChunkedArray, name: str, schema: Schema) -> Values:
    """Give seconds since 1970 where a time is wanted, else dates (which no other column takes)."""
    stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
    wants_time = name in schema.by_name and schema.feature(name).kind == "datetime"
    time = schema.event_time
    is_event = time is not None and name == time.column and time.kind == "timestamp"
    if not wants_time and not is_event:
        return [None if np.isnat(value) else value for value in stamps.cast(pa.timestamp("us")).to_numpy()]
    numbers = stamps.cast(pa.int64())
    if numbers.null_count == 0:
        return np.asarray(numbers.to_numpy()) / 1e6
    return [None if value is None else value / 1e6 for value in numbers.to_pylist()]


def _decoded(chunk: pa.DictionaryArray) -> list[Any]:
    """Give the values without a copy of a text for each row that has it; decimals as floats, as in a plain column."""
    dictionary = chunk.dictionary
    known = (dictionary.cast(pa.float64()) if pa.types.is_decimal(dictionary.type) else dictionary).to_pylist()
    return [None if place is None else known[place] for place in chunk.indices.to_pylist()]


def _check_parquet(metadata: pq.FileMetaData, max_rows: int, max_bytes: int) -> None:
    """Believe nothing before the sizes are known: a few bytes of Parquet can stand for any amount of memory."""
    _check_count(metadata.num_rows, max_rows)
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    if any(group.column(n).num_values != group.num_rows for group in groups for n in range(group.num_columns)):
        raise UnreadableBodyError("the table has a column of lists")
    size = sum(group.column(n).total_uncompressed_size for group in groups for n in range(group.num_columns))
    if size > max_bytes:
        raise BodyTooLargeError(f"the table has {size} bytes when decompressed; the limit is {max_bytes}")


def _check_count(n_rows: int, max_rows: int) -> None:
    if n_rows > max_rows:
        raise TooManyRowsError(f"more than {max_rows} rows in one request; that is the limit")


def _refuse_compressed(body: bytes) -> None:
    """Look into the messages' flatbuffers: a few compressed bytes could ask for any amount of memory."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    for message in reader:
        if message.type in ("record batch", "dictionary"):
            meta = bytes(message.metadata)
            root = _u32(meta, 0)
            batch = _field(meta, root, 8)
            if message.type == "dictionary":
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
