"""How a model stands, in a word, a sentence and a few figures: the head of a report (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from monitoring.report.model_facts import ModelFacts
from training.clock import duration_us, format_duration, from_us
from training.drawing.axes import moment, number
from training.drawing.page import facts, items, shortened, text
from training.evaluation.losses import is_higher_better

DAY_US = 86_400_000_000
MOST_LETTERS = 500
PROMOTED = ("promote", "rollback")


class Standing(NamedTuple):
    """A state: its word, its shape, and its colour as a class of the style."""

    word: str
    shape: str
    colour: str


def standing_of(known: ModelFacts) -> Standing:
    """Return the state of a model, the first that holds."""
    last = known.last
    if known.champion is None:
        return Standing("no champion", "○", "info")
    if last is None:
        return Standing("not judged", "○", "info")
    tested = last.evidence.get("performance") or {}
    holding = {
        Standing("data fault", "▨", "odd"): bool(last.evidence.get("faults")),
        Standing("degraded", "▼", "bad"): bool(tested.get("is_degraded")) or last.verdict == "roll_back",
        Standing("blind", "?", "info"): last.verdict == "blind",
        Standing("watched", "◑", "warn"): bool(last.evidence.get("drift", {}).get("drifting")) or last.verdict == "watch",
        Standing("no labels", "○", "info"): score_of(last.evidence) is None and not has_labels(last.evidence),
    }
    return next((state for state, holds in holding.items() if holds), Standing("fresh", "●", "good"))


def score_of(evidence: Any) -> dict[str, Any] | None:
    """Return the live score of the rows that matured at a slot."""
    score: dict[str, Any] | None = evidence.get("score")
    return score


def has_labels(evidence: Any) -> bool:
    """Return whether a slot knows of any label."""
    return bool((evidence.get("cohorts") or {}).get("labelled") or evidence.get("labels", {}).get("unseen"))


def real(value: Any) -> float:
    """Return a number of the evidence; NaN for what is none."""
    return math.nan if value is None else float(value)


def better(metric: str) -> str:
    """Say which way a metric is better."""
    return f"{'higher' if is_higher_better(metric) else 'lower'} is better"


def short(version: str | None) -> str:
    """Return what of a version parts it from others.

    Examples
    --------
    >>> short("20261130T085640Z-95091f0e5669"), short(None)
    ('95091f0e', '–')
    """
    return "–" if version is None else version.rpartition("-")[2][:8]


def head(known: ModelFacts) -> str:
    """Return the name, the state, why, and the figures that are asked for first."""
    state, last = standing_of(known), known.last
    flags = ' <span class="state info">paused</span>' if known.is_paused else ""
    title = f'<h1>{text(known.spec.model)} <span class="state {state.colour}">{state.shape} {text(state.word)}</span>{flags}</h1>'
    if last is None:
        champion = "there is no champion" if known.champion is None else "no slot was judged yet"
        every = format_duration(known.spec.watching.every)
        why = f"<p>{text(champion.capitalize())}: the loop looks every {every} of model time.</p>"
    else:
        first, *others = [shortened(reason, MOST_LETTERS) for reason in last.reasons] or [last.verdict]
        why = f"<p>{text(first)}</p>{items(others)}"
    span = f"{moment(known.start_us)} to {moment(known.end_us)} of model time" if known.end_us else "nothing was logged yet"
    made = f'<p class="soft">Evergreen report of {text(f"{known.now:%Y-%m-%d %H:%M}")} machine time: {text(span)}. All times are UTC.</p>'
    return title + why + facts(_figures(known)) + made


def _figures(known: ModelFacts) -> Iterator[tuple[str, object, object]]:
    spec, last, champion = known.spec, known.last, known.champion
    if champion is not None:
        since = "" if known.serving_since is None else f", since {known.serving_since:%Y-%m-%d} machine time"
        yield "champion", short(champion.version), f"{champion.manifest.get('algorithm')}{since}"
        through = champion.manifest["trained_through_us"]
        if spec.schema.is_dated(through):
            age = "" if known.watermark_us is None else f"{max(0, known.watermark_us - through) // DAY_US} days ago"
            yield "learned up to", f"{from_us(through):%Y-%m-%d}", age
    shown = next((one for one in reversed(known.judged) if score_of(one.evidence)), None)
    score = None if shown is None else score_of(shown.evidence)
    if score is not None and shown is not None:
        bounds = f"{number(score['low'], 4)} to {number(score['high'], 4)}, {score['n']:,} rows"
        yield f"live {score['metric']}", number(score["value"], 4), bounds
        tested = shown.evidence.get("performance")
        if tested is not None:
            yield "held against", number(tested["baseline"]["value"], 4), f"{tested['source']}, {tested['baseline']['n']:,} rows"
    if last is not None:
        coverage = last.evidence.get("labels", {}).get("coverage")
        if coverage is not None:
            yield "labelled", f"{coverage:.0%}", "of the matured rows of the last look"
        drifting = last.evidence.get("drift", {}).get("drifting", [])
        yield "drifting columns", f"{len(drifting):,}", shortened(", ".join(drifting), 80)
    if known.rows:
        yield "rows", f"{sum(known.rows.values()):,}", "in this stretch"
    if known.watermark_us is not None:
        after = "" if last is None else f"next look {moment(last.slot_us + duration_us(spec.watching.every))}"
        yield "model time", moment(known.watermark_us), after
