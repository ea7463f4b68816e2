"""Mutated requests, read by us, by gunicorn and by h11: whatever we take, they take too, with the same body and the same next request."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator

import pytest

from tests.service.worker.framing_vectors import VECTORS, head
from tests.service.worker.streams import CLOSED, Reading, make_parser, read_by_gunicorn, read_by_h11, read_by_ours

# What RFC 9112 tells a recipient to take and h11 does not: a blank before a chunk's extension.
STRICTER_H11 = re.compile(rb"\r\n[0-9A-Fa-f]+[ \t]+;")
CANARY = b"GET /canary HTTP/1.1\r\nHost: a\r\n\r\n"
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x0b", b"\x0c", b"\x00", b"\x7f", b"\xa0", b"\xdf"),
    *(b":", b";", b",", b'"', b"\\", b"_", b"0", b"5", b"a", b"+", b"-", b"0x", b"00000000", b";a=b"),
    *(b"0\r\n\r\n", b"5\r\nhello\r\n", b"Host: b\r\n", b"X: y\r\n", b"X_Y: z\r\n", b"Connection: close\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n"),
    *(b"gzip", b"chunked", b"identity", b"HTTP/1.0", b"HTTP/1.1", CANARY, b"POST /x HTTP/1.1", b"Expect: 100-continue\r\n"),
]
HEADS = [
    head("Content-Length: 5", "X-Request-Id: r1", "Accept: */*") + b"hello",
    head("Connection: keep-alive", "User-Agent: x", first="GET /x?y=z HTTP/1.1"),
    head("Content-Type: text/csv", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    head("Content-Length: 5", "Connection: keep-alive", first="POST /x HTTP/1.0") + b"hello",
]
BODIES = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\nA;c\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
    b"1\r\nx\r\n" * 4 + b"00\r\n\r\n",
    b"1f\r\n" + CANARY[:31] + b"\r\n0\r\n\r\n",
]


def mutated(rng: random.Random, stream: bytes) -> bytes:
    """Change a stream in one to three places: something put in, taken out, doubled or written over."""
    for _ in range(rng.randint(1, 3)):
        begin = rng.randrange(len(stream) + 1)
        end = begin + rng.choice((0, 0, 1, 1, 2, 4, 20))
        middle = rng.choice((rng.choice(PIECES), bytes([rng.randrange(256)]), b"", stream[begin:end] * 2))
        stream = stream[:begin] + middle + stream[end:]
    return stream


def streams(seed: int, n: int) -> Iterator[tuple[random.Random, bytes]]:
    """Mutated heads and mutated chunked bodies in turn, each with a good request before and behind it."""
    rng = random.Random(seed)
    for turn in range(n):
        if turn % 2:
            yield rng, CANARY + mutated(rng, rng.choice(HEADS)) + CANARY
        else:
            yield rng, CANARY + head("Transfer-Encoding: chunked") + mutated(rng, rng.choice(BODIES)) + CANARY


def cut(rng: random.Random, stream: bytes) -> list[bytes]:
    edges = [0, *sorted(rng.sample(range(1, len(stream)), rng.randint(0, 4))), len(stream)]
    return [stream[begin:end] for begin, end in itertools.pairwise(edges)]


def agree(ours: Reading, theirs: Reading) -> bool:
    """Return whether another reader takes what we take; it may close the connection before and so read less."""
    n = len(theirs.requests) if theirs.end == CLOSED else len(ours.whole)
    return ours.whole[:n] == theirs.requests[: len(ours.whole)]


def differences(seed: int, n: int) -> tuple[int, list[tuple[str, bytes]]]:
    """Return how many mutated requests were taken, and the streams in which another reader sees other requests than we."""
    n_taken, differing, parser = 0, list[tuple[str, bytes]](), make_parser()
    for rng, stream in streams(seed, n):
        ours = read_by_ours([stream], parser=parser)
        n_taken += len(ours.whole) > 1
        in_pieces = read_by_ours(cut(rng, stream), parser=parser)
        h11 = ours if STRICTER_H11.search(stream) else read_by_h11(stream)
        if ours.whole != in_pieces.whole:
            differing.append(("in pieces", stream))
        if ours.whole != read_by_gunicorn(stream).requests[: len(ours.whole)]:
            differing.append(("gunicorn", stream))
        if not agree(ours, h11):
            differing.append(("h11", stream))
    return n_taken, differing


@pytest.mark.parametrize(
    ("seed", "n"), [(1, 3000), *(pytest.param(seed, 100_000, marks=pytest.mark.slow) for seed in (2, 3, 4, 5))], ids=str
)
def test_no_mutated_request_is_read_in_two_ways(seed: int, n: int) -> None:
    n_taken, differing = differences(seed, n)

    assert differing == []
    assert n_taken > n / 20


@pytest.mark.parametrize("stream", [stream for stream, _ in VECTORS.values()], ids=VECTORS.keys())
def test_what_is_taken_of_the_vectors_is_taken_by_others_too(stream: bytes) -> None:
    ours, theirs = read_by_ours([stream]).whole, read_by_gunicorn(stream).requests

    assert ours == theirs[: len(ours)]
