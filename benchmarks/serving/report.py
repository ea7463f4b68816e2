"""Result files to markdown: what was measured on what, a table a model, the bars, the fronts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.serving.bars import bars
from benchmarks.serving.figures import BIG, Document, Figures, Spread, merged, short
from benchmarks.serving.fronts import CONNECTIONS, HALVES
from benchmarks.serving.load import QUIET
from benchmarks.serving.places import say

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_COLUMNS = (
    ("1 conn. p50 ms", ("c1", "p50")),
    ("p99 ms", ("c1", "p99")),
    ("16 conn. req/s", ("c16", "rate")),
    ("CPU ms/req", ("c16", "cpu_ms")),
    ("64 conn. req/s", ("c64", "rate")),
    ("p99 ms", ("c64", "p99")),
    ("100 rows req/s", ("rows100", "rate")),
    ("start s", ("start_s",)),
    ("idle MB", ("idle_mb",)),
    ("loaded MB", ("load_mb",)),
)
ROUNDS, SECONDS, SHARE = 5, 10.0, 0.05
_CELLS = ("c1", "c16", "c64", "rows100")


def write_report(files: list[Path], into: Path | None) -> int:
    """Write the tables of some result files to standard output, or between the markers of a page."""
    text = "\n".join(report(merged([json.loads(path.read_text()) for path in files])))
    if into is None:
        say(text)
        return 0
    replace_between(into, BEGIN, END, text)
    return 0


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put `text` between two markers of a page."""
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def report(document: Document) -> Iterator[str]:
    """Yield the lines."""
    figures = Figures(document)
    if figures.results:
        yield from _about(figures)
        yield from _bars(figures, document)
        for model in figures.models:
            yield from _model(figures, model)
        yield from _encodings(figures)
    if document["fronts"]:
        yield from _fronts(document)


def _about(figures: Figures) -> Iterator[str]:
    meta = figures.meta
    plan = meta["plan"]
    yield f"Measured {meta['when']} at {meta['commit']} on {meta['machine']}; Python {meta['python']}; {meta['wrk']}."
    yield f"`{meta['command']}`: {plan['rounds']} rounds, {plan['seconds']:g} s a cell."
    noisy, cells = figures.noisy(QUIET)
    if plan["rounds"] < ROUNDS or plan["seconds"] < SECONDS or noisy > SHARE * cells:
        yield f"\n**A trial, not the benchmark**: that takes {ROUNDS} rounds of {SECONDS:g} s on quiet cores. The figures prove nothing."
    absent = ", ".join(meta.get("absent", []))
    if absent:
        yield f"\n**NOT MEASURED, because not installed: {absent}.**"
    for server, model, error in figures.failed:
        yield f"\n**FAILED: {server} with {model}: {error[:200]}**"
    yield f"\nCells kept although other processes used more than {QUIET} cores meanwhile, after repeats: {noisy} of {cells}."
    yield "\n| server | versions | how |\n|---|---|---|"
    for server in figures.servers:
        facts = meta["servers"].get(server, {"versions": {}, "note": ""})
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        yield f"| {server} | {versions} | {facts['note']} |"
    yield "\n| model | joblib MB | served by Evergreen |\n|---|--:|---|"
    for model, facts in meta["models"].items():
        yield f"| {model} | {facts['megabytes']} | {facts['serving']} |"


def _bars(figures: Figures, document: Document) -> Iterator[str]:
    yield "\n### Bars\n"
    yield "| bar | model | floor | goal | measured | against | |\n|---|---|--:|--:|--:|---|---|"
    judged = list(bars(figures, document))
    for bar in judged:
        yield bar.line()
    verdicts = [bar.verdict.strip("*") for bar in judged]
    counts = (
        f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(("met goal", "met floor", "met", "missed", "not measured"))
    )
    yield f"\n{', '.join(counts)}."


def _model(figures: Figures, model: str) -> Iterator[str]:
    yield f"\n### {model}\n"
    names = ["server", *(name for name, _ in _COLUMNS), "10,000 rows: rows/s (best encoding)", "bad", "max diff"]
    yield f"| {' | '.join(names)} |\n|---|{'--:|' * (len(names) - 1)}"
    for server in figures.servers:
        cells = [_text(figures.spread(server, model, *keys)) for _, keys in _COLUMNS]
        best = figures.best_encoding(server, model)
        bad = sum((figures.spread(server, model, cell, "bad") or Spread(0, 0, 0)).most for cell in _CELLS)
        worst = figures.spread(server, model, "difference")
        if worst is not None:
            cells += ["" if best is None else short(best[0]), f"{bad:.0f}", f"{worst.most:.1e}"]
            yield f"| {server} | {' | '.join(cells)} |"


def _text(spread: Spread | None) -> str:
    return "" if spread is None else str(spread)


def _encodings(figures: Figures) -> Iterator[str]:
    yield "\n### 10,000 rows in one request, rows/s by encoding\n"
    yield f"| server | encoding | body MB | {' | '.join(figures.models)} |\n|---|---|--:|{'--:|' * len(figures.models)}"
    for server in figures.servers:
        for encoding in dict.fromkeys(e for model in figures.models for e in figures.encodings(server, model)):
            rates = [_text(figures.spread(server, model, BIG + encoding, "rows_rate")) for model in figures.models]
            sizes = [figures.middle(server, model, BIG + encoding, "megabytes") for model in figures.models]
            yield f"| {server} | {encoding} | {max(size or 0 for size in sizes):.1f} | {' | '.join(rates)} |"


def _fronts(document: Document) -> Iterator[str]:
    about = document["meta"]["fronts"]
    yield "\n### Fronts\n"
    yield f"A constant route of a bare Flask application, 2 workers of 4 threads, requests/s; the last columns with {about['slow']} slow"
    yield "clients connected, each adding a byte a second to half a request, on a route that reads the body (16 normal clients).\n"
    cells = [*(f"c{n}" for n in CONNECTIONS), *HALVES]
    yield f"| worker | {' | '.join(cells)} |\n|---|{'--:|' * len(cells)}"
    for worker in dict.fromkeys(r["worker"] for r in document["fronts"]):
        rates = [Spread.of(r[cell]["rate"] for r in document["fronts"] if r["worker"] == worker) for cell in cells]
        yield f"| {worker} | {' | '.join(map(_text, rates))} |"
    names = list(dict.fromkeys(name for r in document["ceiling"] for name in r if name != "round"))
    yield "\nEvergreen's own application on its worker, requests/s: the prediction route, and a constant route added to it.\n"
    yield f"| {' | '.join(names)} |\n|{'--:|' * len(names)}"
    yield f"| {' | '.join(_text(Spread.of(r[name]['rate'] for r in document['ceiling'])) for name in names)} |"
