"""Where requests end: every vector of the table, in whatever pieces; what cannot become a request is refused at once."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import body as readers
from gunicorn.http import message

from service.framing.head_grammar import FramingError, HeadScanner
from service.worker.http_framing import RequestParser
from tests.service.worker.framing_vectors import AT_ONCE, SMUGGLED, VECTORS, Expected, head
from tests.service.worker.streams import CLOSED, OPEN, PEER, Reading, make_parser, read_by_ours
from tests.service.worker.work import Counted, growth, steps


def outcome(reading: Reading) -> Expected:
    """The bodies of what was taken, or the status of a refusal that came first."""
    if reading.end in (OPEN, CLOSED):
        return [body for _, _, body in reading.requests]
    assert reading.requests == []
    return reading.end


@pytest.mark.parametrize(("stream", "expected"), VECTORS.values(), ids=VECTORS.keys())
def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_read(stream: bytes, expected: Expected) -> None:
    assert outcome(read_by_ours([stream])) == expected


@pytest.mark.parametrize(("stream", "expected"), VECTORS.values(), ids=VECTORS.keys())
def test_the_pieces_in_which_a_stream_comes_change_nothing(stream: bytes, expected: Expected) -> None:
    size = max(3, len(stream) // 1000)

    reading = read_by_ours(stream[at : at + size] for at in range(0, len(stream), size))

    statuses = ("400", "414", "431", "501", "505")
    assert outcome(reading) == expected or (reading.end in statuses and expected in statuses)


@pytest.mark.parametrize(("stream", "status"), AT_ONCE.values(), ids=AT_ONCE.keys())
def test_what_cannot_become_a_request_is_refused_before_its_end(stream: bytes, status: str) -> None:
    assert read_by_ours([stream]).end == read_by_ours(stream[at : at + 1] for at in range(len(stream))).end == status


@pytest.mark.parametrize("stream", [SMUGGLED, b"\r\n" + SMUGGLED, head("X-Y: \xe4", first="PROPFIND /a?b HTTP/1.0")], ids=range(3))
def test_no_beginning_of_a_good_head_is_refused(stream: bytes) -> None:
    ends = [HeadScanner().end(stream[:length]) for length in range(1, len(stream) + 1)]

    assert ends == [None] * (len(stream) - 1) + [len(stream)]


@pytest.mark.parametrize("name", ["Script_Name", "SCRIPT_NAME", "Path_Info", "Content_Length", "X_Forwarded_For", "Remote_User"])
def test_a_name_with_an_underscore_is_dropped_whoever_sends_it(name: str) -> None:
    environ = make_parser().parse_head(head(f"{name}: /x", first="GET /x/metrics HTTP/1.1"), PEER).environ

    assert (environ["PATH_INFO"], environ["SCRIPT_NAME"]) == ("/x/metrics", "")
    assert "/x" not in [value for key, value in environ.items() if key not in ("RAW_URI", "PATH_INFO")]


# ---- a parser of another mind: as if another gunicorn were installed ---------------------------------------------------


def parse_as(monkeypatch: pytest.MonkeyPatch, parse: Any, raw: bytes) -> str:
    """Return the status with which a head is refused when gunicorn's parser decides as told."""
    monkeypatch.setattr(message.Request, "set_body_reader", parse)
    with pytest.raises(FramingError) as refused:
        RequestParser(Config(), ("127.0.0.1", 8000), lambda environ: None).parse_head(raw, PEER)
    return refused.value.status[:3]


def length_reader(length: int) -> Any:
    return lambda self: setattr(self, "body", readers.Body(readers.LengthReader(self.unreader, length)))


def chunked_reader(self: Any) -> None:
    self.body = readers.Body(readers.ChunkedReader(self, self.unreader))


@pytest.mark.parametrize(
    ("parse", "raw"),
    [
        (length_reader(5), head("Transfer-Encoding: chunked")),
        (length_reader(5), head("Content-Length: 6")),
        (length_reader(5), head()),
        (chunked_reader, head()),
        (chunked_reader, head("Content-Length: 5")),
        (chunked_reader, head("Transfer-Encoding: identity, chunked")),
        (length_reader(5), head("Transfer-Encoding: gzip", "Content-Length: 5")),
        (length_reader(0), head("Transfer-Encoding: identity")),
    ],
    ids=range(8),
)
def test_a_head_on_whose_length_the_parser_decides_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch, parse: Any, raw: bytes) -> None:
    assert parse_as(monkeypatch, parse, raw) in ("400", "501")


OTHERS = {"fewer": [], "more": [("HOST", "a"), ("X", "1"), ("Y", "2")], "others": [("HOST", "a"), ("Y", "1")]}


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS.keys())
def test_a_head_of_which_the_parser_sees_other_fields_is_refused(monkeypatch: pytest.MonkeyPatch, fields: list[tuple[str, str]]) -> None:
    def parse(self: Any) -> None:
        self.headers = fields
        length_reader(0)(self)

    assert parse_as(monkeypatch, parse, head("X: 1")) == "400"


def test_a_head_of_which_the_parser_leaves_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(self: Any) -> None:
        self.unreader.unread(b"X: 1\r\n\r\n")
        length_reader(0)(self)

    assert parse_as(monkeypatch, parse, head()) == "400"


# ---- what it costs ------------------------------------------------------------------------------------------------------


def test_a_head_of_twice_the_fields_costs_at_most_three_times_the_steps() -> None:
    costs = [steps(lambda n=n: make_parser().parse_head(head(*[f"X-{i}: {i}" for i in range(n)]), PEER)) for n in (24, 48, 96)]

    assert max(growth(costs)) < 3


@pytest.mark.parametrize("line", [b"X: 1\r\n", b"X: " + b"x" * 500 + b"\r\n"], ids=["short lines", "long lines"])
@pytest.mark.parametrize("size", [1, 100], ids=["byte by byte", "piece by piece"])
def test_a_head_in_pieces_costs_at_most_three_times_the_bytes_for_twice_its_length(line: bytes, size: int) -> None:
    costs = []
    for length in (10_000, 20_000, 40_000):
        scanner, buffer = HeadScanner(), Counted()
        stream = (b"GET / HTTP/1.1\r\n" + line * (length // len(line)))[:length]
        for at in range(0, length, size):
            buffer += stream[at : at + size]
            scanner.end(buffer)
        costs.append(buffer.looked_at)

    assert max(growth(costs)) < 3
    assert costs[-1] < 10 * 40_000
