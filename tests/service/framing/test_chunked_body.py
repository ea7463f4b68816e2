"""Chunked bodies: joined in linear work, bounded in what is frame and not body."""

from __future__ import annotations

import itertools

import pytest

from service.framing.chunked_body import FREE_FRAMING_BYTES, LONGEST_SIZE_LINE, LONGEST_TRAILERS, ChunkDecoder
from service.framing.head_grammar import FramingError
from service.worker.connection import READ_BYTES
from tests.service.worker.framing_vectors import CHUNKED
from tests.service.worker.streams import CLOSED, OPEN, read_by_ours
from tests.service.worker.work import Counted, growth, steps

LIMIT = 1 << 26


def chunks(data: bytes, size: int) -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def decoded(stream: bytes, piece: int, buffer: bytearray | None = None) -> bytes:
    """Decode a body that comes in pieces of a size, keeping all that came."""
    decoder, buffer, at = ChunkDecoder(LIMIT), bytearray() if buffer is None else buffer, 0
    for begin in range(0, len(stream), piece):
        buffer += stream[begin : begin + piece]
        at = decoder.advance(buffer, at)
    assert (decoder.is_whole, at) == (True, len(stream))
    return bytes(decoder.body)


@pytest.mark.parametrize("size", [1, 2, 7, 4096])
@pytest.mark.parametrize("piece", [1, 3, 1000, 1 << 20])
def test_a_body_is_the_same_however_it_is_cut(size: int, piece: int) -> None:
    data = bytes(range(256)) * 20

    assert decoded(chunks(data, size), piece) == data


@pytest.mark.parametrize("size", [2, 40, 5000], ids=lambda size: f"chunks of {size}")
@pytest.mark.parametrize("piece", [7, READ_BYTES], ids=lambda piece: f"pieces of {piece}")
def test_twice_the_chunks_cost_at_most_three_times_the_work(size: int, piece: int) -> None:
    copied, called = [], []
    for n_bytes in (20_000, 40_000, 80_000):
        stream, buffer = chunks(b"x" * n_bytes, size), Counted()
        called.append(steps(lambda stream=stream, buffer=buffer: decoded(stream, piece, buffer)))
        copied.append(buffer.looked_at)

    assert max(growth(copied)) < 3
    assert max(growth(called)) < 3
    assert copied[-1] < 20 * len(stream)


@pytest.mark.parametrize("size", [1, 40, 5000], ids=lambda size: f"chunks of {size}")
def test_a_whole_request_in_twice_the_chunks_costs_at_most_three_times_the_steps(size: int) -> None:
    streams = [CHUNKED + chunks(b"x" * n_bytes, size) for n_bytes in (10_000, 20_000, 40_000)]

    costs = [steps(lambda stream=stream: read_by_ours([stream])) for stream in streams]

    assert max(growth(costs)) < 3


def test_trailers_in_pieces_cost_at_most_three_times_the_work_for_twice_their_length() -> None:
    costs = []
    for length in (15_000, 30_000, 60_000):
        decoder, buffer, at = ChunkDecoder(LIMIT), Counted(), 0
        for byte in (b"0\r\n" + b"X: 1\r\n" * length)[:length]:
            buffer.append(byte)
            at = decoder.advance(buffer, at)
        costs.append(buffer.looked_at)

    assert max(growth(costs)) < 3
    assert costs[-1] < 20 * 60_000


def test_requests_sent_at_once_are_cut_apart_without_copying_the_rest() -> None:
    one = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"

    costs = [steps(lambda n=n: read_by_ours([one * n])) for n in (100, 200, 400)]

    assert max(growth(costs)) < 3


def test_a_table_sent_line_by_line_is_taken() -> None:
    line = b"2026-03-01T00:00:00Z,12.5,3.25,north,t\r\n"
    stream = CHUNKED + chunks(line * 40_000, len(line))

    reading = read_by_ours((stream[at : at + 8192] for at in range(0, len(stream), 8192)), max_body_bytes=LIMIT)

    assert (reading.end, [body for _, _, body in reading.requests]) == (OPEN, [line * 40_000])


SMALL = [b"1\r\nx\r\n", b"0000000000000001\r\nx\r\n", b"2;a=b\r\nxx\r\n", b"1;" + b"a" * 900 + b"\r\nx\r\n"]


@pytest.mark.parametrize("chunk", SMALL, ids=range(4))
def test_a_body_that_is_almost_all_frame_is_refused_soon(chunk: bytes) -> None:
    taken = 2 * FREE_FRAMING_BYTES // len(chunk)

    reading = read_by_ours([CHUNKED + chunk * taken])

    assert reading.end == "400"


def test_the_bound_on_framing_is_a_share_of_what_the_body_carries() -> None:
    small, larger = (chunks(b"x" * 4_000_000, size) for size in (15, 25))

    with pytest.raises(FramingError, match="too small"):
        decoded(small, READ_BYTES)
    assert len(decoded(larger, READ_BYTES)) == 4_000_000


def test_a_size_over_the_limit_is_refused_before_its_bytes_come() -> None:
    reading = read_by_ours([CHUNKED + b"5\r\nhello\r\n%x\r\n" % 100], max_body_bytes=100)

    assert (reading.end, [body for _, _, body in reading.requests]) == (CLOSED, [None])


def test_chunks_may_sum_up_to_the_limit_and_no_further() -> None:
    within, beyond = (read_by_ours([CHUNKED + chunks(b"x" * size, 7)], max_body_bytes=100) for size in (100, 101))

    assert [body for _, _, body in itertools.chain(within.requests, beyond.requests)] == [b"x" * 100, None]


def test_the_line_of_a_chunk_may_be_as_long_as_the_bound_and_no_longer() -> None:
    within, beyond = (b"1;".ljust(LONGEST_SIZE_LINE + more, b"a") for more in (0, 1))

    assert ChunkDecoder(LIMIT).advance(within, 0) == 0
    with pytest.raises(FramingError, match="malformed"):
        ChunkDecoder(LIMIT).advance(beyond, 0)


def test_trailers_may_be_as_long_as_the_bound_and_no_longer() -> None:
    within, beyond = (b"0\r\n" + b"X: ".ljust(LONGEST_TRAILERS + more, b"x") for more in (0, 1))

    assert ChunkDecoder(LIMIT).advance(within, 0) == 3
    with pytest.raises(FramingError, match="trailers are longer"):
        ChunkDecoder(LIMIT).advance(beyond, 0)
