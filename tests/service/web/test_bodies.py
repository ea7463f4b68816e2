"""Compressed bodies: twice the bytes are at most three times the work, however many streams they are."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from service.codecs.json_bodies import refuse_nesting
from service.errors import BodyTooLargeError, UnreadableBodyError
from service.web.bodies import FREE_STREAMS, inflate
from tests.service.counting import calls_of


class Counting:
    """Makes streams of zlib, and counts the bytes that are handed to them and what they hand back."""

    def __init__(self) -> None:
        self.n_bytes = 0

    def __call__(self, window: int) -> Any:
        return _CountedStream(self, zlib.decompressobj(window))


class _CountedStream:
    def __init__(self, counting: Counting, stream: Any) -> None:
        self._counting = counting
        self._stream = stream

    def decompress(self, piece: Any, room: int) -> bytes:
        self._counting.n_bytes += len(piece)
        inflated: bytes = self._stream.decompress(piece, room)
        self._counting.n_bytes += len(inflated) + len(self._stream.unused_data)
        return inflated

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def bytes_for(body: bytes) -> int:
    counting = Counting()
    with suppress(UnreadableBodyError):
        inflate(body, 1 << 30, counting)
    return counting.n_bytes


BODIES: dict[str, Callable[[int], bytes]] = {
    "one stream": lambda n: gzip.compress(bytes(range(256)) * 40 * n, 1),
    "empty streams": lambda n: gzip.compress(b"") * (20 * n),
    "streams of one byte": lambda n: gzip.compress(b"x") * (20 * n),
    "streams of a kibibyte": lambda n: gzip.compress(bytes(range(256)) * 4) * (20 * n),
    "one large stream, then many small ones": lambda n: gzip.compress(bytes(10_000 * n), 0) + gzip.compress(b"") * (20 * n),
    "zlib's own, then nothing of the kind": lambda n: zlib.compress(bytes(1000 * n), 0) + b"x" * (1000 * n),
    "cut off": lambda n: gzip.compress(bytes(range(256)) * 400 * n, 0)[:-5],
}


@pytest.mark.parametrize("kind", BODIES)
def test_twice_the_compressed_bytes_are_at_most_three_times_the_work(kind: str) -> None:
    make = BODIES[kind]

    once, twice = bytes_for(make(100)), bytes_for(make(200))

    assert once > 0
    assert twice <= 3 * once


def test_many_short_streams_are_refused_and_a_thousand_are_not() -> None:
    empty = gzip.compress(b"")

    assert inflate(empty * FREE_STREAMS, 10) == b""
    with pytest.raises(UnreadableBodyError, match="streams of less than 64 bytes"):
        inflate(empty * (FREE_STREAMS + 1), 10)


def test_what_was_compressed_in_parts_comes_out_whole() -> None:
    parts = [bytes([n % 256]) * (n * 37) for n in range(200)]

    assert inflate(b"".join(map(gzip.compress, parts)), 1 << 20) == b"".join(parts)


@pytest.mark.parametrize("n_streams", [1, 2, 50])
def test_the_limit_is_that_of_all_streams_together(n_streams: int) -> None:
    body = gzip.compress(b"x" * 1000) * n_streams

    assert len(inflate(body, 1000 * n_streams)) == 1000 * n_streams
    with pytest.raises(BodyTooLargeError):
        inflate(body, 1000 * n_streams - 1)


NESTED: dict[str, Callable[[int], bytes]] = {
    "brackets": lambda n: b"[" * n,
    "objects": lambda n: b'{"a":' * n,
    "pairs": lambda n: b"[]," * n,
    "quotes": lambda n: b'"[",' * n,
    "escapes": lambda n: b'"\\\\\\"[' * n,
}


@pytest.mark.parametrize("kind", NESTED)
def test_the_steps_that_look_for_nesting_do_not_grow_faster_than_the_body(kind: str) -> None:
    make = NESTED[kind]

    def look(n: int) -> int:
        def refuse() -> None:
            with suppress(UnreadableBodyError):
                refuse_nesting(make(n))

        return calls_of(refuse)[1]

    assert look(800_000) <= 3 * look(400_000)
