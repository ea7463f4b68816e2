"""The workers of a running service, seen from outside: which of them take connections, and who took which."""

from __future__ import annotations

import psutil

from tests.end_to_end.wire import Reply, Wire, request

CONNECTIONS = 12
"""Open at once: with two workers or three, more than one of them takes for itself before another looks."""


def listening(master: int, port: int) -> set[int]:
    """Return the processes of a master that hold the listening socket of a port: those that serve, and for a moment the one that drains."""
    return {child.pid for child in psutil.Process(master).children() if is_listening(child, port)}


def is_listening(process: psutil.Process, port: int) -> bool:
    """Return whether a process holds the listening socket of a port."""
    try:
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in process.net_connections("tcp4"))
    except psutil.Error:
        return False


def held_by(pid: int, port: int) -> set[int]:
    """Return the client ports of the connections to a port that a worker holds."""
    try:
        held = psutil.Process(pid).net_connections("tcp4")
    except psutil.Error:
        return set()
    return {each.raddr.port for each in held if each.raddr and each.laddr.port == port}


def answering(master: int, port: int, path: str = "/livez", connections: int = CONNECTIONS) -> dict[int, Reply]:
    """Ask over fresh connections, all open at once; return an answer of each worker that took one."""
    wires: list[Wire] = []
    try:
        for _ in range(connections):
            wires.append(Wire(port))
        for wire in wires:
            wire.send(request(path))
        replies = [wire.reply() for wire in wires]
        owners = {own_port: pid for pid in listening(master, port) for own_port in held_by(pid, port)}
        return {owners[wire.own_port]: reply for wire, reply in zip(wires, replies, strict=True) if wire.own_port in owners}
    except (OSError, EOFError):
        return {}
    finally:
        for wire in wires:
            wire.socket.close()


def are_up(master: int, port: int, number: int) -> bool:
    """Return whether so many workers are ready, and nobody else holds the port any more.

    A service is ready with its first worker, and a worker whose model takes longer than its patience to load answers before it is ready.
    """
    replies = answering(master, port, "/readyz")
    return len(listening(master, port)) == len(replies) == number and {reply.status for reply in replies.values()} == {200}
