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

from service.framing.head_grammar import LONGEST_HEAD, FramingError
from service.worker.connection import (
    LINGER_SECONDS,
    READ_SECONDS,
    SLOW_SECONDS,
    SLOWEST_BYTES,
    WRITE_SECONDS,
    Connection,
    Phase,
    WholeRequest,
    least_progress_first,
)
from service.worker.http_framing import RequestParser

LIMIT = 1000
PEER = ("127.0.0.1", 50000)


def make_parser() -> RequestParser:
    return RequestParser(Config(), ("127.0.0.1", 8000), lambda environ: environ.update(route=environ["PATH_INFO"]))


class Wire:
    """A connection and the client's end of it."""

    def __init__(self) -> None:
        self.client, server = socket.socketpair()
        server.setblocking(False)
        self.connection = Connection(server, PEER, make_parser(), LIMIT, now=0.0)

    def send(self, data: bytes) -> list[WholeRequest]:
        """Send some bytes and take what is whole."""
        self.client.sendall(data)
        assert self.connection.receive()
        requests = []
        while (request := self.connection.take()) is not None:
            requests.append(request)
        return requests

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
    assert environ["route"] == "/models/bikes/predict"
    assert wire.connection.is_idle


def test_nothing_is_taken_before_the_last_byte(wire: Wire) -> None:
    whole = post(b"hello")

    early = [request for place in range(len(whole) - 1) for request in wire.send(whole[place : place + 1])]
    [request] = wire.send(whole[-1:])

    assert early == []
    assert request.body == b"hello"


def test_requests_sent_at_once_are_taken_one_after_the_other(wire: Wire) -> None:
    requests = wire.send(post(b"one") + post(b"two") + chunked(b"thr", b"ee") + post(b"fo")[:-1])

    assert [request.body for request in requests] == [b"one", b"two", b"three"]
    assert [request.body for request in wire.send(b"o")] == [b"fo"]


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=5), cuts=st.lists(st.integers(1, 300), max_size=8), trailers=st.booleans()
)
def test_a_chunked_body_is_the_same_in_whatever_pieces_it_comes(chunks: list[bytes], cuts: list[int], trailers: bool) -> None:
    wire = Wire()
    whole = chunked(*chunks, trailers="X-Sum: 1\r\n" if trailers else "") + post(b"next")
    edges = [0, *sorted({cut for cut in cuts if cut < len(whole)}), len(whole)]

    requests = [request for start, end in itertools.pairwise(edges) for request in wire.send(whole[start:end])]

    assert [request.body for request in requests] == [b"".join(chunks), b"next"]
    wire.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/3.7\r\nHost: here\r\n\r\n", "505 HTTP Version Not Supported"),
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
    with pytest.raises(FramingError) as refused:
        wire.send(sent)

    assert refused.value.status == status


def test_a_head_without_end_is_refused(wire: Wire) -> None:
    with pytest.raises(FramingError, match="longer than"):
        [wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000) for _ in range(LONGEST_HEAD // 40_000 + 1)]


def test_a_body_over_the_limit_is_not_waited_for(wire: Wire) -> None:
    [request] = wire.send(post(b"x" * (LIMIT + 1))[:-LIMIT])

    assert request.body is None


def test_a_chunked_body_over_the_limit_is_not_waited_for(wire: Wire) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

    requests = wire.send(head + b"fffffff\r\n" + b"x" * (LIMIT + 1))

    assert [request.body for request in requests] == [None]


def test_whoever_waits_for_leave_to_send_the_body_gets_it(wire: Wire) -> None:
    whole = post(b"hello", "Expect: 100-continue")

    before = wire.send(whole[:-5])
    interim = wire.client.recv(100)
    [request] = wire.send(whole[-5:])

    assert (before, interim, request.body) == ([], b"HTTP/1.1 100 Continue\r\n\r\n", b"hello")


def test_no_leave_is_given_to_who_sends_no_body_and_to_who_may_not_know_what_it_is(wire: Wire) -> None:
    bodiless = wire.send(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n")
    old = wire.send(b"POST /b HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    rest = wire.send(b"hi")
    wire.client.setblocking(False)

    assert ([request.body for request in bodiless], old, [request.body for request in rest]) == ([b""], [], [b"hi"])
    with pytest.raises(BlockingIOError):
        wire.client.recv(100)


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: Close\r\n\r\n", True),
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
    parser = make_parser()
    raw = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n"

    trusted, again, stranger = parser.parse_head(raw, PEER), parser.parse_head(raw, PEER), parser.parse_head(raw, ("10.0.0.9", 1))

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


# ---- who is slow -------------------------------------------------------------------------------------------------------

START = 1000.0
ANSWER = bytes(100 * SLOWEST_BYTES)


class Sink:
    """A socket whose client takes so many bytes at each look."""

    def __init__(self, *takes: int) -> None:
        self.takes = list(takes)

    def fileno(self) -> int:
        return -1

    def recv(self, n_bytes: int) -> bytes:
        return b"x" * min(n_bytes, self.takes.pop(0))

    def send(self, data: memoryview) -> int:
        return min(len(data), self.takes.pop(0))

    def shutdown(self, _: int) -> None: ...


def client(phase: Phase, *takes: int) -> Connection:
    """A client that begins at the start and then moves some bytes each second."""
    made = Connection(Sink(*takes), PEER, make_parser(), LIMIT, now=START)  # type: ignore[arg-type]
    made.begin(START)
    made.phase = phase
    for second in range(1, len(takes) + 1):
        if phase is Phase.READING:
            made.receive()
        else:
            made.send(made.out or ANSWER)
        made.note_progress(START + second)
    return made


def lingering() -> Connection:
    made = client(Phase.WRITING)
    made.linger()
    return made


def test_whoever_moves_least_goes_first_whatever_it_does() -> None:
    trickles, sends, reads = client(Phase.READING, *[9] * 9), client(Phase.READING, *[20_000] * 9), client(Phase.WRITING, *[10_000] * 9)
    deaf, refused, quick = client(Phase.WRITING, 1, *[0] * 8), lingering(), client(Phase.WRITING, *[2 * SLOWEST_BYTES] * 9)

    order = least_progress_first([quick, sends, reads, trickles, refused, deaf], START + 9)

    assert order == [refused, deaf, trickles, reads, sends]


def test_what_the_kernel_takes_at_once_buys_no_more_than_the_first_seconds() -> None:
    deaf = client(Phase.WRITING, 50 * SLOWEST_BYTES)

    assert [deaf.behind(START + 1 + SLOW_SECONDS + more) for more in (0, 5)] == [0, 5]


def test_to_ask_again_makes_nobody_quick_but_to_have_been_idle_does() -> None:
    at_once, later = (client(Phase.WRITING, *[10] * 9) for _ in range(2))

    for asks, idle_since, now in ((at_once, START + 9, START + 9), (later, START + 9, START + 30)):
        asks.since = idle_since
        asks.begin(now)

    assert at_once.behind(START + 9) > 0 > later.behind(START + 30)


def test_the_time_in_which_an_answer_is_made_is_not_the_clients() -> None:
    waits = client(Phase.ANSWERING)
    in_between = least_progress_first([waits], START + 60)

    waits.resume(START + 60)
    waits.phase = Phase.WRITING

    assert (in_between, waits.behind(START + 60), waits.behind(START + 70)) == ([], -SLOW_SECONDS, 10 - SLOW_SECONDS)


def test_who_has_been_idle_longest_goes_before_whoever_is_slow_for_less() -> None:
    idle, longer, deaf, fresh = client(Phase.READING), client(Phase.READING), client(Phase.WRITING), client(Phase.READING)
    idle.since, fresh.since = START + 4, START + 9

    assert least_progress_first([fresh, idle, deaf, longer], START + 9) == [longer, deaf, idle]


def test_an_answer_has_a_deadline_as_a_whole_however_it_is_read() -> None:
    seconds = int(WRITE_SECONDS + len(ANSWER) / SLOWEST_BYTES)
    trickles = client(Phase.WRITING, *[10] * seconds)

    assert [trickles.is_late(START + seconds + more) for more in (0, 1)] == [False, True]


def test_a_client_that_does_not_leave_is_late_after_a_while() -> None:
    assert [lingering().is_late(START + LINGER_SECONDS + more) for more in (0, 1)] == [False, True]


def test_what_is_held_is_all_of_an_unread_answer_and_all_of_a_body_that_comes(wire: Wire) -> None:
    deaf = client(Phase.WRITING, 10)
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(9):
        wire.send(b"64\r\n" + b"x" * 100 + b"\r\n")

    assert deaf.held == len(ANSWER)
    assert 900 <= wire.connection.held < 1200
