"""Never retrained, watched with late labels, watched with all labels at maturity: judged by all labels of every row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from scipy.stats import rankdata

from benchmarks.monitoring.late_labels import streams
from benchmarks.monitoring.late_labels.definition import blind_by_definition, late_and_needless
from benchmarks.monitoring.late_labels.feeds import Feed, Floats, Labels, labels_of, maturity_us
from benchmarks.monitoring.late_labels.loop import replay, step_of
from benchmarks.monitoring.late_labels.streams import Stream
from benchmarks.monitoring.table import Row, markdown, spread
from monitoring.backtest.driver import Driver
from monitoring.backtest.steps import Feedback
from training.clock import duration_us
from training.errors import NothingBeatsBaselineError
from training.evaluation.gate import jackknife_difference
from training.model_file.model_spec import ModelSpec, parse_spec
from training.schema.prediction import Prediction
from training.schema.rows import Rows

FEEDS = (
    "in-time",
    "class factor=10",
    "others factor=10",
    "score factor=10",
    "early factor=10",
    "class factor=10 snapshot=1",
    "stops at=0.5",
    "stops at=0.4 until=0.6",
    "conflicts at=0.4 until=0.6",
    "too-late",
    "class factor=10 slow=0.02",
    "class factor=10 slow=0.05",
    "class factor=10 slow=0.4",
)
WORST, KEPT, MOST_BLIND = -0.005, 0.8, 0.02
A_MINUTE_US = 60_000_000
NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one stream and feed; gains are shares of the score of a model that is never retrained.

    Attributes
    ----------
    gain, gain_low
        Of the watched loop, and its lower 95 % bound over blocks of time.
    reference, reference_low
        The same of the loop that gets all labels at maturity.
    promotions, in_blind
        Challengers that were promoted, and those in a slot that was blind, or called so.
    slots, blind, defined, late, needless
        Slots; those called blind; those that were; of these not called so though the one before was too; called so with none about.
    faults
        Slots in which something was quarantined.
    """

    gain: float
    gain_low: float
    reference: float
    reference_low: float
    promotions: int
    in_blind: int
    slots: int
    blind: int
    defined: int
    late: int
    needless: int
    faults: int
    rollbacks: int = 0
    reference_promotions: int = 0

    @property
    def kept(self) -> float | None:
        """The share of the reference's gain; None where the reference has none that is sure."""
        return self.gain / self.reference if self.reference_low > 0 else None


NO_MODEL = Result(0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0)


def run(name: str, text: str, runs: Path | None, *, is_short: bool) -> Result | None:
    """Run one stream with one feed, or read what an earlier run left in the folder."""
    kept = None if runs is None else runs / f"{name} {text}{' short' if is_short else ''}.json"
    if kept is not None and kept.exists():
        return Result(**json.loads(kept.read_text()))
    feed = Feed.parse(text)
    stream = streams.load(name, is_short=is_short)
    if stream is None:
        return None
    try:
        result = _run(stream.thinned(feed.slow), feed, runs)
    except NothingBeatsBaselineError:
        result = NO_MODEL
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(asdict(result)))
    return result


def _run(stream: Stream, feed: Feed, runs: Path | None) -> Result:
    spec, live = stream.spec, stream.live
    delay, too_late = spec.labels.delay, spec.labels.too_late
    assert delay is not None
    history = _as_of_the_start(stream, feed)
    with TemporaryDirectory(prefix="evergreen-late-labels-") as folder:
        driver = Driver.begin(Path(folder), spec, history)
        never = driver.answer(live)
        rank = (rankdata(never.score, method="ordinal") - 0.5) / len(live)
        slow = stream.is_slow(live, feed.slow)
        labels = labels_of(feed, delay, too_late, live.time_us, slow, rank)
        feedback = _feedback(live, labels, spec)
        watched = replay(driver, live, feedback)
        driver.close()
    in_time = replace(labels, delay_us=np.where(_ages(live, labels) > duration_us(too_late), np.inf, labels.delay_us))
    mature_us = min(maturity_us(in_time, delay, slow), duration_us(too_late))
    slots = [one.slot_us for one in watched.slots]
    defined = blind_by_definition(spec, slots, live.time_us, in_time.delay_us, rank, mature_us, int(feedback.due.min(initial=NEVER)))
    called = [one.blind is not None for one in watched.slots]
    late, needless = late_and_needless(called, defined)
    reference, reference_low, reference_promotions = _reference(stream, history, mature_us, runs)
    gain, low = _gain(spec, live, never, watched.prediction)
    return Result(
        gain,
        low,
        reference,
        reference_low,
        sum(one.outcome == "promoted" for one in watched.slots),
        sum(
            one.outcome == "promoted" and (is_called or is_so) for one, is_called, is_so in zip(watched.slots, called, defined, strict=True)
        ),
        len(slots),
        sum(called),
        sum(defined),
        late,
        needless,
        sum(one.verdict == "quarantine" for one in watched.slots),
        sum(one.outcome == "rolled_back" for one in watched.slots),
        reference_promotions,
    )


def _ages(rows: Rows, labels: Labels) -> Floats:
    """Return how old each row is when its label comes, by the clock of a log that follows rows: where there are none it stands still."""
    came = np.searchsorted(rows.time_us, rows.time_us + labels.delay_us, side="left")
    return np.asarray(rows.time_us[came - 1] - rows.time_us, dtype=np.float64)


def _as_of_the_start(stream: Stream, feed: Feed) -> Rows:
    """Return the history, of a snapshot without the labels that were still to come when the first live row did."""
    delay, history = stream.spec.labels.delay, stream.history
    if not feed.snapshot or delay is None:
        return history
    rank = np.random.default_rng(3).random(len(history))
    labels = labels_of(feed, delay, stream.spec.labels.too_late, history.time_us, stream.is_slow(history, feed.slow), rank)
    return history.unlabelled(history.time_us + labels.delay_us >= stream.live.time_us[0])


def _feedback(rows: Rows, labels: Labels, spec: ModelSpec) -> Feedback:
    """Return all labels in the order in which they come; what comes wrong first comes right a maturity later."""
    place = np.flatnonzero(np.isfinite(labels.delay_us))
    at_us = (rows.time_us[place] + labels.delay_us[place]).astype(np.int64)
    right, wrong = rows.labels[place], labels.is_wrong_first[place]
    first = np.where(wrong, _other(rows.labels, place), right)
    again_us = at_us[wrong] + duration_us(spec.watching.bucket)
    place, at_us, label = np.append(place, place[wrong]), np.append(at_us, again_us), np.append(first, right[wrong])
    order = np.argsort(at_us, kind="stable")
    return Feedback(place[order], at_us[order], label[order])


def _other(labels: Any, place: Any) -> Any:
    """Return another row's label for each row, another class where there are classes."""
    rng = np.random.default_rng(5)
    drawn = labels[rng.permutation(len(labels))][: len(place)]
    if labels.dtype != object:
        return drawn
    names = sorted(set(labels.tolist()))
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    return np.array([following[one] for one in labels[place].tolist()], dtype=object)


def _reference(stream: Stream, history: Rows, mature_us: int, runs: Path | None) -> tuple[float, float, int]:
    """Return the gain, its bound and the promotions of the loop that gets all labels at maturity, and knows when that is."""
    minutes = -(-mature_us // A_MINUTE_US)
    keys = yaml.safe_load(stream.spec.text)
    keys["labels"] = {**keys.get("labels", {}), "delay": f"{minutes}m"}
    spec = parse_spec(yaml.safe_dump(keys, sort_keys=False))
    digest = hashlib.sha256(b"".join([stream.live.time_us.tobytes(), history.time_us.tobytes(), history.is_labelled.tobytes()]))
    kept = None if runs is None else runs / f"reference {spec.model} {minutes}m {digest.hexdigest()[:12]}.json"
    if kept is not None and kept.exists():
        gain, low, promotions = json.loads(kept.read_text())
        return gain, low, promotions
    with TemporaryDirectory(prefix="evergreen-late-labels-") as folder:
        driver = Driver.begin(Path(folder), spec, history)
        never, live = driver.answer(stream.live), stream.live
        each = Labels(np.full(len(live), float(max(0, mature_us - step_of(spec)))), np.zeros(len(live), dtype=bool))
        watched = replay(driver, live, _feedback(live, each, spec))
        driver.close()
    gain, low = _gain(spec, live, never, watched.prediction)
    promotions = sum(one.outcome == "promoted" for one in watched.slots)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([gain, low, promotions]))
    return gain, low, promotions


def _gain(spec: ModelSpec, rows: Rows, never: Prediction, watched: Prediction) -> tuple[float, float]:
    """Return by how much one is better than the other on all rows, and its lower 95 % bound over blocks of time, as shares of the score."""
    metric = spec.judged_by
    difference = jackknife_difference(metric, rows.labels, never, watched)
    score = float(metric.function(rows.labels, never))
    return difference.estimate / score, difference.low / score


def late_labels(quick: bool, processes: int, only: str = "", feeds: Sequence[str] = (), runs: Path | None = None) -> Iterator[str]:
    """Run all streams with all feeds, or those whose name has `only`; yield the lines of a table.

    Parameters
    ----------
    feeds
        Other feeds, in place of `FEEDS`.
    runs
        A folder in which finished runs are kept, of one state of the code: what lies there is not run again.
    """
    pairs = [(stream, feed) for stream in streams.STREAMS for feed in feeds or FEEDS if only in f"{stream}, {feed}"]
    work = {f"{stream}, {feed}": [partial(run, stream, feed, runs, is_short=quick)] for stream, feed in pairs}
    rows = [_row(name, result) for name, (result,) in spread(work, processes) if result is not None]
    more = ("gain kept", "of a gain of", "promoted (in blind slots)", "blind slots", "by definition", "late", "needless", "quarantines")
    yield from markdown(("stream, labels", "watched against never retrained"), rows, more)


def _row(name: str, one: Result) -> Row:
    if one == NO_MODEL:
        return Row(name, "no first model: nothing beats a constant guess", "-", True, ("-",) * 8)
    feed = Feed.parse(name.partition(", ")[2])
    kept = "-" if one.kept is None else f"{one.kept:.0%}"
    is_kept = one.kept is None or one.kept >= KEPT or not feed.brings_all
    is_met = one.gain_low > WORST and is_kept and not one.in_blind and not one.late
    if feed.kind == "in-time":
        is_met &= one.blind <= MOST_BLIND * one.slots
    more = (
        kept if is_kept else f"**{kept}**",
        f"{one.reference:+.1%} (≥ {one.reference_low:+.1%}), {one.reference_promotions} promoted",
        f"{one.promotions} ({one.in_blind})",
        f"{one.blind} of {one.slots}",
        str(one.defined),
        str(one.late),
        str(one.needless),
        str(one.faults),
    )
    return Row(name, f"{one.gain:+.1%} (≥ {one.gain_low:+.1%})", f"≥ {WORST:+.1%}, {KEPT:.0%}", is_met, more)
