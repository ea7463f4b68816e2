"""What clients, signals and models do wrong: each gets its right answer, and the service goes on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Once
from tests.end_to_end.arena import PREDICT, Arena
from tests.end_to_end.fault_report import LIVE, Probes, longest_gap, note
from tests.end_to_end.load import Load
from tests.end_to_end.puppet import HOLD, Puppet, entries
from tests.end_to_end.wire import Reply, Wire, request
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("faults")  # one worker makes what all share

ROW = {"distance": 3.0, "hour": 8.0}
CONTENT = {"rows": [ROW]}
ASK = request(PREDICT, CONTENT)
BODY = ASK.partition(b"\r\n\r\n")[2]


# ---- one service for everything that must not harm it ----------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, once: Once) -> Iterator[Arena]:
    with Arena(tmp_path_factory.mktemp("faults"), free_port(), [Puppet()], once=once) as made:
        yield made.start()


@pytest.fixture
def wire(served: Arena) -> Iterator[Wire]:
    """Return a connection; afterwards the same workers must be there and answer."""
    workers = served.workers()
    with served.wire() as made:
        yield made
    assert served.predict(ROW)["predictions"][0]["value"] == 3.0
    assert served.workers() == workers


def value(reply: Reply) -> Any:
    assert reply.status == 200, (reply.status, reply.body)
    return reply.json["predictions"][0]["value"]


def chunked(body: bytes, *trailers: bytes, size: int = 7) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + b"".join(t + b"\r\n" for t in trailers) + b"\r\n"


def head(*lines: str, verb: str = "POST", target: str = PREDICT, version: str = "1.1") -> bytes:
    return request(target, None, "Content-Type: application/json", *lines, verb=verb, version=version)


def test_pipelined_requests_are_answered_in_their_order(wire: Wire) -> None:
    sent = [request(PREDICT, {"rows": [{"distance": float(n), "hour": 1.0}]}) for n in range(20)]

    wire.send(*sent)

    assert [value(wire.reply()) for _ in sent] == [float(n) for n in range(20)]


def test_a_client_that_expects_100_continue_is_told_to_go_on(wire: Wire) -> None:
    wire.send(head(f"Content-Length: {len(BODY)}", "Expect: 100-continue"))

    first = wire.reply()
    answer = wire.ask(BODY)

    assert first.status == 100
    assert value(answer) == 3.0


def test_a_client_that_expects_100_continue_but_does_not_wait_is_answered(wire: Wire) -> None:
    first = wire.ask(head(f"Content-Length: {len(BODY)}", "Expect: 100-continue"), BODY)
    answer = wire.reply() if first.status == 100 else first

    assert value(answer) == 3.0


@pytest.mark.parametrize("trailers", [[], [b"X-Checksum: 1", b"X-More: 2"]], ids=["plain", "with trailers"])
def test_a_chunked_body_is_read_and_the_connection_kept(wire: Wire, trailers: list[bytes]) -> None:
    first = wire.ask(head("Transfer-Encoding: chunked"), chunked(BODY, *trailers))
    second = wire.ask(ASK)

    assert (value(first), value(second)) == (3.0, 3.0)


def test_a_chunked_body_that_comes_in_pieces_is_read(wire: Wire) -> None:
    wire.send(head("Transfer-Encoding: chunked"))
    for byte in chunked(BODY):
        wire.send(bytes([byte]))

    assert value(wire.reply()) == 3.0


MALFORMED = {
    "a header larger than the limit": (head(f"X-Large: {'x' * 70_000}", "Content-Length: 0"), {431}),
    "more headers than the limit": (head(*[f"X-{n}: 1" for n in range(200)], "Content-Length: 0"), {431}),
    "a longer target than the limit": (request("/" + "x" * 70_000), {414, 431}),
    "no request line at all": (b"\x00\x01\x02\x03 nonsense\r\n\r\n", {400}),
    "a request line of two words": (b"GET /readyz\r\nHost: localhost\r\n\r\n", {400}),
    "a version there is not": (request("/readyz", version="9.9"), {400, 505}),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "the beginning of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", {400}),
    "the beginning of TLS and no more": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400}),
    "line feeds": (b"GET /readyz HTTP/1.1\nHost: localhost\n\n", {400}),
    "HTTP/1.2": (request("/readyz", version="1.2"), {505}),
    "no host": (b"GET /readyz HTTP/1.1\r\n\r\n", {400}),
    "a host that is none": (b"GET /readyz HTTP/1.1\r\nHost: a b\r\n\r\n", {400}),
    "chunks that are zipped": (head("Transfer-Encoding: gzip, chunked") + chunked(BODY), {501}),
    "a header without a colon": (head("Nonsense", "Content-Length: 0"), {400}),
    "a blank before the colon": (head("Content-Length : 5"), {400}),
    "a folded header": (head("X-A: 1\r\n  2", "Content-Length: 0"), {400}),
    "a NUL in a header": (head("X-A: \x00", "Content-Length: 0"), {400}),
    "length and chunks": (head(f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked") + chunked(BODY), {400}),
    "chunks that are not the last coding": (head("Transfer-Encoding: chunked, gzip") + chunked(BODY), {400, 501}),
    "an unknown coding": (head("Transfer-Encoding: xchunked") + chunked(BODY), {400, 501}),
    "two lengths": (head("Content-Length: 5", f"Content-Length: {len(BODY)}") + BODY, {400}),
    "a negative length": (head("Content-Length: -5") + BODY, {400}),
    "a length that is no number": (head("Content-Length: 5x") + BODY, {400}),
    "a length with a sign": (head(f"Content-Length: +{len(BODY)}") + BODY, {400}),
}
BAD_CHUNKS = {
    "a size that is no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "a size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "more than it says": b"2\r\nabcdef\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a size without end": b"0" * 70_000,
    "a size of five thousand digits": b"1" * 5000,
    "a size of two to the sixty-fourth": b"10000000000000000\r\n",
    "sizes and almost nothing else": b"1\r\nx\r\n" * 60_000,
}


@pytest.mark.parametrize(("sent", "statuses"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_refused_and_its_connection_closed(wire: Wire, sent: bytes, statuses: set[int]) -> None:
    reply = wire.ask(sent)

    assert reply.status in statuses
    assert wire.is_closed()


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_a_malformed_chunk_is_refused_and_its_connection_closed(wire: Wire, chunks: bytes) -> None:
    reply = wire.ask(head("Transfer-Encoding: chunked"), chunks)

    assert reply.status in (400, 413)
    assert wire.is_closed()


@pytest.mark.parametrize("part", [ASK[:10], ASK[:60], ASK[:-3], head("Transfer-Encoding: chunked") + b"5\r\nab"], ids=range(4))
def test_a_client_that_leaves_in_the_middle_harms_nobody(wire: Wire, part: bytes) -> None:
    wire.send(part)
    wire.socket.shutdown(socket.SHUT_WR)

    left = wire.is_closed() or wire.reply().status in (400, 408)

    assert left


def test_a_client_that_resets_while_its_answer_is_made_harms_nobody(wire: Wire) -> None:
    wire.send(request(PREDICT, {"rows": [ROW] * 20_000}))

    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    wire.socket.close()

    assert wire.socket.fileno() == -1


@pytest.mark.parametrize(
    ("version", "lines"), [("1.0", []), ("1.1", ["Connection: close"])], ids=["HTTP/1.0 without keep-alive", "Connection: close"]
)
def test_the_connection_of_a_client_that_wants_no_more_is_closed_after_the_whole_answer(wire: Wire, version: str, lines: list[str]) -> None:
    reply = wire.ask(head(f"Content-Length: {len(BODY)}", *lines, version=version), BODY)

    assert value(reply) == 3.0
    assert wire.is_closed()


def test_an_old_client_that_asks_for_it_keeps_its_connection(wire: Wire) -> None:
    sent = head(f"Content-Length: {len(BODY)}", "Connection: keep-alive", version="1.0") + BODY

    first, second = wire.ask(sent), wire.ask(sent)

    assert (value(first), value(second)) == (3.0, 3.0)


@pytest.mark.parametrize("target", ["/models", "/readyz", "/nothing/here", "/docs"])
def test_head_has_the_headers_of_get_and_no_body(wire: Wire, target: str) -> None:
    wire.send(request(target, verb="HEAD"))
    short = wire.reply(has_body=False)
    whole = wire.ask(request(target))

    assert (short.status, short.headers["content-length"]) == (whole.status, str(len(whole.body)))


def test_a_whole_address_as_target_is_answered(wire: Wire) -> None:
    got = wire.ask(request("http://localhost/readyz"))
    posted = wire.ask(request(f"http://localhost{PREDICT}", CONTENT))

    assert (got.status, value(posted)) == (200, 3.0)


def test_an_error_keeps_the_connection_for_the_next_request(wire: Wire) -> None:
    refused = [wire.ask(request(PREDICT, {"rows": [{"distance": "far"}]})).status, wire.ask(request("/nowhere")).status]
    refused += [wire.ask(request(PREDICT, None, verb="DELETE")).status]

    answer = wire.ask(ASK)

    assert refused == [422, 404, 405]
    assert value(answer) == 3.0


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "Script_Name"])
def test_no_header_moves_the_path(wire: Wire, name: str) -> None:
    assert wire.ask(request("/x/readyz", None, f"{name}: /x")).status == 404


def test_a_body_nobody_reads_does_not_become_the_next_request(wire: Wire) -> None:
    inner = request("/readyz")
    refused = wire.ask(request("/nowhere", None, f"Content-Length: {len(inner)}", verb="POST"), inner)

    next_ = wire.ask(ASK) if refused.headers.get("connection") != "close" else None

    assert refused.status == 404
    assert wire.is_closed() if next_ is None else value(next_) == 3.0


def test_an_upgrade_is_not_taken_up_and_the_request_answered(wire: Wire) -> None:
    reply = wire.ask(request("/readyz", None, "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"))

    assert reply.status == 200


# ---- signals ----------------------------------------------------------------------------------------------------------


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
    except OSError:
        return True
    return False


def test_sigterm_answers_what_is_in_progress_and_loses_nothing(puppets: Arena, strings: Path) -> None:
    served = puppets.start()
    with Load(served.port, [ASK], per_second=200, connections=8) as load:
        load.wait_for(100)

    with ExitStack() as stack:
        wires = [stack.enter_context(served.wire()) for _ in range(7)]
        before = [wire.ask(ASK) for wire in wires]
        for wire in wires[1:]:
            wire.send(request(PREDICT, {"rows": [{"distance": HOLD, "hour": 1.0}]}))
        served.until(lambda: entries(strings, "entered"))
        served.process.send_signal(signal.SIGTERM)
        served.until(lambda: is_refused(served.port))
        (strings / "go").touch()
        held = [wire.reply() for wire in wires[1:]]
        is_idle_one_closed = wires[0].is_closed()
    code = served.stop()

    acknowledged = {reply.json["predictions"][0]["id"] for reply in (*before, *held)}
    acknowledged |= {each.content["predictions"][0]["id"] for each in load.sent}
    note("TERM", acknowledged, served.logged_ids(), None)
    assert load.failures() == []
    assert [value(reply) for reply in held] == [HOLD] * 6
    assert (is_idle_one_closed, code) == (True, 0)
    assert served.logged_ids() == acknowledged
    assert list(served.home.spool.glob("*.spool*")) == []


@pytest.mark.parametrize("kills", [pytest.param(1), pytest.param(20, marks=pytest.mark.slow)])
def test_killed_workers_fail_only_what_was_on_them_and_are_replaced(puppets: Arena, kills: int) -> None:
    served = puppets.start()
    lost: set[int] = set()

    with Load(served.port, [ASK], per_second=300, connections=24, lifetime=100) as load:
        for turn in range(kills):
            load.wait_for(50)
            victim = sorted(served.workers())[turn % 2]
            psutil.Process(victim).suspend()
            lost |= served.ports_of(victim)
            os.kill(victim, signal.SIGKILL)
            served.until(lambda victim=victim: victim not in served.workers() and len(served.answering(6)) == 2)
    code = served.stop()

    answered = {each.content["predictions"][0]["id"] for each in load.sent if each.status == 200}
    note("1", answered, served.logged_ids(), longest_gap(each.done for each in load.sent if each.status == 200))
    assert {each.port for each in load.failures()} <= lost
    assert {each.status for each in load.failures()} <= {0}
    assert code == 0
    assert answered <= served.logged_ids()


# ---- a model that hangs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.001, id="an expensive model", marks=pytest.mark.slow), pytest.param(0.0, id="a quick model")]
)
def test_rows_that_hang_end_in_504_and_every_worker_answers_again(arena: Callable[..., Arena], strings: Path, seconds: float) -> None:
    served = arena(Puppet(seconds=seconds)).start(DEADLINE_SECONDS="1")
    hanging = request(PREDICT, {"rows": [{"distance": HOLD, "hour": 1.0}]})

    with Probes(served.port, LIVE) as probes:
        with served.wire() as wire:
            refused = wire.ask(hanging)
        again = served.until(lambda: len(versions := served.answering()) == 2 and versions)
    answers = [served.predict(ROW) for _ in range(20)]
    served.stop()
    note("13b", [answer["predictions"][0]["id"] for answer in answers], served.logged_ids(), probes.longest_silence())

    assert (refused.status, refused.headers["content-type"]) == (504, "application/json")
    assert set(again.values()) == {served.versions[0]}
    assert [answer["predictions"][0]["value"] for answer in answers] == [3.0] * 20


@pytest.mark.slow
def test_many_rows_that_hang_do_not_take_the_service_away(puppets: Arena) -> None:
    served = puppets.start(DEADLINE_SECONDS="1")
    hanging = request(PREDICT, {"rows": [{"distance": HOLD, "hour": 1.0}]})

    with Probes(served.port, LIVE) as probes, ExitStack() as stack:
        wires = [stack.enter_context(served.wire()).send(hanging) for _ in range(16)]
        statuses = {wire.reply().status for wire in wires}
        served.until(lambda: len(served.answering()) == 2)
    note("13b", [], [], probes.longest_silence())

    assert statuses <= {503, 504}
    assert 504 in statuses
    assert served.predict(ROW)["predictions"][0]["value"] == 3.0
