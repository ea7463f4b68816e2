"""The bars: what must be reached (floor) and what is aimed at (goal), judged from the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.serving.figures import BIG, Document, Figures, Spread, percent
from benchmarks.serving.servers import OURS

LINEAR, FOREST, BOOSTING = "logistic", "forest", "boosting"
START_SECONDS = 1.5
JSON = ("instances", "list", "split", "tensors")
"""The peers' encodings that are JSON."""
LEAST_ANSWERS = 100
"""A p99 that rests on fewer answers says nothing."""


@dataclass(frozen=True)
class Bar:
    """One bar and what was measured.

    Parameters
    ----------
    floor, goal
        A goal of None: the floor is the goal.
    against
        The peer that was best.
    is_upper
        Whether less is better.
    """

    name: str
    model: str
    floor: float
    goal: float | None
    measured: Spread | None
    against: str
    is_upper: bool = False
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """``met`` (where there is no goal beyond the floor), ``met goal``, ``met floor``, ``missed`` or ``not measured``."""
        if self.measured is None:
            return "not measured"
        sign = -1 if self.is_upper else 1
        is_met = sign * self.measured.middle >= sign * self.floor
        if self.goal is None or not is_met:
            return "met" if is_met else "**missed**"
        return "met goal" if sign * self.measured.middle >= sign * self.goal else "met floor"

    def line(self) -> str:
        """Write it as a row of a table."""
        sign = "≤" if self.is_upper else "≥"
        goal = "" if self.goal is None else f"{sign} {self.goal:g} {self.unit}"
        measured = "" if self.measured is None else f"{self.measured} {self.unit}"
        return f"| {self.name} | {self.model} | {sign} {self.floor:g} {self.unit} | {goal} | {measured} | {self.against} | {self.verdict} |"


def bars(figures: Figures, document: Document) -> Iterator[Bar]:
    """Yield all bars; those without figures are yielded as not measured."""
    for model in (LINEAR, FOREST, BOOSTING):
        yield _faster(figures, model, "1 row, 1 connection: p50, their best unbatched / ours", 10, 12, ("c1", "p50"), unbatched=True)
    for model, floor, goal in ((LINEAR, 4, 6), (FOREST, 3, 4), (BOOSTING, 3, 6)):
        yield _more(figures, model, "64 connections: requests/s, ours / their best", floor, goal, ("c64", "rate"))
    for model in (LINEAR, FOREST, BOOSTING):
        yield _faster(figures, model, "64 connections: p99, their best / ours", 1, None, ("c64", "p99"))
    for model, floor, goal in ((LINEAR, 8.0, None), (FOREST, 1.0, 1.5), (BOOSTING, 1.5, None)):
        yield _more(figures, model, "100 rows a request: requests/s, ours / their best", floor, goal, ("rows100", "rate"))
    yield from _big(figures)
    yield _faster(
        figures, LINEAR, "CPU a request at 16 connections, their best unbatched / ours", 8, None, ("c16", "cpu_ms"), unbatched=True
    )
    for kind, name in (("idle_mb", "idle"), ("load_mb", "after the load")):
        for model in (LINEAR, FOREST, BOOSTING):
            yield _memory(figures, model, kind, f"memory (PSS) {name}, ours / their leanest")
    for model in (LINEAR, FOREST, BOOSTING):
        for key, name in (("first_start_s", "first start"), ("start_s", "restart")):
            taken = figures.spread(OURS, model, key)
            yield Bar(f"{name} to the first good answer", model, START_SECONDS, None, taken, "", is_upper=True, unit="s")
    yield from _ceiling(document)


def _best(figures: Figures, model: str, keys: tuple[str, ...], pick: Callable, *, unbatched: bool = False) -> str:
    """Return the name of the best peer; nothing when none was measured."""
    candidates = []
    for peer in figures.peers(unbatched=unbatched):
        value = figures.middle(peer, model, *keys)
        count = figures.middle(peer, model, keys[0], "count") if keys[-1] == "p99" else None
        if value and (count is None or count >= LEAST_ANSWERS):
            candidates.append((value, peer))
    return pick(candidates)[1] if candidates else ""


def _faster(
    figures: Figures, model: str, name: str, floor: float, goal: float | None, keys: tuple[str, ...], *, unbatched: bool = False
) -> Bar:
    best = _best(figures, model, keys, min, unbatched=unbatched)
    return Bar(name, model, floor, goal, figures.ratio((best, keys), (OURS, keys), model), best)


def _more(figures: Figures, model: str, name: str, floor: float, goal: float | None, keys: tuple[str, ...]) -> Bar:
    best = _best(figures, model, keys, max)
    return Bar(name, model, floor, goal, figures.ratio((OURS, keys), (best, keys), model), best)


def _memory(figures: Figures, model: str, kind: str, name: str) -> Bar:
    best = _best(figures, model, (kind,), min)
    return Bar(name, model, 1.2, 1, figures.ratio((OURS, (kind,)), (best, (kind,)), model), best, is_upper=True)


_ROWS: tuple[tuple[str, tuple[str, ...], str, float, float | None], ...] = (
    ("row JSON", ("rows",), LINEAR, 1.2, 1.5),
    ("row JSON", ("rows",), FOREST, 1, None),
    ("row JSON", ("rows",), BOOSTING, 1, None),
    ("columnar JSON", ("columns",), LINEAR, 3, None),
    ("Arrow or binary tensors", ("arrow", "raw tensors"), LINEAR, 10, None),
)


def _big(figures: Figures) -> Iterator[Bar]:
    """Yield 10,000 rows in one request: our JSON against the best of their JSON, our binary forms against the best of all theirs."""
    for name, encodings, model, floor, goal in _ROWS:
        ours = figures.best_encoding(OURS, model, encodings)
        among = JSON if "JSON" in name else ()
        theirs = [(*fastest, peer) for peer in figures.peers() if (fastest := figures.best_encoding(peer, model, among))]
        measured, against = None, ""
        if ours and theirs:
            _, encoding, against = max(theirs)
            over, under = ((OURS, (BIG + ours[1], "rows_rate")), (against, (BIG + encoding, "rows_rate")))
            measured = figures.ratio(over, under, model)
        yield Bar(f"10,000 rows a request, {name}: rows/s, ours / their best", model, floor, goal, measured, against)


def _ceiling(document: Document) -> Iterator[Bar]:
    ours = document["meta"].get("fronts", {}).get("ours")
    for connections in (1, 16, 64):
        cell = f"c{connections}"
        rate = Spread.of(r[f"predict {cell}"]["rate"] for r in document["ceiling"])
        same = Spread.of(r[f"constant {cell}"]["rate"] for r in document["ceiling"])
        bare = Spread.of(r[cell]["rate"] for r in document["fronts"] if r["worker"] == ours)
        for name, limit in (("a constant route of the same application", same), ("a constant route of a bare Flask", bare)):
            ratio = percent(rate, limit) if rate and limit else None
            yield Bar(f"ceiling, {connections} connections: requests/s, of {name}", LINEAR, 75, 85, ratio, "", unit="%")
