"""Metrics from sums, held against scikit-learn and against the metrics of rows, however rows are parted and in whatever order they come."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from monitoring.judging.performance.live_metrics import LOSS_OF, Reading, fairness_names, joined_blocks
from monitoring.judging.performance.outcome_sums import MOST_RANKED, OutcomeSums, add_up, count_outcomes, score_edges
from monitoring.judging.performance.scores import score
from training.evaluation.losses import METRICS, cost_metric
from training.evaluation.scores import estimate
from training.profiles.bin_edges import numeric_edges
from training.schema.costs import Costs
from training.schema.prediction import Prediction

BINARY, MULTI = ("no", "yes"), ("a", "b", "c", "d")
COSTS = Costs(BINARY, ((0.0, 1.0), (7.0, 0.0)))
CLASSES = {"binary": BINARY, "multiclass": MULTI, "regression": ()}


@dataclass(frozen=True)
class Sample:
    """Labelled rows and what was answered."""

    task: str
    y: np.ndarray[Any, Any]
    prediction: Prediction
    edges: tuple[float, ...]

    def sums(self, group: np.ndarray[Any, Any] | None = None, rows: Any = slice(None)) -> list[OutcomeSums]:
        y = self.y[rows]
        number = np.zeros(len(y), np.intp) if group is None else np.unique(group[rows], return_inverse=True)[1]
        return count_outcomes(number, y, self.prediction.take(rows), self.edges, is_binary=self.task == "binary")


def sample(task: str, seed: int, n: int = 3000) -> Sample:
    """Rows of a task; of classes the model is sure and wrong at times, of numbers the target lies far from zero."""
    rng = np.random.default_rng([seed, n])
    if task == "regression":
        y = 1e4 + rng.gamma(2.0, 3.0, n)
        return Sample(task, y, Prediction(y + rng.standard_t(4, n)), ())
    classes = CLASSES[task]
    shift = rng.normal(0, 1, len(classes))
    strength = rng.uniform(0.3, 3.0)
    place = rng.integers(len(classes), size=n)
    logits = shift + rng.normal(0, 1, (n, len(classes)))
    logits[np.arange(n), place] += strength
    odds = np.exp(rng.uniform(0.5, 2.0) * logits)
    probability = odds / odds.sum(axis=1, keepdims=True)
    names = np.array(classes, dtype=object)
    reference = numeric_edges(probability[:500, -1]) if task == "binary" else ()
    prediction = Prediction(names[probability.argmax(axis=1)], probability, classes)
    return Sample(task, names[place], prediction, score_edges(reference))


TASKS = ("binary", "multiclass", "regression")
OF_TASK = [(task, name) for task in TASKS for name, metric in METRICS.items() if task in metric.tasks]


@pytest.mark.parametrize(("task", "name"), OF_TASK, ids=[f"{name}-{task}" for task, name in OF_TASK])
def test_a_metric_from_sums_is_that_of_the_rows(task: str, name: str) -> None:
    some = [sample(task, seed, n) for seed in range(12) for n in (1000, 3000)]

    off = [abs(Reading(name, CLASSES[task]).value(one.sums()[0]) - METRICS[name].function(one.y, one.prediction)) for one in some]

    assert max(off) <= (0.002 if name == "roc_auc" else 1e-9)


def positive(one: Sample) -> np.ndarray[Any, Any]:
    return one.y == "yes"


def probability(one: Sample) -> np.ndarray[Any, Any]:
    assert one.prediction.probability is not None
    return one.prediction.probability


LABELS = {"zero_division": 0.0}
SKLEARN: dict[tuple[str, str], Callable[[Sample], float]] = {
    ("binary", "accuracy"): lambda s: sk.accuracy_score(s.y, s.prediction.label),
    ("binary", "balanced_accuracy"): lambda s: sk.balanced_accuracy_score(s.y, s.prediction.label),
    ("binary", "precision"): lambda s: sk.precision_score(s.y, s.prediction.label, pos_label="yes", **LABELS),
    ("binary", "recall"): lambda s: sk.recall_score(s.y, s.prediction.label, pos_label="yes", **LABELS),
    ("binary", "f1"): lambda s: sk.f1_score(s.y, s.prediction.label, pos_label="yes", **LABELS),
    ("binary", "roc_auc"): lambda s: sk.roc_auc_score(positive(s), probability(s)[:, 1]),
    ("binary", "log_loss"): lambda s: sk.log_loss(s.y, probability(s), labels=list(BINARY)),
    ("binary", "brier"): lambda s: sk.brier_score_loss(positive(s), probability(s)[:, 1]),
    ("multiclass", "accuracy"): lambda s: sk.accuracy_score(s.y, s.prediction.label),
    ("multiclass", "balanced_accuracy"): lambda s: sk.balanced_accuracy_score(s.y, s.prediction.label),
    ("multiclass", "precision"): lambda s: sk.precision_score(s.y, s.prediction.label, average="macro", **LABELS),
    ("multiclass", "recall"): lambda s: sk.recall_score(s.y, s.prediction.label, average="macro", **LABELS),
    ("multiclass", "f1"): lambda s: sk.f1_score(s.y, s.prediction.label, average="macro", **LABELS),
    ("multiclass", "roc_auc"): lambda s: sk.roc_auc_score(s.y, probability(s), multi_class="ovr", labels=list(MULTI)),
    ("multiclass", "log_loss"): lambda s: sk.log_loss(s.y, probability(s), labels=list(MULTI)),
    ("regression", "mae"): lambda s: sk.mean_absolute_error(s.y, s.prediction.label),
    ("regression", "rmse"): lambda s: math.sqrt(sk.mean_squared_error(s.y, s.prediction.label)),
    ("regression", "r2"): lambda s: sk.r2_score(s.y, s.prediction.label),
}


@pytest.mark.parametrize(("task", "name"), SKLEARN, ids=[f"{name}-{task}" for task, name in SKLEARN])
def test_a_metric_from_sums_is_that_of_scikit_learn(task: str, name: str) -> None:
    some = [sample(task, seed) for seed in range(12)]

    off = [abs(Reading(name, CLASSES[task]).value(one.sums()[0]) - SKLEARN[task, name](one)) for one in some]

    assert max(off) <= (0.002 if name == "roc_auc" else 1e-9)


@pytest.mark.parametrize(("shape", "places"), [((2, 5), (0.1, 0.9)), ((0.1, 0.1), (0.3, 0.7)), ((30, 30), (0.45, 0.55))])
@pytest.mark.parametrize("squeeze", [1.0, 0.5], ids=["as it was", "half as far apart"])
def test_roc_auc_holds_where_scores_lie_otherwise_than_the_reference(
    shape: tuple[float, float], places: tuple[float, float], squeeze: float
) -> None:
    rng = np.random.default_rng(2)
    score_of = np.clip(rng.beta(*shape, 40_000), 1e-9, 1 - 1e-9)
    edges = score_edges(numeric_edges(score_of[:2000]))
    log_odds = squeeze * np.log(score_of / (1 - score_of)) + np.log(places[0] / (1 - places[0]))
    live = 1 / (1 + np.exp(-log_odds))
    y = np.where(rng.random(len(live)) < score_of, "yes", "no").astype(object)
    prediction = Prediction(np.where(live > 0.5, "yes", "no").astype(object), np.stack([1 - live, live], axis=1), BINARY)

    live_auc = Reading("roc_auc", BINARY).value(Sample("binary", y, prediction, edges).sums()[0])

    assert live_auc == pytest.approx(sk.roc_auc_score(y == "yes", live), abs=0.002)


def test_the_models_costs_are_those_of_the_rows() -> None:
    one = sample("binary", 4)

    reading = Reading("cost", BINARY, COSTS)

    assert reading.value(one.sums()[0]) == pytest.approx(cost_metric(COSTS).function(one.y, one.prediction), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in LOSS_OF if name != "cost"])
def test_mean_and_variance_of_a_bucket_are_those_of_its_rows(name: str) -> None:
    task = METRICS[name].tasks[0]
    one = sample(task, 5)
    per_row = {"miss": "accuracy", "log_loss": "log_loss", "absolute_error": "mae", "brier": "brier"}[LOSS_OF[name]]
    loss = METRICS[per_row].per_row_loss
    assert loss is not None
    of_rows = loss(one.y, one.prediction)

    bucket = Reading(name, CLASSES[task]).bucket_loss(7, one.sums()[0], "place=coast")

    assert (bucket.bucket_us, bucket.n, bucket.segment) == (7, 3000, "place=coast")
    assert (bucket.mean, bucket.variance) == (pytest.approx(of_rows.mean(), abs=1e-9), pytest.approx(of_rows.var(), abs=1e-9))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, 5), st.integers(1, 12), st.randoms(use_true_random=False), st.integers(2, 200))
def test_parts_in_any_order_make_the_whole(task: str, seed: int, n_parts: int, random: Any, n: int) -> None:
    one = sample(task, seed, n)
    group = np.array([random.randrange(n_parts) for _ in range(n)])
    parts = one.sums(group)
    random.shuffle(parts)

    joined = add_up(OutcomeSums.from_bytes(part.to_bytes()) for part in parts)

    whole = one.sums()[0]
    assert (joined.n, joined.confusion, joined.scores, set(joined.classes)) == (whole.n, whole.confusion, whole.scores, set(whole.classes))
    names = [name for name, metric in METRICS.items() if task in metric.tasks]
    values = [[Reading(name, CLASSES[task]).value(sums) for name in names] for sums in (joined, whole)]
    assert values[0] == pytest.approx(values[1], abs=1e-9, nan_ok=True)


def test_what_rows_do_not_define_is_not_known() -> None:
    none, certain = OutcomeSums(), sample("binary", 1, 60)
    one_class = Sample("binary", np.full(60, "no", dtype=object), certain.prediction, certain.edges).sums()[0]
    level = count_outcomes(np.zeros(9, np.intp), np.full(9, 2.0), Prediction(np.arange(9.0)), (), is_binary=False)[0]

    assert math.isnan(Reading("accuracy", BINARY).value(none))
    assert math.isnan(Reading("roc_auc", BINARY).value(one_class))
    assert math.isnan(Reading("r2").value(level))
    assert all(math.isnan(end) for end in Reading("roc_auc", BINARY).within(one_class))
    assert Reading("roc_auc", BINARY).over([one_class] * 30) is None
    assert Reading("accuracy", BINARY).over([one_class.plus(one_class)]) is None


def test_a_class_that_only_a_later_version_knows_had_no_probability_before() -> None:
    both = sample("multiclass", 3, 600)
    assert both.prediction.probability is not None
    older = both.prediction.probability[:300, :3]
    older = older / older.sum(axis=1, keepdims=True)
    known = Prediction(np.array(MULTI[:3], dtype=object)[older.argmax(axis=1)], older, MULTI[:3])
    newer = both.prediction.take(slice(300, None))
    parts = [
        *Sample("multiclass", both.y[:300], known, both.edges).sums(),
        *Sample("multiclass", both.y[300:], newer, both.edges).sums(),
    ]
    whole = Prediction.concat([known.aligned(MULTI), newer])

    names = [name for name, metric in METRICS.items() if "multiclass" in metric.tasks]
    off = {name: abs(Reading(name, MULTI).value(add_up(parts)) - METRICS[name].function(both.y, whole)) for name in names}

    assert off.pop("roc_auc") <= 0.002
    assert max(off.values()) <= 1e-9


def test_of_very_many_classes_no_scores_are_kept() -> None:
    n, classes = 400, tuple(f"c{number:02d}" for number in range(MOST_RANKED + 1))
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.ones(len(classes)), n)
    names = np.array(classes, dtype=object)
    y = names[rng.integers(len(classes), size=n)]
    prediction = Prediction(names[chances.argmax(axis=1)], chances, classes)

    sums = Sample("multiclass", y, prediction, score_edges()).sums()[0]

    assert sums.scores == {}
    assert math.isnan(Reading("roc_auc", classes).value(sums))
    assert Reading("f1", classes).value(sums) == pytest.approx(METRICS["f1"].function(y, prediction), abs=1e-9)


@pytest.mark.parametrize(("task", "name"), OF_TASK, ids=[f"{name}-{task}" for task, name in OF_TASK])
def test_blocks_of_equal_buckets_have_the_interval_of_the_rows(task: str, name: str) -> None:
    one = sample(task, 8, 2500)

    by_bucket = Reading(name, CLASSES[task]).over(one.sums(np.arange(2500) // 100))
    by_row = score(one.y, one.prediction, name)

    assert by_bucket is not None
    assert by_row is not None
    rough = {"abs": 0.004} if name == "roc_auc" else {"rel": 1e-6}
    assert (by_bucket.low, by_bucket.high) == (pytest.approx(by_row.low, **rough), pytest.approx(by_row.high, **rough))


def test_an_interval_over_buckets_of_all_sizes_holds_the_rate_in_nineteen_of_twenty() -> None:
    rng = np.random.default_rng(4)
    reading = Reading("accuracy", BINARY)

    def holds() -> bool:
        days = rng.integers(1, 60, size=90)
        right = rng.binomial(days, 0.8)
        buckets = [
            OutcomeSums(n, BINARY, {("no", "no"): hit, ("no", "yes"): n - hit})
            for n, hit in zip(days.tolist(), right.tolist(), strict=True)
        ]
        interval = reading.over(buckets)
        assert interval is not None
        return interval.low <= 0.8 <= interval.high

    inside = sum(holds() for _ in range(300))

    assert 0.91 * 300 <= inside <= 0.99 * 300


def test_blocks_hold_all_rows_and_stay_as_they_are_when_joined_again() -> None:
    buckets = [OutcomeSums(n) for n in np.random.default_rng(3).integers(0, 40, size=400).tolist()]

    blocks = joined_blocks(buckets)

    assert joined_blocks(blocks) == blocks
    assert 20 <= len(blocks) <= 25
    assert sum(one.n for one in blocks) == sum(one.n for one in buckets)
    assert min(one.n for one in blocks) >= 8
    assert joined_blocks([OutcomeSums(3), OutcomeSums(2)]) == []


KNOWN = [(task, name) for task, name in OF_TASK if name != "r2"]


@pytest.mark.parametrize(("task", "name"), KNOWN, ids=[f"{name}-{task}" for task, name in KNOWN])
def test_the_interval_of_one_bucket_is_about_that_of_its_rows(task: str, name: str) -> None:
    one = sample(task, 9)

    low, high = Reading(name, CLASSES[task]).within(one.sums()[0])

    of_rows = estimate(METRICS[name], one.y, one.prediction)
    assert low < of_rows.value < high or name == "calibration_error"
    assert high - low == pytest.approx(of_rows.high - of_rows.low, rel=0.35)


def test_what_is_asked_of_segments_is_what_scikit_learn_counts() -> None:
    one = sample("binary", 12)
    sums = one.sums()[0]
    table = sk.confusion_matrix(one.y, one.prediction.label, labels=list(BINARY))

    values = [Reading(name, BINARY).value(sums) for name in fairness_names("binary", "log_loss")[1:]]
    ends = [Reading(name, BINARY).within(sums) for name in fairness_names("binary", "log_loss")[1:]]

    gap = probability(one)[:, 1].mean() - (one.y == "yes").mean()
    assert values == pytest.approx([table[:, 1].sum() / 3000, table[1, 1] / table[1].sum(), gap], abs=1e-9)
    assert all(low < value < high for value, (low, high) in zip(values, ends, strict=True))
    assert Reading("mean_error").value(sample("regression", 1).sums()[0]) == pytest.approx(
        (sample("regression", 1).prediction.label - sample("regression", 1).y).mean(), abs=1e-9
    )


def test_sums_of_a_newer_format_are_refused() -> None:
    import zlib

    with pytest.raises(ValueError, match="format 99, wanted 2: a newer Evergreen wrote them"):
        OutcomeSums.from_bytes(zlib.compress(b'{"v":99}'))


def test_a_number_that_is_no_number_of_this_world_breaks_no_sum() -> None:
    y = np.array([1.0, 2.0, 1e200, 3.0])

    sums = count_outcomes(np.array([0, 0, 0, 1]), y, Prediction(np.array([1.0, 2.5, 3.0, -1e300])), (), is_binary=False)

    for one in (*sums, add_up(sums)):
        loss = Reading("mae").bucket_loss(0, one)
        assert math.isfinite(loss.mean)
        assert math.isfinite(loss.variance)
        assert OutcomeSums.from_bytes(one.to_bytes()) == one
