"""Figures side by side with their bars, and the work behind them spread over the processors."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.serving.places import say


@dataclass(frozen=True)
class Row:
    """One figure with its bar, whether it is met, and what else was measured."""

    name: str
    figure: str
    bar: str
    is_met: bool
    more: tuple[str, ...] = ()


def markdown(heads: tuple[str, str], rows: Iterable[Row], more: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a table, a figure that misses its bar in bold."""
    yield f"| {heads[0]} | {heads[1]} | bar | " + "".join(f"{m} | " for m in more).rstrip(" ")
    yield "|---|---|---|" + "---|" * len(more)
    for row in rows:
        figure = row.figure if row.is_met else f"**{row.figure}, missed**"
        yield f"| {row.name} | {figure} | {row.bar} | " + "".join(f"{m} | " for m in row.more).rstrip(" ")


def spread(work: Mapping[str, Sequence[Callable[[], Any]]], processes: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield the results of each name's calls, done by so many processes."""
    names = [name for name, calls in work.items() for _ in calls]
    calls = [call for calls in work.values() for call in calls]
    done: dict[str, list[Any]] = {name: [] for name in work}
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for name, result in zip(names, pool.imap(_call, calls), strict=True):
            done[name].append(result)
            if len(done[name]) == len(work[name]):
                say(f"# {name}: {done[name]}")
                yield name, done[name]


def _call(call: Callable[[], Any]) -> Any:
    return call()
