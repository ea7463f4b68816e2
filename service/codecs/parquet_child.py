"""The process that reads Parquet: each file in a child of its own, forked for it, which may die of it.

A script: it imports nothing of ours, so that it starts quickly, and talks through the socket that is its standard input
(`service.codecs.parquet_process` is the other side). What the bytes of a file do to the child that reads them, an end by a signal
as well, is an answer. It is gone when its parent is: it waits for nothing else than the parent's next request or its end.
"""

from __future__ import annotations

import gc
import io
import json
import os
import resource
import select
import signal
import socket
import struct
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FRAME = struct.Struct("<QQ")
"""The bytes of the JSON and of the body that follow: a request, or its answer."""
_LEAST_MEMORY = 256 << 20
_PARENT_GONE = object()
_PAGE = resource.getpagesize()


def serve(parent: socket.socket) -> None:
    """Answer one request after the other until the parent is gone."""
    while (frame := _received(parent, FRAME.size)) is not None:
        n_json, n_body = FRAME.unpack(frame)
        asked, body = _received(parent, n_json), _received(parent, n_body)
        if asked is None or body is None:
            return
        with _memory_file("words") as words, _memory_file("table") as table:
            failure = _read_in_child(parent, json.loads(asked), body, (words, table))
            if failure is _PARENT_GONE:
                return
            if failure is not None:
                table.truncate(0)
                words.truncate(0)
                words.seek(0)
                words.write(json.dumps(failure).encode())
            _send(parent, words.fileno(), table.fileno())


def _memory_file(name: str) -> io.FileIO:
    return open(os.memfd_create(name), "w+b", buffering=0)


def _received(sender: socket.socket, n_bytes: int) -> bytearray | None:
    """Return so many bytes; None when the sender is gone."""
    received = bytearray(n_bytes)
    rest = memoryview(received)
    while rest:
        n = sender.recv_into(rest)
        if n == 0:
            return None
        rest = rest[n:]
    return received


def _send(parent: socket.socket, *files: int) -> None:
    sizes = [os.fstat(file).st_size for file in files]
    parent.sendall(FRAME.pack(*sizes))
    for file, size in zip(files, sizes, strict=True):
        sent = 0
        while sent < size:
            sent += os.sendfile(parent.fileno(), file, sent, size - sent)


def _read_in_child(parent: socket.socket, asked: dict[str, Any], body: bytearray, files: tuple[io.FileIO, io.FileIO]) -> Any:
    """Fork, wait for what comes of it, and return how it failed; None when the child has written an answer."""
    child = os.fork()
    if child == 0:
        _read_and_leave(asked, body, *files)
    handle = os.pidfd_open(child)
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        waiting.register(parent, select.POLLRDHUP)
        is_awaited = any(descriptor == handle for descriptor, _ in waiting.poll())
    finally:
        os.close(handle)
    if not is_awaited:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not is_awaited:
        return _PARENT_GONE
    if code == 0:
        return None
    if code == -signal.SIGALRM:
        return {"code": "late"}
    return {"code": "died", "text": signal.Signals(-code).name if code < 0 else f"exit code {code}"}


def _read_and_leave(asked: dict[str, Any], body: bytearray, words: io.FileIO, table: io.FileIO) -> None:
    """Read the file within bounds of time and memory; in the child, which ends with it."""
    code = 70
    try:
        signal.setitimer(signal.ITIMER_REAL, asked["seconds"])
        _bound_memory(_LEAST_MEMORY + 8 * asked["max_bytes"])
        try:
            answer: dict[str, Any] = {"code": "table", **_copy(asked, body, table)}
        except Refused as refusal:
            answer = {"code": refusal.code, "text": str(refusal)}
        except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError, SystemError) as error:
            answer = {"code": "unreadable", "text": str(error)[:200] or type(error).__name__}
        if answer["code"] != "table":
            table.truncate(0)
        with open(words.fileno(), "wb", closefd=False) as whole:
            whole.write(json.dumps(answer).encode())
        code = 0
    finally:
        os._exit(code)


def _bound_memory(n_bytes: int) -> None:
    with open("/proc/self/statm") as statistics:
        now = int(statistics.read().split()[0]) * _PAGE
    resource.setrlimit(resource.RLIMIT_AS, (now + n_bytes, now + n_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


class Refused(Exception):
    """What stands in the file is too much."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)


def _copy(asked: dict[str, Any], body: bytearray, table: io.FileIO) -> dict[str, Any]:
    """Write the wanted columns as an Arrow stream, and return the number of rows and the types of all others by name."""
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(body)))
    wanted = set(asked["names"])
    leaves = {file.schema.column(place).path: place for place in range(len(file.schema))}
    read = {field.name: field.type for field in file.schema_arrow if field.name in wanted and field.name in leaves}
    read = {name: kind for name, kind in read.items() if not pa.types.is_nested(kind)}
    _refuse_too_much(file.metadata, [leaves[name] for name in read], asked["max_rows"], asked["max_bytes"])
    texts = [name for name, kind in read.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    again = pq.ParquetFile(pa.BufferReader(pa.py_buffer(body)), read_dictionary=texts, pre_buffer=False)
    columns = again.read(columns=list(read), use_threads=False).replace_schema_metadata(None)
    if read:
        with open(table.fileno(), "wb", closefd=False) as sink, pa.ipc.new_stream(sink, columns.schema) as writer:
            writer.write_table(columns)
    unread = {field.name: str(field.type)[:100] for field in file.schema_arrow if field.name not in read}
    return {"n_rows": columns.num_rows if read else file.metadata.num_rows, "unread": unread}


def _refuse_too_much(metadata: pq.FileMetaData, places: list[int], max_rows: int, max_bytes: int) -> None:
    """Believe nothing before the sizes are known: a few bytes of Parquet can stand for any amount of memory."""
    n_rows, n_bytes = 0, 0
    for n in range(metadata.num_row_groups):
        group = metadata.row_group(n)
        n_rows += group.num_rows
        for place in places:
            column = group.column(place)
            if column.num_values != group.num_rows:
                raise Refused("unreadable", "a column has not one value a row")
            n_bytes += column.total_uncompressed_size
    if max(n_rows, metadata.num_rows) > max_rows:
        raise Refused("rows", f"more than {max_rows} rows in one request; that is the limit")
    if n_bytes > max_bytes:
        raise Refused("large", f"the table has {n_bytes} bytes when decompressed; the limit is {max_bytes}")


def main() -> None:
    """Serve the parent behind the standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends, and this with it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pa.set_memory_pool(pa.system_memory_pool())  # which takes what is used, so that it can be bounded
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as parent:
        try:
            serve(parent)
        except ConnectionError:
            return


if __name__ == "__main__":
    main()
