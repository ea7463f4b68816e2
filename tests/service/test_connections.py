"""Reading ahead: a request is given out when every byte of it is here, whatever the pieces it came in."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config
from hypothesis import given
from hypothesis import strategies as st

from service.connections import LONGEST_HEAD, READ_SECONDS, SLOWEST_BYTES, Connection, Phase, WholeRequest
from service.heads import ROUTE, HeadError, Heads

LIMIT = 1000
PEER = ("127.0.0.1", 50000)


def make_heads() -> Heads:
    return Heads(Config(), ("127.0.0.1", 8000), lambda environ: environ["PATH_INFO"])


class Wire:
    """A connection and the client's end of it."""

    def __init__(self) -> None:
        self.client, server = socket.socketpair()
        server.setblocking(False)
        self.connection = Connection(server, PEER, make_heads(), LIMIT, now=0.0)

    def send(self, data: bytes) -> list[WholeRequest]:
        """Send some bytes and take what is whole."""
        self.client.sendall(data)
        assert self.connection.receive()
        found = []
        while (request := self.connection.take()) is not None:
            found.append(request)
        return found

    def close(self) -> None:
        self.client.close()
        self.connection.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /models/bikes/predict HTTP/1.1", "Host: here", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def chunked(*chunks: bytes, trailers: str = "") -> bytes:
    head = b"POST /x HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + framed + b"0\r\n" + trailers.encode() + b"\r\n"


def test_a_whole_request_is_taken_with_its_head_and_body(wire: Wire) -> None:
    [request] = wire.send(post(b"hello", "X-Request-Id: r1"))

    environ = request.head.environ
    assert (request.body, request.head.length, request.head.closes) == (b"hello", 5, False)
    assert (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["HTTP_X_REQUEST_ID"]) == ("POST", "/models/bikes/predict", "r1")
    assert environ[ROUTE] == "/models/bikes/predict"
    assert wire.connection.is_idle


def test_nothing_is_taken_before_the_last_byte(wire: Wire) -> None:
    whole = post(b"hello")

    early = [request for place in range(len(whole) - 1) for request in wire.send(whole[place : place + 1])]
    [request] = wire.send(whole[-1:])

    assert early == []
    assert request.body == b"hello"


def test_requests_sent_at_once_are_taken_one_after_the_other(wire: Wire) -> None:
    found = wire.send(post(b"one") + post(b"two") + chunked(b"thr", b"ee") + post(b"fo")[:-1])

    assert [request.body for request in found] == [b"one", b"two", b"three"]
    assert [request.body for request in wire.send(b"o")] == [b"fo"]


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=5), cuts=st.lists(st.integers(1, 300), max_size=8), trailers=st.booleans()
)
def test_a_chunked_body_is_the_same_in_whatever_pieces_it_comes(chunks: list[bytes], cuts: list[int], trailers: bool) -> None:
    wire = Wire()
    whole = chunked(*chunks, trailers="X-Sum: 1\r\n" if trailers else "") + post(b"next")
    edges = [0, *sorted({cut for cut in cuts if cut < len(whole)}), len(whole)]

    found = [request for start, end in itertools.pairwise(edges) for request in wire.send(whole[start:end])]

    assert [request.body for request in found] == [b"".join(chunks), b"next"]
    wire.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/3.7\r\nHost: here\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nno colon\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 9000 + b"\r\n\r\n", "431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", "431 Request Header Fields Too Large"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: here\r\n\r\n", "414 URI Too Long"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: magic\r\n\r\n", "501 Not Implemented"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n", "417 Expectation Failed"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: other\r\n\r\n", "400 Bad Request"),
    ],
)
def test_what_is_no_http_is_refused_with_a_status(wire: Wire, sent: bytes, status: str) -> None:
    with pytest.raises(HeadError) as refused:
        wire.send(sent)

    assert refused.value.status == status


def test_a_head_without_end_is_refused(wire: Wire) -> None:
    with pytest.raises(HeadError, match="longer than"):
        [wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000) for _ in range(LONGEST_HEAD // 40_000 + 1)]


def test_a_body_over_the_limit_is_not_waited_for(wire: Wire) -> None:
    [request] = wire.send(post(b"x" * (LIMIT + 1))[:-LIMIT])

    assert request.body is None


def test_a_chunked_body_over_the_limit_is_not_waited_for(wire: Wire) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

    found = wire.send(head + b"fffffff\r\n" + b"x" * (LIMIT + 1))

    assert [request.body for request in found] == [None]


def test_whoever_waits_for_leave_to_send_the_body_gets_it(wire: Wire) -> None:
    whole = post(b"hello", "Expect: 100-continue")

    before = wire.send(whole[:-5])
    told = wire.client.recv(100)
    [request] = wire.send(whole[-5:])

    assert (before, told, request.body) == ([], b"HTTP/1.1 100 Continue\r\n\r\n", b"hello")


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_the_head_says_whether_the_connection_stays(wire: Wire, head: bytes, closes: bool) -> None:
    [request] = wire.send(head)

    assert request.head.closes == closes


def test_the_client_that_leaves_is_noticed(wire: Wire) -> None:
    wire.client.close()

    assert not wire.connection.receive()


def test_what_does_not_go_out_at_once_is_kept(wire: Wire) -> None:
    payload = b"x" * 5_000_000

    assert wire.connection.send(payload)

    left = wire.connection.out
    assert left is not None
    received = 0
    while wire.connection.out is not None:
        received += len(wire.client.recv(1 << 20))
        assert wire.connection.send(wire.connection.out)
    assert received < len(payload)


def test_lingering_says_that_nothing_more_comes(wire: Wire) -> None:
    wire.connection.linger()

    assert wire.client.recv(10) == b""
    assert wire.connection.phase is Phase.LINGERING


def test_the_same_head_is_parsed_once_but_not_shared_between_peers() -> None:
    heads = make_heads()
    raw = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n"

    trusted, again, stranger = heads.read(raw, PEER), heads.read(raw, PEER), heads.read(raw, ("10.0.0.9", 1))

    assert trusted is again
    schemes: list[Any] = [head.environ["wsgi.url_scheme"] for head in (trusted, stranger)]
    assert schemes == ["https", "http"]


def test_a_sender_is_late_after_half_a_minute_unless_much_has_come(wire: Wire) -> None:
    now = 1000.0
    wire.connection.since = now - READ_SECONDS - 1
    idle = wire.connection.is_late(now)
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\n")
    begun = wire.connection.is_late(now)
    wire.send(b"Content-Length: 900\r\n\r\n" + b"x" * 800)
    wire.connection._buffer = bytes(2 * SLOWEST_BYTES)

    assert (idle, begun, wire.connection.is_late(now), wire.connection.is_late(now + 2)) == (False, True, False, True)
