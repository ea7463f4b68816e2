"""This checkout against an older one, measured in turn: worse only where the ranges of the rounds do not overlap."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.serving.figures import Figures, Spread
from benchmarks.serving.places import say
from benchmarks.serving.servers import BEFORE, OURS

_HIGHER_IS_BETTER = ("rate", "rows_rate")


def compare(path: Path) -> int:
    """Print a line a figure; return 1 when one is worse."""
    document = json.loads(path.read_text())
    figures = Figures(document)
    say(f"{document['meta']['servers'][BEFORE]['note']} against {document['meta']['commit']}: median (least to most)")
    say("| model | figure | before | now | now / before | |\n|---|---|--:|--:|--:|---|")
    n_worse = 0
    for model in document["meta"]["plan"]["models"]:
        for keys in _keys(document):
            before, now = figures.spread(BEFORE, model, *keys), figures.spread(OURS, model, *keys)
            if before is None or now is None:
                continue
            verdict = _verdict(before, now, is_rate=keys[-1] in _HIGHER_IS_BETTER)
            n_worse += verdict == "worse"
            say(f"| {model} | {' '.join(keys)} | {before} | {now} | {now.middle / before.middle:.2f} | {verdict} |")
    say(f"{n_worse} figures are worse")
    return int(n_worse > 0)


def _keys(document: dict[str, object]) -> list[tuple[str, ...]]:
    """List the figures that are measured, by the keys that lead to them."""
    keys: dict[tuple[str, ...], None] = {}
    for result in document["results"]:  # type: ignore[attr-defined]
        for name, value in result.items():
            if name in ("first_start_s", "start_s", "idle_mb", "load_mb"):
                keys[name,] = None
            elif isinstance(value, dict):
                keys |= dict.fromkeys((name, key) for key in ("rate", "rows_rate", "p50", "p99", "cpu_ms") if key in value)
    return list(keys)


def _verdict(before: Spread, now: Spread, *, is_rate: bool) -> str:
    if now.least > before.most:
        return "better" if is_rate else "worse"
    if now.most < before.least:
        return "worse" if is_rate else "better"
    return ""
