"""Are the answers scikit-learn's? Checked before any load: one by one, a hundred at once, by many clients, ten thousand at once."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.serving.encodings import BUILD, Row, difference, read
from benchmarks.serving.load import ask, post
from benchmarks.serving.servers import Server

TOLERANCE = 1e-9
SINGLES, CLIENTS, EACH = 64, 16, 8


class WrongAnswerError(RuntimeError):
    """A server does not answer what scikit-learn does."""


@dataclass(frozen=True)
class Sample:
    """The rows and what scikit-learn says of them."""

    rows: Sequence[Row]
    expected: Sequence[float]

    def part(self, start: int, stop: int) -> tuple[list[Row], list[float]]:
        """Return some rows with their answers."""
        return list(self.rows[start:stop]), list(self.expected[start:stop])


def check_small(server: Server, port: int, sample: Sample) -> float:
    """Return the largest difference over 64 single rows, 100 rows at once and 16 clients of 8 requests at the same time.

    Raises
    ------
    WrongAnswerError
        An answer is missing or differs by more than 1e-9.
    """
    with ThreadPoolExecutor(CLIENTS) as clients:
        differences = list(clients.map(lambda k: _client(server, port, sample, k), range(CLIENTS)))
    differences += [_compare(server, server.main, port, sample, i, i + 1) for i in range(SINGLES)]
    return max(*differences, _compare(server, server.main, port, sample, 0, 100))


def check_all(server: Server, encoding: str, port: int, sample: Sample) -> float:
    """Return the largest difference over all rows in one request; errors as `check_small`."""
    return _compare(server, encoding, port, sample, 0, len(sample.rows))


def _compare(server: Server, encoding: str, port: int, sample: Sample, start: int, stop: int) -> float:
    rows, expected = sample.part(start, stop)
    answer = post(port, server.paths[encoding], BUILD[encoding](rows))
    return _judged(server, encoding, *answer, expected)


def _judged(server: Server, encoding: str, status: int, content: bytes, headers: Any, expected: list[float]) -> float:
    if status != 200:
        raise WrongAnswerError(f"{server.name} answers {status} to {encoding}: {content[:200]!r}")
    largest = difference(read(content, headers), expected)
    if largest > TOLERANCE:
        raise WrongAnswerError(f"{server.name}, {encoding}: the answer differs by {largest:.2g}")
    return largest


def _client(server: Server, port: int, sample: Sample, number: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    worst = 0.0
    for turn in range(EACH):
        at = (37 * number + 3 * turn) % 5_000
        rows, expected = sample.part(at, at + 1)
        answer = ask(connection, server.paths[server.main], BUILD[server.main](rows))
        worst = max(worst, _judged(server, server.main, *answer, expected))
    connection.close()
    return worst
