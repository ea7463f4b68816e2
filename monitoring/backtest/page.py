"""The report of a back-test: one file that needs no script and fetches nothing (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from monitoring.backtest.backtest import Backtest
from monitoring.backtest.living import Trained
from monitoring.backtest.policies import HINDSIGHT, YOURS
from monitoring.backtest.scoring import Score, moment_of
from training.drawing.axes import moment, number
from training.drawing.bars import Interval, intervals
from training.drawing.lines import Behind, Point, line_with_band
from training.drawing.page import Caption, Table, document, facts, items, section, text
from training.drawing.points import Dot, named_points
from training.drawing.strips import Cell, Strip, heat_strip, key
from training.drawing.svg import Axis, grouped

LEVELS = (
    (0.0, "h0", "not behind"),
    (0.05, "h1", "up to 5 %"),
    (0.1, "h2", "up to 10 %"),
    (0.25, "h3", "up to 25 %"),
    (math.inf, "h4", "more"),
)
MOST_DRAWN = 3  # policies over time, beside the user's


def page_of(done: Backtest) -> str:
    """Return what came of a back-test as HTML."""
    axis = Axis("model time", done.starts_us[0], done.ends_us, is_time=True)
    shown = [YOURS, *(one.policy for one in done.better[:MOST_DRAWN])]
    over_time = "".join(_over_time(done, score, axis) for score in done.scores if score.policy in shown)
    return document(
        f"{done.model}: back-test",
        _head(done),
        section("policies", "Policies", _table(done), _differences(done), _against_fits(done)),
        _blocks(done),
        section("time", "Over time", _behind(done, axis), over_time),
        section("trainings", "Trainings of the model file's policy", _trainings(done.trainings.get(YOURS, ()))),
        section("how", "How to read it", items(_explained(done))),
    )


def _head(done: Backtest) -> str:
    span = f"{moment_of(done.starts_us[0])} to {moment_of(done.ends_us)}"
    known = [
        ("rows lived through", f"{done.live_rows:,}", f"after the first {done.first_rows:,}, which were learned from"),
        ("slots", f"{len(done.starts_us):,}", span),
        ("compared by", done.loss, "lower is better"),
        *([("a fit costs", number(done.price), "as a sum of the loss of rows")] if done.price else []),
    ]
    return f"<h1>{text(done.model)}: back-test</h1><p>{text(done.verdict)}</p>{facts(known)}{items(done.notes)}"


def _table(done: Backtest) -> str:
    headings = (
        "policy",
        "",
        done.loss,
        "behind hindsight",
        "degraded",
        "fits",
        "seconds",
        "promoted",
        "harmful",
        "refused",
        "taken back",
        "alarms",
        "false",
    )
    rows = [
        (
            one.policy, one.sentence, number(one.loss, 4),
            "–" if one.regret is None else f"{one.regret:+.1f} %", "–" if one.degraded is None else f"{one.degraded:.0%}",
            *(str(n) for n in (one.fits, round(one.seconds), one.promotions, one.harmful, one.refused + one.failed, one.rolled_back)),
            str(one.alarms), str(one.false_alarms),
        )
        for one in done.scores
    ]  # fmt: skip
    return Table(headings, rows, frozenset(range(2, len(headings))), frozenset({1})).html()


def _differences(done: Backtest) -> str:
    known = [one for one in done.scores if one.gain is not None and one.gain.is_defined]
    if not known:
        return "<p>No difference from the model file's policy: there are no others, or too few rows.</p>"
    rows = [Interval(one.policy, one.gain.estimate, one.gain.low, one.gain.high, one.sentence) for one in known if one.gain is not None]
    surely = ", ".join(one.policy for one in done.better) or "none"
    caption = Caption(
        f"By how much {done.loss} is lower than under the model file",
        f"Right of the dashed line a policy is better; the intervals, by blocks of time, hold together with 95 %; surely better: {surely}.",
    )
    return intervals(caption, rows, Axis(f"{done.loss} less"), reference=0.0)


def _against_fits(done: Backtest) -> str:
    dots = [Dot(one.policy, one.fits, one.loss, _kind(one), one.sentence) for one in done.scores]
    best = min(done.scores, key=lambda one: one.loss)
    caption = Caption(
        f"{done.loss} against fits",
        f"The further down and to the left, the more for less; the least, {number(best.loss, 4)}, has {best.policy}.",
    )
    return named_points(caption, dots, Axis("fits", low=0.0), Axis(done.loss))


def _kind(one: Score) -> str:
    return "good" if one.is_better else "warn" if one.policy == YOURS else ""


def _blocks(done: Backtest) -> str:
    if not done.better:
        return ""
    parts = [
        f"<h3>{text(one.policy)}: {text(one.sentence)}</h3>"
        + (
            f'<div class="scroll"><pre><code>{text(one.block)}</code></pre></div>'
            if one.block
            else f"<p>{text(one.policy)} is a model file.</p>"
        )
        for one in done.better
    ]
    return section("paste", "To paste into the model file", *parts)


def _behind(done: Backtest, axis: Axis) -> str:
    """Draw by how much each policy is behind hindsight, or without that the user's, slot by slot."""
    by_name = {one.policy: one for one in done.scores}
    reference = by_name.get(HINDSIGHT, by_name[YOURS])
    strips = [Strip(one.policy, _cells(done, one, reference)) for one in done.scores if one.policy != reference.policy]
    if not strips:
        return ""
    worst = max((one for one in done.scores if one.policy != reference.policy), key=lambda one: one.loss)
    caption = Caption(
        f"Behind {reference.policy}, slot by slot",
        f"By which share {done.loss} is above that of {reference.policy}; in all it is most under {worst.policy}: {number(worst.loss, 4)}.",
    )
    return heat_strip(caption, strips, axis) + key([(kind, name) for _, kind, name in LEVELS])


def _cells(done: Backtest, one: Score, reference: Score) -> list[Cell]:
    edges = [*done.starts_us, done.ends_us]
    slots = list(zip(pairwise(edges), one.losses, reference.losses, strict=False))
    cells = []
    for group in grouped(slots):
        known = [ours / theirs - 1 for _, ours, theirs in group if math.isfinite(ours) and theirs > 0]
        if known:
            mean = sum(known) / len(known)
            kind = next(kind for most, kind, _ in LEVELS if mean <= most)
            cells.append(Cell(group[0][0][0], group[-1][0][1], kind, f"{100 * mean:+.1f} %"))
    return cells


def _over_time(done: Backtest, one: Score, axis: Axis) -> str:
    reference = next((each for each in done.scores if each.policy == HINDSIGHT and each.policy != one.policy), None)
    edges = [*done.starts_us, done.ends_us]
    slots = list(zip(pairwise(edges), one.losses, strict=False))
    points = [Point((start + stop) / 2, loss) for (start, stop), loss in slots]
    dashed = [] if reference is None else [
        (float(start), loss, float(stop), loss) for (start, stop), loss in zip(pairwise(edges), reference.losses, strict=False)
    ]  # fmt: skip
    colours = {"promoted": "good", "rolled_back": "bad"}
    moves = [(float(slot.slot_us), colours[slot.outcome], slot.reason) for slot in done.moves.get(one.policy, ())]
    last = "" if reference is None else f", hindsight (dashed) {number(reference.loss, 4)}"
    caption = Caption(
        f"{done.loss} under {one.policy}",
        f"{number(one.loss, 4)} in the mean{last}. Upright lines are promotions ({one.promotions}) and roll-backs ({one.rolled_back}).",
    )
    return line_with_band(caption, points, axis, Axis(done.loss), Behind((), dashed, moves))


def _trainings(trainings: Sequence[Trained]) -> str:
    if not trainings:
        return "<p>There were none.</p>"
    rows = [
        (
            moment(one.slot_us),
            one.trigger,
            one.outcome or "not over",
            f"{one.seconds:.1f}",
            number(one.champion_loss, 4),
            number(one.challenger_loss, 4),
        )
        for one in trainings
    ]
    headings = ("slot", "asked for by", "outcome", "seconds", "the champion's loss, next slots", "its own")
    return Table(headings, rows, frozenset({3, 4, 5})).html()


def _explained(done: Backtest) -> list[str]:
    return [
        "Every row was answered by the champion of its time; losses are by true labels, also where the loop saw others or none yet.",
        "yours, every..., alarm and other model files are the loop as it is: verdicts, gate, probation. never is the first version.",
        "hindsight is no policy: it refits at every slot, without a gate, on the one window that turned out best, which nobody could know.",
        "Degraded: the mean loss of three slots is more than a tenth above that of hindsight.",
        "Harmful: a promoted version that lost more than 2 % to the one it replaced, on the rows of the next six slots.",
        "False: a training that an alarm asked for, whose version was less than 0.5 % better there, or that left none.",
        "The intervals leave out one block of time after the other (25, jackknife), and hold together with 95 % (Bonferroni).",
        *(["With a price, a difference counts what more or fewer fits cost."] if done.price else []),
    ]
