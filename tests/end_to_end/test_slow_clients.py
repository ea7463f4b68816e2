"""Clients that are slow, or go on sending what nobody wants: the others are answered, and so are they."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.end_to_end.arena import PREDICT, Arena
from tests.end_to_end.load import Load
from tests.end_to_end.puppet import HOLD, Puppet, noted
from tests.end_to_end.wire import Reply, Wire, request
from tests.patience import PATIENCE_SECONDS

ROW = {"distance": 3.0, "hour": 8.0}
ASK = request(PREDICT, {"rows": [ROW]})
HEAD, BODY = ASK.index(b"\r\n\r\n") + 4, len(ASK)
LIMIT = 1 << 20


@pytest.fixture
def served(arena: Callable[..., Arena], strings: Path) -> Arena:
    return arena(Puppet()).start(MAX_BODY_BYTES=str(LIMIT))


def values(replies: list[Reply]) -> list[float]:
    return [reply.json["predictions"][0]["value"] for reply in replies]


def test_sixty_slow_clients_hold_nobody_up_and_are_answered_in_the_end(served: Arena) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(served.wire()) for _ in range(60)]
        for wire, start in zip(slow, [HEAD // 2, HEAD + 5, 0] * 20, strict=True):
            wire.send(ASK[:start])
        quick_replies = []
        for place in range(BODY // 4):
            for wire in slow[2::3]:
                wire.send(ASK[place : place + 1])
            with served.wire() as quick:
                quick_replies.append(quick.ask(ASK))
        with Load(served.port, [ASK], per_second=200, connections=16) as load:
            load.wait_for(200)
        for wire, start in zip(slow, [HEAD // 2, HEAD + 5, BODY // 4] * 20, strict=True):
            wire.send(ASK[start:])
        late = [wire.reply() for wire in slow]

    assert load.failures() == []
    assert values(quick_replies) == [3.0] * (BODY // 4)
    assert values(late) == [3.0] * 60


def test_clients_that_do_not_read_their_answers_hold_nobody_up(served: Arena) -> None:
    large = request(PREDICT, {"rows": [ROW] * 20_000})
    with ExitStack() as stack:
        deaf = [stack.enter_context(served.wire()) for _ in range(20)]
        for wire in deaf:
            wire.send(large)
        quick_replies = []
        for _ in range(20):
            with served.wire() as quick:
                quick_replies.append(quick.ask(ASK))
        late = [wire.reply() for wire in deaf]

    assert values(quick_replies) == [3.0] * 20
    assert [len(reply.json["predictions"]) for reply in late] == [20_000] * 20


def test_rows_that_take_long_hold_no_other_rows_up(served: Arena, strings: Path) -> None:
    held = request(PREDICT, {"rows": [{**ROW, "distance": HOLD}]})
    with ExitStack() as stack:
        long = [stack.enter_context(served.wire()).send(held) for _ in range(4)]
        served.until(lambda: noted(strings, "entered"))
        with Load(served.port, [request("/models"), request("/readyz")], per_second=100, lifetime=10) as load:
            load.wait_for(100)
        (strings / "go").touch()
        late = [wire.reply() for wire in long]

    assert load.failures() == []
    assert values(late) == [HOLD] * 4


def without_end(wire: Wire, chunk: bytes, stopping: threading.Event) -> None:
    """Send the same again and again, whatever comes back, until nobody takes it."""
    with suppress(OSError):
        while not stopping.is_set():
            wire.send(chunk)


@pytest.fixture
def refused(served: Arena) -> Iterator[Callable[[bytes, bytes], Reply]]:
    """Return a function that sends the beginning of a request and then parts of it without end, and reads the answer meanwhile."""
    stopping = threading.Event()
    with ExitStack() as stack:

        def ask(begin: bytes, part: bytes) -> Reply:
            wire = stack.enter_context(served.wire())
            wire.send(begin)
            sender = threading.Thread(target=without_end, args=(wire, part, stopping), daemon=True)
            sender.start()
            stack.callback(sender.join, PATIENCE_SECONDS)
            return wire.reply()

        yield ask
        stopping.set()


@pytest.mark.parametrize(
    ("how", "part"),
    [
        pytest.param(f"Content-Length: {1 << 32}", b"x" * 65536, id="a length over the limit"),
        pytest.param("Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65536 + b"\r\n", id="chunks without end"),
    ],
)
def test_a_client_that_goes_on_sending_reads_the_whole_refusal(
    served: Arena, refused: Callable[[bytes, bytes], Reply], how: str, part: bytes
) -> None:
    replies = [refused(request(PREDICT, None, how, verb="POST"), part) for _ in range(10)]

    assert [reply.status for reply in replies] == [413] * 10
    assert {reply.json["code"] for reply in replies} == {"limit.body"}
    assert served.predict(ROW)["predictions"][0]["value"] == 3.0


def test_what_large_requests_may_hold_in_memory_is_bounded(arena: Callable[..., Arena], strings: Path) -> None:
    served = arena(Puppet()).start(MAX_BODY_BYTES=str(LIMIT), MAX_HELD_BYTES=str(4 * LIMIT))
    head = b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % LIMIT
    with ExitStack() as stack:
        large = [stack.enter_context(served.wire()) for _ in range(2 * 5 + 2)]  # two workers hold four times the limit each
        for wire in large:
            with suppress(OSError):  # who is refused while it sends
                wire.send(head, b" " * (LIMIT - 1))
        refused = [wire.reply() for wire in answered_first(large)]
        # who was refused may hold its place for a moment more: ask again, as the answer says
        served.until(lambda: stack.enter_context(served.wire()).ask(ASK).status == 200)

    assert {reply.status for reply in refused} == {503}  # at least one of them
    assert {reply.json["code"] for reply in refused} == {"limit.in_flight"}


def answered_first(wires: list[Wire]) -> list[Wire]:
    """Wait until requests that are not whole are answered; return those that are by then."""
    readable, _, _ = select.select([wire.socket for wire in wires], [], [], PATIENCE_SECONDS)
    return [wire for wire in wires if wire.socket in readable]
