"""How often the estimated performance of a bucket is right: `EVERGREEN_TEST_DATA=FOLDER python -m benchmarks.monitoring estimates`.

A model is trained on the older 40 % of a real stream and answers the rest, with its rows shuffled over their times, where the relation of
features to target cannot change, and as it was. Slot by slot the estimators learn from what has matured, and say what each bucket until the
next slot will come to; that is held against what its labels say later. It is the code that judges, on counts as the loop keeps them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.serving.places import say
from monitoring.judging.estimating.answers import count_answers
from monitoring.judging.estimating.bands import LEAST_OF_BUCKET, Estimate
from monitoring.judging.estimating.class_estimator import Bucket, learn_class_estimator
from monitoring.judging.estimating.loss_model import binned
from monitoring.judging.estimating.value_estimator import learn_value_estimator
from monitoring.judging.performance.live_metrics import Reading
from monitoring.judging.performance.outcome_sums import count_outcomes, score_edges
from monitoring.performance.live_scores import SPAN
from training.clock import duration_us
from training.dataset.dataset import read_table
from training.evaluation.losses import METRICS
from training.fitting.learning import learn
from training.model_file.model_spec import ModelSpec, parse_spec
from training.profiles.bins import SCORE
from training.profiles.reference import build_reference, newest_answered
from training.progress import Silent
from training.schema.prediction import Prediction
from training.schema.rows import Rows

OLDER = 0.4  # share of a stream that is trained on
LEAST_ROWS = 1500  # of a reference, as of a baseline
WITHIN = 0.9  # of the buckets of a shuffled stream
EXAMPLES = Path(__file__).parents[2] / "examples" / "real"
ASKED = {
    "bank_marketing": ("roc_auc", "log_loss", "accuracy", "f1", "brier"),
    "elec2": ("log_loss", "accuracy", "roc_auc", "f1", "brier"),
    "kdd99": ("log_loss", "accuracy", "brier"),
    "bike_sharing": ("mae", "rmse"),
    "beijing_pm25": ("mae", "rmse"),
}
Places = npt.NDArray[np.intp]
Learn = Callable[[str, slice], "Callable[[int], Estimate | None] | None"]


@dataclass(frozen=True)
class Answered:
    """The rows of a stream behind those that were trained on, bucket by bucket, with what was answered."""

    name: str
    spec: ModelSpec
    rows: Rows
    prediction: Prediction
    bounds: Places  # of the buckets
    learned: Any  # what was trained, and the rows it was trained on

    @property
    def starts_us(self) -> npt.NDArray[np.int64]:
        width_us = duration_us(self.spec.watching.bucket)
        return self.rows.time_us[self.bounds[:-1]] // width_us * width_us


@dataclass(frozen=True, slots=True)
class Estimated:
    """An estimate of one bucket, what it came to, and what it would have been to say that it is as in the reference."""

    estimate: Estimate
    realised: float
    as_before: float


def measure_estimates(quick: bool, processes: int | None = None) -> Iterator[str]:
    """Yield the lines of the table. It is one process, however many are given. Quick is the smallest stream."""
    del processes
    folder = Path(os.environ.get("EVERGREEN_TEST_DATA", "data"))
    yield "| stream | metric | by | buckets | in the band (bar: 90 % where shuffled) | mean error | of saying: as before | half the band |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in ("bike_sharing",) if quick else ASKED:
        for is_shuffled in (True, False):
            stream = answered(name, folder, is_shuffled=is_shuffled)
            of_stream = learner_of_classes(stream) if stream.spec.schema.is_classification else learner_of_values(stream)
            for metric in ASKED[name]:
                line = _line(stream.name, metric, estimates_of(stream, metric, of_stream), is_held=is_shuffled)
                say(line)
                yield line


def _line(name: str, metric: str, some: Sequence[Estimated], *, is_held: bool) -> str:
    errors = np.array([abs(one.estimate.value - one.realised) for one in some])
    before = np.array([abs(one.as_before - one.realised) for one in some])
    halves = np.array([(one.estimate.high - one.estimate.low) / 2 for one in some])
    share = float(np.mean([one.estimate.low <= one.realised <= one.estimate.high for one in some]))
    figure = f"{share:.1%}" if share >= WITHIN or not is_held else f"**{share:.1%}, missed**"
    means = " | ".join(f"{one.mean():.3g}" for one in (errors, before, halves))
    return f"| {name} | {metric} | {some[0].estimate.method} | {len(some):,} | {figure} | {means} |"


def answered(name: str, folder: Path, *, is_shuffled: bool) -> Answered:
    """Train on the older rows, and answer the others."""
    text = re.sub(r"budget: \d+ fits", "budget: 3 fits", (EXAMPLES / f"{name}.yaml").read_text())
    spec = parse_spec(re.sub(r"^data: .*$", "data: rows.csv.gz", text, flags=re.MULTILINE))
    rows = read_table(folder / name / f"{name}.csv.gz", spec.schema, spec.read)
    if is_shuffled:
        rows = replace(rows.take(np.random.default_rng(0).permutation(len(rows))), time_us=rows.time_us)
    width_us = duration_us(spec.watching.bucket)
    cut = int(np.searchsorted(rows.time_us, (rows.time_us[int(len(rows) * OLDER)] // width_us + 1) * width_us))
    older, newer = rows.slice(0, cut), rows.slice(cut, len(rows))
    learned = learn(older, spec, Silent(), {}, None, "sequential", 1)
    number = newer.time_us // width_us
    bounds = np.append(np.flatnonzero(np.diff(number, prepend=-1)), len(newer))
    title = f"{name}, {'shuffled' if is_shuffled else 'as it was'}"
    return Answered(title, spec, newer, learned.model.predict(newer.columns), bounds, (learned, older))


def estimates_of(stream: Answered, metric: str, learner: Learn) -> list[Estimated]:
    """Return the estimates of all buckets of which enough rows have labels, and what they came to."""
    starts, watching, delay = stream.starts_us, stream.spec.watching, stream.spec.labels.delay_rows or 0
    every_us, span_us = duration_us(watching.every), max(duration_us(SPAN), duration_us(watching.window))
    tally = []
    for slot_us in range(int(starts[0]) // every_us * every_us, int(starts[-1]) + 1, every_us):
        here = np.flatnonzero((starts >= slot_us) & (starts < slot_us + every_us))
        if not len(here):
            continue
        end = int(np.searchsorted(stream.bounds, stream.bounds[here[0]] - delay, side="right")) - 1
        if end < 1:
            continue
        by_time = int(np.searchsorted(starts, starts[end - 1] - span_us, side="right"))
        by_rows = int(np.searchsorted(stream.bounds, stream.bounds[end] - LEAST_ROWS, side="right")) - 1
        begin = max(0, min(by_time, by_rows))
        estimate = learner(metric, slice(begin, end))
        if estimate is None:
            continue
        before = realised(stream, metric, begin, end)
        for bucket in here.tolist():
            one, came_to = estimate(bucket), realised(stream, metric, bucket, bucket + 1)
            if one is not None and np.isfinite(came_to) and stream.bounds[bucket + 1] - stream.bounds[bucket] >= LEAST_OF_BUCKET:
                tally.append(Estimated(one, came_to, before))
    return tally


def realised(stream: Answered, metric: str, begin: int, end: int) -> float:
    """Return the metric of the rows of some buckets."""
    part = slice(stream.bounds[begin], stream.bounds[end])
    return float(METRICS[metric].function(stream.rows.labels[part], stream.prediction.take(part)))


def learner_of_classes(stream: Answered) -> Learn:
    """Return what learns a calibration from some buckets."""
    is_binary = stream.spec.schema.task == "binary"
    learned, _ = stream.learned
    edges = score_edges(np.quantile(learned.newest.score, np.linspace(0, 1, 11)).tolist() if is_binary else ())
    group = np.repeat(np.arange(len(stream.bounds) - 1), np.diff(stream.bounds))
    sums = count_outcomes(group, stream.rows.labels, stream.prediction, edges, is_binary=is_binary)
    answers = count_answers(group, stream.prediction, edges, is_binary=is_binary)
    buckets = [Bucket(*both) for both in zip(sums, answers, strict=True)]

    def learner(metric: str, reference: slice) -> Callable[[int], Estimate | None] | None:
        estimator = learn_class_estimator(Reading(metric, stream.prediction.classes or ()), buckets[reference])
        return None if isinstance(estimator, str) else lambda bucket: estimator.estimate(answers[bucket])

    return learner


def learner_of_values(stream: Answered) -> Learn:
    """Return what learns a model of the errors from the rows of some buckets."""
    learned, older = stream.learned
    schema, watching = stream.spec.schema, stream.spec.watching
    bins = build_reference(older, schema, watching, newest_answered(learned.newest, len(older))).measures.without_derived().bins
    computed = {**stream.rows.columns, SCORE: stream.prediction.score}
    error = np.abs(stream.rows.labels.astype(np.float64) - stream.prediction.score)
    number = np.repeat(np.arange(len(stream.bounds) - 1), np.diff(stream.bounds))
    counts = [profile.counts for profile in bins.count_blocks(computed, stream.bounds)]

    def learner(metric: str, reference: slice) -> Callable[[int], Estimate | None] | None:
        part = slice(stream.bounds[reference.start], stream.bounds[reference.stop])
        some = {name: values[part] for name, values in computed.items()}
        estimator = learn_value_estimator(metric, binned(bins, some, error[part], number[part]))
        if isinstance(estimator, str):
            return None
        return lambda bucket: estimator.estimate(counts[bucket], int(stream.bounds[bucket + 1] - stream.bounds[bucket]))

    return learner
