"""Parquet files read in a process that may die of them: here only its answers are looked at, which are Arrow."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from service.errors import BodyTooLargeError, OverloadedError, RequestError, TooManyRowsError, UnreadableBodyError

_FRAME = struct.Struct("<QQ")  # as there
_SCRIPT = Path(__file__).with_name("parquet_child.py")


class ReadFile(NamedTuple):
    """The wanted columns of a file as an Arrow stream (empty when it has none of them), its rows, and the types of all other columns."""

    stream: bytearray
    n_rows: int
    unread: dict[str, str]


class ParquetProcess:
    """Reads Parquet files, one at a time, in a process that is started when the first one comes.

    Parameters
    ----------
    seconds
        The longest that a file may take.
    wait_seconds
        The longest to wait for those that came before.

    Notes
    -----
    The process forks for each file. A file of which its child dies costs a fork; the process itself never looks at the bytes. It ends
    when this one does, whatever the way.
    """

    def __init__(self, seconds: float = 7.5, wait_seconds: float = 7.5) -> None:
        self._seconds = seconds
        self._wait_seconds = wait_seconds
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process, None before it is started."""
        return None if self._process is None else self._process.pid

    def read(self, body: bytes, names: Iterable[str], max_rows: int, max_bytes: int) -> ReadFile:
        """Read the columns of a file that have one of these names and one plain value a row.

        Raises
        ------
        UnreadableBodyError
            It is no Parquet file, or whoever reads it dies of it, or takes too long.
        TooManyRowsError, BodyTooLargeError
            More rows than `max_rows`, or more than `max_bytes` when decompressed.
        OverloadedError
            Too many other files are being read, or the process was ended twice by somebody else.
        """
        asked = {"names": list(names), "max_rows": max_rows, "max_bytes": max_bytes, "seconds": self._seconds}
        if not self._turn.acquire(timeout=self._wait_seconds):
            raise OverloadedError("too many Parquet files are being read here already; try again soon")
        try:
            try:
                answer, stream = self._ask(orjson.dumps(asked), body)
            except ConnectionError:  # somebody ended it; a file never does
                self._end()
                answer, stream = self._ask(orjson.dumps(asked), body)
        except OSError as error:
            self._end()
            raise OverloadedError("the process that reads Parquet files does not answer; try again") from error
        finally:
            self._turn.release()
        if answer["code"] != "table":
            raise self._refusal(answer)
        return ReadFile(stream, answer["n_rows"], answer["unread"])

    def stop(self) -> None:
        """End the process; a later file starts another one."""
        with self._turn:
            self._end()

    def _ask(self, asked: bytes, body: bytes) -> tuple[dict[str, Any], bytearray]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._start()
        connection = self._socket
        assert connection is not None
        patience = self._seconds + self._wait_seconds  # for the process to start, and to hand over what was read
        deadline = time.monotonic() + patience
        connection.settimeout(patience)
        connection.sendall(_FRAME.pack(len(asked), len(body)) + asked)
        connection.sendall(body)
        n_words, n_bytes = _FRAME.unpack(_received(connection, _FRAME.size, deadline))
        words = orjson.loads(_received(connection, n_words, deadline))
        return words, _received(connection, n_bytes, deadline)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_SCRIPT)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._socket = ours

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None

    def _refusal(self, answer: dict[str, Any]) -> RequestError:
        text = answer.get("text", "")
        if answer["code"] == "rows":
            return TooManyRowsError(text)
        if answer["code"] == "large":
            return BodyTooLargeError(text)
        if answer["code"] == "late":
            return UnreadableBodyError(f"the body is no Parquet file that is read here: it takes longer than {self._seconds:g} s")
        if answer["code"] == "died":
            return UnreadableBodyError(f"the body is not a Parquet file: whoever reads it dies of it ({text})")
        return UnreadableBodyError(f"the body is not a Parquet file: {text}")


def _received(sender: socket.socket, n_bytes: int, deadline: float) -> bytearray:
    received = bytearray(n_bytes)
    rest = memoryview(received)
    while rest:
        sender.settimeout(max(0.001, deadline - time.monotonic()))
        n = sender.recv_into(rest)
        if n == 0:
            raise ConnectionResetError("the process that reads Parquet files is gone")
        rest = rest[n:]
    return received
