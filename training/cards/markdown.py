"""The model card: what a version is, how it was made and how good it is, in Markdown (pure)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from training.dataset.report import DataReport
from training.evaluation.losses import gain, is_higher_better
from training.evaluation.scores import Estimate, Metrics
from training.fitting.learning import Learned
from training.fitting.search import Rung, SearchResult
from training.model_file.model_spec import ModelSpec


def write_card(
    spec: ModelSpec,
    fitted: Learned,
    report: DataReport,
    *,
    serving: str,
    breaks: Sequence[str] = (),
    more: Sequence[str] = (),
    now: datetime,
) -> str:
    """Return the card of a version.

    Parameters
    ----------
    serving
        How it answers: compiled and proven, or by the plain pipeline and why.
    breaks
        The requests that would break against the registered contract.
    more
        In a line each, the code of the candidates that are a user's own, and what becomes of what was imported.
    """
    schema, search, metrics, baseline = spec.schema, fitted.search, fitted.evaluation, fitted.baseline
    head = [
        f"# {spec.model}",
        "",
        f"Answers **{schema.target}** ({schema.task}) from {len(schema.features)} features by {fitted.algorithm}. "
        f"Made {now:%Y-%m-%d %H:%M} UTC.",
        "",
        "## Data",
        "",
        report.to_markdown(),
        f"## Scores on {held_out(spec)}",
        "",
        measured(metrics[spec.metric].n, spec, is_imported=search is None),
        "",
        *_scores(metrics, baseline, spec.metric),
        *_warning(metrics, baseline, spec, search),
    ]
    making = _making(spec, search, fitted.calibration, serving, more)
    return "\n".join([*head, *_segments(metrics, spec.metric), *making, *_contract(breaks)]) + "\n"


def held_out(spec: ModelSpec) -> str:
    """Return in words which rows are kept for the figures of a version."""
    return "rows drawn at random" if spec.training.split == "random" else "the newest rows"


def measured(n: int, spec: ModelSpec, *, is_imported: bool) -> str:
    """Say on which rows the figures of a version were measured."""
    is_random = spec.training.split == "random"
    if is_imported:
        return (
            f"Measured on {n:,} of {held_out(spec)} by the imported model. Nobody here knows what it was fitted on: where that were "
            f"these rows too, it is not as good as they say. Intervals are 95 %, taking rows as independent. Judged by **{spec.metric}**."
        )
    return (
        f"Measured on {n:,} held-out rows by the model fitted on the {'others' if is_random else 'rows before them'}; the version that "
        f"serves was then fitted on all. Intervals are 95 %, taking rows as independent. Chosen by **{spec.metric}**."
    )


def _scores(metrics: Metrics, baseline: Metrics, chosen: str) -> list[str]:
    rows = [
        f"| {'**' + n + '**' if n == chosen else n} | {'higher' if is_higher_better(n) else 'lower'} "
        f"| {metrics[n].value:.4g} | {_span(metrics[n])} | {baseline[n].value:.4g} |"
        for n in metrics
    ]
    return ["| metric | better is | value | 95 % | constant guess |", "|---|---|--:|--:|--:|", *rows, ""]


def _warning(metrics: Metrics, baseline: Metrics, spec: ModelSpec, search: SearchResult | None) -> list[str]:
    if gain(spec.metric, metrics[spec.metric].value, baseline[spec.metric].value) > 0:
        return []
    before = (
        "" if search is None else ", though it was in validation before" if search.beats_guess(spec.judged_by) else ", nor in validation"
    )
    return [f"**On {held_out(spec)} it is no better than the constant guess**{before}.", ""]


def _span(estimate: Estimate) -> str:
    return f"{estimate.low:.4g} to {estimate.high:.4g}"


def _segments(metrics: Metrics, chosen: str) -> list[str]:
    out: list[str] = []
    for feature, values in metrics.segments.items():
        out += [f"## By {feature}", "", f"| {feature} | {chosen} | 95 % | rows |", "|---|--:|--:|--:|"]
        out += [f"| {v} | {e[chosen].value:.4g} | {_span(e[chosen])} | {e[chosen].n:,} |" for v, e in values.items()] + [""]
    return out


def _making(spec: ModelSpec, search: SearchResult | None, calibration: str, serving: str, more: Sequence[str]) -> list[str]:
    out = ["## Making", "", *(f"- {line}" for line in making(spec, search, calibration, serving, more)), ""]
    for number, rung in enumerate(() if search is None else search.rungs, start=1):
        out += _rung(number, rung, spec.metric if search is None else search.metric)
    return out


def making(spec: ModelSpec, search: SearchResult | None, calibration: str, serving: str, more: Sequence[str]) -> list[str]:
    """Return in a line each how a version was made."""
    out = [f"calibration: {calibration}", f"serving: {serving}", f"seed: {spec.training.seed}", *more]
    asked = spec.asked_of(is_imported=search is None)
    out += [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in asked.items()]
    if idle := [name for name in spec.asked if name not in asked]:
        out.append(f"not imposed on what was fitted elsewhere: {', '.join(idle)}")
    if search is None:
        return [*out, "imported: the pipeline was fitted elsewhere; whoever made it is trusted like the code that runs it"]
    return [
        *out,
        f"chosen: `{search.best.name}`",
        f"budget: {spec.training.budget}; {search.fits} fits in {search.rungs_completed} rungs, {search.seconds:.1f} s",
        *(f"**{remark}**" for remark in search.remarks),
    ]


def _rung(number: int, rung: Rung, metric: str) -> list[str]:
    head = f"Rung {number}: {rung.rows:,} rows, {rung.folds} fold{'s' if rung.folds > 1 else ''}"
    rows = [f"| {s.candidate} | {s.score:.4g} | {s.seconds:.2f} |" for s in rung.scores]
    return [head, "", f"| candidate | {metric} | s |", "|---|--:|--:|", *rows, ""]


def _contract(breaks: Sequence[str]) -> list[str]:
    if not breaks:
        return []
    return ["## Requests that would break", "", *(f"- {text}" for text in breaks), ""]
