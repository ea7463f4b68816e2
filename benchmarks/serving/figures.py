"""Figures out of result files: medians with their spread, the best peer, ratios."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.serving.servers import OURS

Document = dict[str, Any]
Place = tuple[str, Sequence[str]]
"""A server and the keys of a figure."""
BIG = "rows10000 "


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the spread of some values; None of none.

        Examples
        --------
        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(middle=2.0, least=1.0, most=3.0)
        """
        known = list(values)
        return cls(median(known), min(known), max(known)) if known else None

    def __str__(self) -> str:
        return short(self.middle) if self.least == self.most else f"{short(self.middle)} ({short(self.least)}–{short(self.most)})"


def short(value: float) -> str:
    """Write a number with three digits that count.

    Examples
    --------
    >>> short(12345.6), short(12.34), short(0.1234)
    ('12,346', '12.3', '0.123')
    """
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 1
        else f"{value:.3f}"
    )


def merged(documents: Sequence[Document]) -> Document:
    """Return several files as one: results one after the other, the facts of the first that has them."""
    out: Document = {"meta": {}, "results": [], "fronts": [], "ceiling": []}
    for document in documents:
        for name, value in document.get("meta", {}).items():
            known = out["meta"].get(name)
            out["meta"][name] = {**value, **known} if isinstance(known, dict) and isinstance(value, dict) else known or value
        for kind in ("results", "fronts", "ceiling"):
            out[kind] += document.get(kind, [])
    return out


class Figures:
    """The results of a run, by server and model."""

    def __init__(self, document: Document) -> None:
        self.meta: dict[str, Any] = document["meta"]
        self.results: list[dict[str, Any]] = [r for r in document["results"] if "error" not in r]
        self.failed = sorted({(r["server"], r["model"], r["error"]) for r in document["results"] if "error" in r})
        self.models = list(dict.fromkeys(r["model"] for r in document["results"]))
        self.servers = sorted(dict.fromkeys(r["server"] for r in document["results"]), key=lambda s: s != OURS)

    def spread(self, server: str, model: str, *keys: str) -> Spread | None:
        """Return a figure over the rounds; the keys lead to it, as in ``"c64", "rate"``."""
        values = [_at(r, keys) for r in self.results if (r["server"], r["model"]) == (server, model)]
        return Spread.of(value for value in values if value is not None)

    def rounds(self, server: str, model: str, *keys: str) -> dict[int, float]:
        """Return a figure by round."""
        values = {r["round"]: _at(r, keys) for r in self.results if (r["server"], r["model"]) == (server, model)}
        return {number: value for number, value in values.items() if value}

    def ratio(self, over: Place, under: Place, model: str) -> Spread | None:
        """Return one server's figure over another's: of the medians, and the spread of the rounds."""
        above, below = (self.rounds(place[0], model, *place[1]) for place in (over, under))
        each = Spread.of(above[number] / below[number] for number in above if number in below)
        return None if each is None else Spread(median(above.values()) / median(below.values()), each.least, each.most)

    def middle(self, server: str, model: str, *keys: str) -> float | None:
        """Return the median of a figure."""
        spread = self.spread(server, model, *keys)
        return None if spread is None else spread.middle

    def peers(self, *, unbatched: bool = False) -> list[str]:
        """Return the measured peers, those that batch left out if so chosen."""
        facts = self.meta["servers"]
        return [s for s in self.servers if s != OURS and not (unbatched and facts.get(s, {}).get("is_batching"))]

    def encodings(self, server: str, model: str) -> list[str]:
        """Return the encodings in which all rows were sent at once."""
        names = (name for r in self.results if (r["server"], r["model"]) == (server, model) for name in r if name.startswith(BIG))
        return [name.removeprefix(BIG) for name in dict.fromkeys(names)]

    def best_encoding(self, server: str, model: str, among: Sequence[str] = ()) -> tuple[float, str] | None:
        """Return rows a second and name of the encoding a server is best with, among some or all."""
        encodings = [e for e in self.encodings(server, model) if not among or e in among]
        rates = ((self.middle(server, model, BIG + encoding, "rows_rate"), encoding) for encoding in encodings)
        return max(((rate, encoding) for rate, encoding in rates if rate), default=None)

    def noisy(self, limit: float) -> tuple[int, int]:
        """Return how many cells were kept although others used more than `limit` cores meanwhile, of how many."""
        shares = [c["foreign"] for r in self.results for c in r.values() if isinstance(c, dict) and "foreign" in c]
        return sum(foreign > limit for foreign in shares), len(shares)


def percent(above: Spread, below: Spread) -> Spread:
    """Return the ratio of two medians in percent; its ends are those of the quotients of extremes.

    Examples
    --------
    >>> percent(Spread(8.0, 7.0, 9.0), Spread(10.0, 10.0, 10.0))
    Spread(middle=80.0, least=70.0, most=90.0)
    """
    return Spread(100 * above.middle / below.middle, 100 * above.least / below.most, 100 * above.most / below.least)


def _at(result: Any, keys: Sequence[str]) -> float | None:
    for key in keys:
        result = result.get(key) if isinstance(result, dict) else None
    return result if isinstance(result, int | float) else None
