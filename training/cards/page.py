"""The model card as a page: what a version answers, how often it is right, where it is weak, and how it was made, with drawings (pure)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from training.cards.markdown import held_out, making, measured
from training.dataset.report import DataReport
from training.drawing.axes import number
from training.drawing.bars import Bin, Interval, histogram_pair, intervals
from training.drawing.lines import Behind, Point, line_with_band
from training.drawing.page import Caption, Table, document, facts, section, shortened, text
from training.drawing.svg import SQUARE, Axis
from training.evaluation.curves import Curves
from training.evaluation.importance import Importances, sentence_of
from training.evaluation.losses import gain, is_higher_better
from training.evaluation.scores import Estimate, Metrics, wilson
from training.fitting.learning import Learned
from training.fitting.search import Rung
from training.model_file.model_spec import ModelSpec

MOST_COLUMNS, MOST_DRAWN, MOST_CANDIDATES = 300, 25, 40


def write_card_page(
    spec: ModelSpec,
    fitted: Learned,
    report: DataReport,
    *,
    serving: str,
    breaks: Sequence[str] = (),
    more: Sequence[str] = (),
    now: datetime,
) -> str:
    """Return the card of a version as HTML, which needs no script and nothing else; the parameters are those of `write_card`."""
    schema, metrics, baseline = spec.schema, fitted.evaluation, fitted.baseline
    task = f"({text(schema.task)}) from {len(schema.features):,} features by {text(fitted.algorithm)}"
    answers = f"<p>Answers <b>{text(schema.target)}</b> {task}.</p><p>{' '.join(_plainly(spec, fitted))}</p>"
    main = metrics[spec.metric]
    figures = facts(
        [
            (spec.metric, number(main.value, 4), f"{number(main.low, 4)} to {number(main.high, 4)} (95 %)"),
            (
                "constant guess",
                number(baseline[spec.metric].value, 4),
                "higher is better" if is_higher_better(spec.metric) else "lower is better",
            ),
            ("held-out rows", f"{main.n:,}", held_out(spec)),
            ("learned from", f"{report.labelled:,} labelled rows", _span(report)),
            ("made", f"{now:%Y-%m-%d %H:%M} UTC", "machine time"),
        ]
    )
    parts = [
        section("scores", f"Scores on {held_out(spec)}", f"<p>{_inline(measured(main.n, spec, is_imported=fitted.search is None))}</p>",
                _scores(metrics, baseline)),
        _drawn(fitted.curves, spec),
        importance_section(fitted.importances),
        _segments(metrics, spec.metric),
        _data(report, is_classification=schema.is_classification),
        section("making", "Making", _list(making(spec, fitted.search, fitted.calibration, serving, more)),
                *(_rung(place, rung, spec.metric) for place, rung in enumerate(fitted.search.rungs if fitted.search else (), start=1))),
        section("breaks", "Requests that would break", _list(breaks)) if breaks else "",
    ]  # fmt: skip
    return document(f"{spec.model}: model card", f"<h1>{text(spec.model)}</h1>", answers, figures, *parts)


def _plainly(spec: ModelSpec, fitted: Learned) -> list[str]:
    """Say how often it is right, against the constant guess, and where it is weakest."""
    curves, metrics, baseline = fitted.curves, fitted.evaluation, fitted.baseline
    out = []
    if curves.right is not None and curves.n:
        of_guess = f"; the constant guess {round(1000 * baseline['accuracy'].value):,}" if "accuracy" in baseline.overall else ""
        out.append(f"Of 1,000 such rows it answers about {round(1000 * curves.right / curves.n):,} right{of_guess}.")
    if curves.off is not None:
        out.append(f"Half of its answers are off by less than {number(curves.off[0])}, nine tenths by less than {number(curves.off[1])}.")
    if not gain(spec.metric, metrics[spec.metric].value, baseline[spec.metric].value) > 0:
        out.append(f'<b class="bad">On {held_out(spec)} it is no better than the constant guess.</b>')
    sign = -1 if is_higher_better(spec.metric) else 1
    known = [
        (sign * scores[spec.metric].value, feature, value, scores[spec.metric])
        for feature, by_value in metrics.segments.items()
        for value, scores in by_value.items()
        if math.isfinite(scores[spec.metric].value)
    ]
    if known:
        _, feature, value, score = max(known, key=lambda one: one[0])
        named = f"{text(feature)} = {text(shortened(value, 60))}"
        out.append(f"It is weakest where {named}: {text(spec.metric)} {number(score.value, 4)} on {score.n:,} rows.")
    return out


def _span(report: DataReport) -> str:
    return f"{report.start:%Y-%m-%d} to {report.end:%Y-%m-%d}" if report.start and report.end else "without times"


def _bounds(estimate: Estimate) -> str:
    return f"{estimate.low:.4g} to {estimate.high:.4g}"


def _scores(metrics: Metrics, baseline: Metrics) -> str:
    rows = [
        (
            name,
            "higher" if is_higher_better(name) else "lower",
            f"{metrics[name].value:.4g}",
            _bounds(metrics[name]),
            f"{baseline[name].value:.4g}",
        )
        for name in metrics
    ]
    return Table(("metric", "better is", "value", "95 %", "constant guess"), rows, frozenset({2, 3, 4})).html()


def _drawn(curves: Curves, spec: ModelSpec) -> str:
    """Draw where it is right and where not."""
    small = [*_classes(curves, spec), *_numbers(curves, spec)]
    if not small:
        return ""
    confusion = _confusion(curves) if curves.confusion else ""
    return section("right", "Where it is right", f'<div class="small">{"".join(small)}</div>', confusion)


def _classes(curves: Curves, spec: ModelSpec) -> Iterable[str]:
    if curves.calibration:
        points = []
        for mean, rows, hits in curves.calibration:
            low, high = wilson(hits, rows)
            points.append(Point(mean, hits / rows, low, high, f"{hits:,} of {rows:,} rows"))
        gap = sum(abs(mean * rows - hits) for mean, rows, hits in curves.calibration) / curves.n
        caption = Caption(
            "Calibration", f"What was given a probability came true that often, but for {gap:.1%} in the mean; 95 % intervals."
        )
        axes = Axis("probability", 0.0, 1.0), Axis("came true", 0.0, 1.0)
        yield line_with_band(caption, points, *axes, Behind(dashed=[(0.0, 0.0, 1.0, 1.0)]), SQUARE)
    for name, corners in (curves.roc or {}).items():
        area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(corners))
        caption = Caption(
            f"ROC of {shortened(name, 40)}", f"Area {area:.3f}: the share found of its rows, against the share of the others called so."
        )
        axes = Axis("called so of others", 0.0, 1.0), Axis("called so of its own", 0.0, 1.0)
        yield line_with_band(caption, [Point(*corner) for corner in corners], *axes, Behind(dashed=[(0.0, 0.0, 1.0, 1.0)]), SQUARE)
    if curves.scores:
        edges = [place / len(curves.scores) for place in range(len(curves.scores) + 1)]
        bins = [Bin(f"{a:.2f} to {b:.2f}", *shares) for a, b, shares in zip(edges, edges[1:], curves.scores, strict=False)]
        positive = next(iter(curves.roc or {}), spec.schema.positive or "the positive class")
        caption = Caption("Score by class", f"Outline: rows that are {shortened(positive, 40)}; filled: the others.")
        yield histogram_pair(caption, bins, edges, ("the others", shortened(positive, 40)))


def _numbers(curves: Curves, spec: ModelSpec) -> Iterable[str]:
    if curves.bands:
        points = [Point(band.predicted, band.true, band.low, band.high) for band in curves.bands]
        ends = [value for band in curves.bands for value in (band.predicted, band.true)]
        line = (min(ends), min(ends), max(ends), max(ends))
        caption = Caption(
            "Predicted and true", "Tenths of the rows by prediction: mean, and where four fifths of the true values lie. Dashed: equal."
        )
        yield line_with_band(caption, points, Axis("predicted"), Axis(spec.schema.target), Behind(dashed=[line]), SQUARE)
    edges, shares = curves.residuals
    if shares:
        bins = [Bin(f"{number(a)} to {number(b)}", share, math.nan) for a, b, share in zip(edges, edges[1:], shares, strict=False)]
        caption = Caption("Residuals", "True less predicted; the ends hold what lies beyond.")
        yield histogram_pair(caption, bins, edges, ("rows",))


def _confusion(curves: Curves) -> str:
    table = curves.confusion or {}
    names = [shortened(name, 40) for name in table]
    rows = [(shortened(name, 40), *(f"{n:,}" for n in row.values())) for name, row in table.items()]
    inner = Table(("true \\ answered", *names), rows, frozenset(range(1, len(names) + 1))).html()
    return f"<h3>True classes against answers</h3>{inner}"


def importance_section(known: Importances | None) -> str:
    """Return the section of what the answers go by; nothing where nobody looked."""
    if known is None:
        return ""
    if known.missing is not None:
        return section("importance", "What it goes by", f"<p>Not known: {text(known.missing)}.</p>")
    strongest = f"the strongest {len(known.columns)} of {known.of:,} columns" if len(known.columns) < known.of else "all columns"
    sentence = (
        f"By how much {known.metric} gets worse on {known.rows:,} held-out rows when a column's values are shuffled among them, "
        f"each by itself; 95 % intervals, {strongest}."
    )
    ends = [abs(end) for one in known.columns for end in (one.value, one.low, one.high) if math.isfinite(end) and end]
    places = 3 - math.floor(math.log10(max(ends, default=1.0)))  # what is a thousandth of the largest is nothing
    rows = [Interval(c.column, round(c.value, places), round(c.low, places), round(c.high, places)) for c in known.columns]
    alike = sentence_of([[shortened(name, 40) for name in names] for names in known.alike])
    drawn = intervals(Caption("Importance of columns", sentence), rows, Axis(f"{known.metric} worse by"), 0.0)
    return section("importance", "What it goes by", drawn, f"<p>{text(alike)}</p>" if alike else "")


def _segments(metrics: Metrics, metric: str) -> str:
    drawings = []
    for feature, by_value in metrics.segments.items():
        rows = [Interval(value, e[metric].value, e[metric].low, e[metric].high, f"{e[metric].n:,} rows") for value, e in by_value.items()]
        better = "Higher" if is_higher_better(metric) else "Lower"
        caption = Caption(f"{metric} by {feature}", f"{better} is better; {number(metrics[metric].value, 4)} over all (dashed).")
        drawings += [intervals(caption, rows, Axis(metric), metrics[metric].value)] if rows else []
    return section("segments", "Segments", *drawings) if drawings else ""


def _data(report: DataReport, *, is_classification: bool) -> str:
    sentences = [f"{report.rows:,} rows, {report.labelled:,} labelled, {report.duplicates:,} duplicates."]
    if report.classes:
        sentences.append(
            "Classes: " + ", ".join(f"{shortened(name, 60)} {count:,}" for name, count in list(report.classes.items())[:50]) + "."
        )
    if report.too_new:
        sentences.append(f"{report.too_new:,} of the newest rows are left out: their labels may still come (labels.delay).")
    problems = _list(f"**{problem}**" for problem in report.problems) if report.problems else "<p>Nothing looks wrong.</p>"
    alone = sorted((c for c in report.columns if math.isfinite(c.alone)), key=lambda c: -c.alone)[:MOST_DRAWN]
    score = "ROC AUC" if is_classification else "R²"
    drawn = intervals(
        Caption("How well each column predicts by itself", f"{score} of a small tree that sees only this column."),
        [Interval(c.name, c.alone) for c in alone], Axis(score), 0.5 if is_classification else 0.0,
    ) if alone else ""  # fmt: skip
    rows = [
        (c.name, c.kind, f"{c.missing:.1%}", f"{c.out_of_range:.1%}", f"{c.distinct:,}", "–" if math.isnan(c.alone) else f"{c.alone:.2f}")
        for c in report.columns[:MOST_COLUMNS]
    ]
    table = Table(("column", "kind", "missing", "out of range", "distinct", "alone"), rows, frozenset({2, 3, 4, 5})).html()
    left = len(report.columns) - len(rows)
    rest = f'<p class="soft">{left:,} more columns are left out here.</p>' if left > 0 else ""
    return section("data", "Data", f"<p>{text(' '.join(sentences))}</p>", problems, drawn, table, rest)


def _rung(place: int, rung: Rung, metric: str) -> str:
    rows = [(s.candidate, f"{s.score:.4g}", f"{s.seconds:.2f}") for s in rung.scores[:MOST_CANDIDATES]]
    head = f"<h3>Rung {place}: {rung.rows:,} rows, {rung.folds} fold{'s' if rung.folds > 1 else ''}</h3>"
    return head + Table(("candidate", metric, "s"), rows, frozenset({1, 2})).html()


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_inline(line)}</li>' for line in lines)}</ul>"


def _inline(line: str) -> str:
    """Return a line of the Markdown card as HTML: what it has in bold or as code, and nothing else, is."""
    bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text(line))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", bold)
