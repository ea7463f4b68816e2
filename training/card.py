"""The model card: what a version is, how it was made and how good it is, in Markdown (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from training.datareport import DataReport
from training.evaluation import Estimate, Metrics
from training.metrics import METRICS
from training.search import Rung, SearchResult
from training.spec import ModelSpec


def write_card(
    spec: ModelSpec,
    *,
    now: datetime,
    report: DataReport,
    metrics: Metrics,
    baseline: Metrics,
    search: SearchResult | None,
    algorithm: str,
    calibration: str,
    serving: str,
    breaks: Sequence[str] = (),
) -> str:
    """Return the card of a version.

    Parameters
    ----------
    metrics, baseline
        Scores of the chosen candidate and of the constant guess on the held-out newest rows.
    search
        None for a model that was imported.
    serving
        How it answers: compiled and proven, or by the plain pipeline and why.
    breaks
        The requests that would break against the registered contract.
    """
    schema = spec.schema
    head = [
        f"# {spec.model}",
        "",
        f"Answers **{schema.target}** ({schema.task}) from {len(schema.features)} features by {algorithm}. Made {now:%Y-%m-%d %H:%M} UTC.",
        "",
        "## Data",
        "",
        report.to_markdown(),
        "## Scores on the newest rows",
        "",
        f"Measured on {metrics[spec.metric].n:,} held-out rows by the model fitted on the rows before them; the version that "
        f"serves was then fitted on all. Intervals are 95 %, taking rows as independent. Chosen by **{spec.metric}**.",
        "",
        *_scores(metrics, baseline, spec.metric),
        *_warning(metrics, baseline, spec.metric),
    ]
    return "\n".join([*head, *_segments(metrics, spec.metric), *_making(spec, search, calibration, serving), *_contract(breaks)]) + "\n"


def _scores(metrics: Metrics, baseline: Metrics, chosen: str) -> list[str]:
    rows = [
        f"| {'**' + n + '**' if n == chosen else n} | {'higher' if METRICS[n].higher_is_better else 'lower'} "
        f"| {metrics[n].value:.4g} | {_span(metrics[n])} | {baseline[n].value:.4g} |"
        for n in metrics
    ]
    return ["| metric | better is | value | 95 % | constant guess |", "|---|---|--:|--:|--:|", *rows, ""]


def _warning(metrics: Metrics, baseline: Metrics, chosen: str) -> list[str]:
    if METRICS[chosen].gain(metrics[chosen].value, baseline[chosen].value) > 0:
        return []
    return ["**On the newest rows it is no better than the constant guess**, though it was in validation before them.", ""]


def _span(estimate: Estimate) -> str:
    return f"{estimate.low:.4g} to {estimate.high:.4g}"


def _segments(metrics: Metrics, chosen: str) -> list[str]:
    out: list[str] = []
    for feature, values in metrics.segments.items():
        out += [f"## By {feature}", "", f"| {feature} | {chosen} | 95 % | rows |", "|---|--:|--:|--:|"]
        out += [f"| {v} | {e[chosen].value:.4g} | {_span(e[chosen])} | {e[chosen].n:,} |" for v, e in values.items()] + [""]
    return out


def _making(spec: ModelSpec, search: SearchResult | None, calibration: str, serving: str) -> list[str]:
    out = ["## Making", "", f"- calibration: {calibration}", f"- serving: {serving}", f"- seed: {spec.training.seed}"]
    if search is None:
        return [*out, "- imported: the pipeline was fitted elsewhere; whoever made it is trusted like the code that runs it", ""]
    out += [
        f"- chosen: `{search.best.name}`",
        f"- budget: {spec.training.budget}; {search.fits} fits in {search.rungs_completed} rungs, {search.seconds:.1f} s",
        "",
    ]
    for number, rung in enumerate(search.rungs, start=1):
        out += _rung(number, rung, search.metric)
    return out


def _rung(number: int, rung: Rung, metric: str) -> list[str]:
    head = f"Rung {number}: {rung.rows:,} rows, {rung.folds} fold{'s' if rung.folds > 1 else ''}"
    rows = [f"| {s.candidate} | {s.score:.4g} | {s.seconds:.2f} |" for s in rung.scores]
    return [head, "", f"| candidate | {metric} | s |", "|---|--:|--:|", *rows, ""]


def _contract(breaks: Sequence[str]) -> list[str]:
    if not breaks:
        return []
    return ["## Requests that would break", "", *(f"- {text}" for text in breaks), ""]
