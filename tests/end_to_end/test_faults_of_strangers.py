"""What a stranger without a key can do by how he sends and reads: nothing to the others. Costs are processor time of the workers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest

from tests.end_to_end.arena import PREDICT, Arena
from tests.end_to_end.fault_report import Probes, note
from tests.end_to_end.puppet import Puppet
from tests.end_to_end.wire import request
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

MANY = 2100


@pytest.fixture
def served(arena: Callable[..., Arena]) -> Arena:
    return arena(Puppet()).start()


def processor_seconds(served: Arena) -> float:
    """What the workers have computed until now."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in served.workers())


def chunked(parts: Iterator[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def deaf(served: Arena, sent: bytes) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(PATIENCE_SECONDS)
    made.connect(("127.0.0.1", served.port))
    made.setblocking(False)
    with suppress(BlockingIOError):
        made.send(sent)
    return made


def read_a_little(sockets: list[socket.socket], stopping: threading.Event) -> None:
    while not stopping.wait(2):
        for each in sockets:
            with suppress(OSError):
                each.recv(100)


STRANGERS = {
    "read a little of many answers": ("M6", request("/openapi.json") * 200),
    "send half a head": ("14", b"GET /livez HTTP/1.1\r\nHost"),
    "send half a body": ("14", b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx"),
    "send half a chunk": ("14", b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nx"),
    "do not leave when refused": ("M6", b"BAD\r\n\r\n"),
    "say nothing": ("14", b""),
}


@pytest.mark.parametrize(("fault", "sent"), STRANGERS.values(), ids=STRANGERS.keys())
def test_thousands_of_strangers_keep_nobody_out(served: Arena, fault: str, sent: bytes) -> None:
    stopping, sockets = threading.Event(), list[socket.socket]()
    with Probes(served.port) as probes, ExitStack() as stack:
        for _ in range(MANY):
            sockets.append(stack.enter_context(deaf(served, sent)))
        reader = threading.Thread(target=read_a_little, args=(sockets, stopping), daemon=True)
        reader.start()
        probes.wait_for(20)
        stopping.set()
        reader.join(PATIENCE_SECONDS)
    served.stop()
    note(fault, probes.ids, served.logged_ids(), probes.longest_silence())

    assert probes.failures == []
    assert set(probes.ids) <= served.logged_ids()


def test_bodies_of_one_byte_chunks_cost_next_to_nothing(served: Arena) -> None:
    body = b"POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (512 * 1024 // 6) + b"0\r\n\r\n"
    before = processor_seconds(served)

    with Probes(served.port) as probes, ExitStack() as stack:
        wires = [stack.enter_context(served.wire()) for _ in range(8)]
        for wire in wires:
            with suppress(OSError):  # refused before its end
                wire.send(body)
        probes.wait_for(20)
    used = processor_seconds(served) - before
    served.stop()
    note("B1", probes.ids, served.logged_ids(), probes.longest_silence())

    assert probes.failures == []
    assert used < 4


def test_a_table_sent_line_by_line_costs_about_what_it_costs_in_one_piece(served: Arena) -> None:
    lines = [b"distance,hour\n", *[b"%d.5,%d\n" % (n % 1000, n % 24) for n in range(40_000)]]
    costs, answers = [], []
    for how, sent in ((f"Content-Length: {sum(map(len, lines))}", b"".join(lines)), ("Transfer-Encoding: chunked", chunked(iter(lines)))):
        before = processor_seconds(served)
        with served.wire() as wire:
            reply = wire.ask(request(PREDICT, None, how, "Content-Type: text/csv", verb="POST"), sent)
        costs.append(processor_seconds(served) - before)
        answers.append((reply.status, [prediction["value"] for prediction in reply.json["predictions"]]))

    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert costs[1] < 3 * costs[0] + 0.5
