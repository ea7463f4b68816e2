"""Ports for what a test starts: two tests never get the same one, not even of two processes that run at once."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

BELOW_THE_EPHEMERAL = range(20000, 32000)
_taken: list[int] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and keep it for this process as long as it lives.

    Looking and listening are seconds apart, where a model is trained between them; a lock on a file of the port's name keeps others
    from finding it free meanwhile. The kernel gives none of these ports to an outgoing connection.
    """
    folder = Path(tempfile.gettempdir()) / f"evergreen-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in random.sample(BELOW_THE_EPHEMERAL, len(BELOW_THE_EPHEMERAL)):
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _taken.append(lock)
        return port
    raise RuntimeError("no free port")
