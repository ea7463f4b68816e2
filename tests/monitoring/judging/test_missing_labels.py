"""Metrics where labels are missing, held against those of all rows: nearer to them with weights, and within the interval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from monitoring.judging.performance.live_metrics import LeftOut, Reading, leave_one_out
from monitoring.judging.performance.outcome_sums import OutcomeSums, add_up, score_edges
from monitoring.judging.performance.scores import Score
from monitoring.judging.unlabelled.missing_labels import MissingLabels, Scale
from monitoring.judging.unlabelled.score_weights import MILLION, ScoreWeights
from monitoring.judging.unlabelled.strata import Due, count_by_stratum, count_due, strata_edges
from training.evaluation.weighted import weighted
from training.profiles.bin_edges import numeric_edges
from training.schema.costs import Costs
from training.schema.prediction import Prediction

CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}
COSTS = Costs(("no", "yes"), ((0.0, 1.0), (7.0, 0.0)))
BLOCKS = 20


@dataclass(frozen=True)
class Sample:
    """Rows of twenty buckets, in order, of which some have their label."""

    task: str
    y: np.ndarray
    prediction: Prediction
    is_labelled: np.ndarray

    @cached_property
    def edges(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        reference = numeric_edges(sample(self.task, 99, 4000).prediction.score)
        return score_edges(reference if self.task == "binary" else ()), strata_edges(self.task, reference)

    @property
    def scale(self) -> Scale:
        return Scale.of(*self.edges, is_binary=self.task == "binary")

    @property
    def due(self) -> Due:
        (due,) = count_due(np.zeros(len(self.y), np.intp), self.prediction, self.edges[1], is_binary=self.task == "binary")
        return due

    def blocks(self, of: np.ndarray) -> list[OutcomeSums]:
        bucket = np.arange(len(self.y)) * BLOCKS // len(self.y)
        return count_by_stratum(
            np.unique(bucket[of], return_inverse=True)[1], self.y[of], self.prediction.take(of), self.edges, is_binary=self.task == "binary"
        )

    def reading(self, name: str) -> Reading:
        return Reading(name, CLASSES[self.task], COSTS)

    @cached_property
    def whole(self) -> OutcomeSums:
        return add_up(self.blocks(np.ones(len(self.y), bool)))

    def of_all(self, name: str) -> float:
        return self.reading(name).value(self.whole)

    def plain(self, name: str) -> float:
        return self.reading(name).value(add_up(self.labelled))

    @cached_property
    def labelled(self) -> list[OutcomeSums]:
        return self.blocks(self.is_labelled)

    @cached_property
    def missing(self) -> MissingLabels | None:
        return MissingLabels.find(add_up(self.labelled), self.due, self.scale)

    @cached_property
    def left_out(self) -> tuple[LeftOut | None, LeftOut | None]:
        return None if self.missing is None else self.missing.left_out(self.labelled), leave_one_out(self.labelled)

    def corrected(self, name: str) -> Score:
        left_out, plain = self.left_out
        assert self.missing is not None
        assert left_out is not None
        assert plain is not None
        both = self.missing.over(self.reading(name), left_out, plain)
        assert both is not None
        return both[0]


def sample(task: str, seed: int, n: int) -> Sample:
    """Rows whose model errs more the nearer its score is to the middle (of numbers: the larger they are)."""
    rng = np.random.default_rng([seed, n])
    if task == "regression":
        value = rng.gamma(2.0, 3.0, n)
        return Sample(task, value + rng.standard_normal(n) * (0.2 + 0.3 * value), Prediction(value), np.ones(n, bool))
    classes = CLASSES[task]
    odds = np.exp(rng.normal(0, 1.6, (n, len(classes))) - 0.7 * np.arange(len(classes)))
    probability = odds / odds.sum(axis=1, keepdims=True)
    place = (probability.cumsum(axis=1) < rng.uniform(size=(n, 1))).sum(axis=1)
    names = np.array(classes, dtype=object)
    return Sample(task, names[place], Prediction(names[probability.argmax(axis=1)], probability, classes), np.ones(n, bool))


def lacking(whole: Sample, how: str, seed: int = 0) -> Sample:
    """Return the rows where a part of the labels is missing: by score, of one class, of one stratum, or evenly."""
    score, draw = whole.prediction.score, np.random.default_rng(seed).uniform(size=len(whole.y))
    rank = np.argsort(np.argsort(score)) / len(score)
    chance = {
        "by score": 0.6 * rank**2,
        "by low score": 0.8 * (1 - rank),
        "of one class": 0.5 * (whole.y == whole.y[rank.argmax()]),
        "of one stratum": (rank > 0.6) & (rank < 0.75),
        "evenly": np.full(len(score), 0.1),
    }[how]
    return Sample(whole.task, whole.y, whole.prediction, draw >= chance)


BINARY = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss", "brier", "roc_auc", "calibration_error", "cost")
NAMES = {
    "binary": (*BINARY, "selection_rate", "true_positive_rate", "calibration_gap"),
    "multiclass": tuple(name for name in BINARY if name not in ("cost", "roc_auc")),
    "regression": ("mae", "rmse", "mean_error"),
}
HOW = ("by score", "by low score", "of one class", "of one stratum")
CHANCE = {"cost": 0.1, "mae": 0.05, "rmse": 0.1, "mean_error": 0.05}
"""What a metric of 4,000 rows may be off by chance where a third of them is not known; of others a hundredth and a half."""


@pytest.mark.parametrize("how", HOW[:2])
@pytest.mark.parametrize("task", NAMES)
def test_where_labels_are_missing_by_score_metrics_are_those_of_all_rows_but_for_chance(task: str, how: str) -> None:
    one = lacking(sample(task, 1, 4000), how)

    off = {name: one.corrected(name).value - one.of_all(name) for name in NAMES[task]}

    unweighted = {name: abs(one.plain(name) - one.of_all(name)) for name in NAMES[task]}
    assert {name: away for name, away in off.items() if abs(away) > max(0.2 * unweighted[name], CHANCE.get(name, 0.015))} == {}
    assert max(unweighted.values()) > 0.05


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_whatever_labels_are_missing_the_interval_holds_the_metric_of_all_rows(task: str, how: str) -> None:
    one = lacking(sample(task, 2, 3000), how)
    names = [*NAMES[task], "roc_auc"]

    scores = {name: one.corrected(name) for name in names}

    assert [name for name in names if not scores[name].low <= one.of_all(name) <= scores[name].high] == []
    assert {score.n for score in scores.values()} == {int(one.is_labelled.sum())}


def test_roc_auc_of_several_classes_has_its_worst_case_and_no_weights() -> None:
    one = lacking(sample("multiclass", 2, 3000), "by score")
    assert one.missing is not None

    score, correction = one.corrected("roc_auc"), one.missing.correction(one.reading("roc_auc"))

    assert score.value == pytest.approx(one.plain("roc_auc"))
    assert correction.sentence.startswith("not weighted, since of several classes each has a score of its own: labelled rows score lower")


def test_labels_that_are_missing_evenly_are_not_taken_for_more() -> None:
    whole = sample("binary", 3, 2000)

    seen = [lacking(whole, "evenly", seed).missing for seed in range(60)]

    assert sum(one is not None for one in seen) <= 3  # at a level of .01: with 99.7 %


def test_where_all_labels_are_there_or_few_are_missing_nothing_is_weighted() -> None:
    whole = sample("binary", 1, 1000)
    few = Sample(whole.task, whole.y, whole.prediction, np.argsort(np.argsort(-whole.prediction.score)) >= 2)

    assert (whole.missing, few.missing) == (None, None)


@pytest.mark.parametrize("task", CLASSES)
def test_with_weights_the_metrics_are_those_of_weighted_rows(task: str) -> None:
    one = lacking(sample(task, 5, 2000), "by score")
    missing, stratum = one.missing, np.searchsorted(one.edges[1], one.prediction.score, side="right")
    assert missing is not None
    weights = np.array(missing.weights.millionths)[stratum[one.is_labelled]] / MILLION
    names = [name for name in NAMES[task] if name in {*BINARY, "mae", "rmse"} - {"cost", "roc_auc"}]

    values = {name: one.reading(name).value(missing.weights.of(missing.sums, one.scale.stratum_of_bin)) for name in names}

    y, prediction = one.y[one.is_labelled], one.prediction.take(one.is_labelled)
    assert values == {name: pytest.approx(weighted(one.reading(name).metric, y, prediction, weights), abs=1e-9) for name in names}
    assert weights.sum() == pytest.approx(len(one.y), abs=1e-3)


def test_equal_weights_change_nothing() -> None:
    one = sample("binary", 3, 1500)
    sums = add_up(one.blocks(one.is_labelled))
    plain = ScoreWeights((MILLION,) * (len(one.scale.strata) + 1), 1.0, "")

    weighed = plain.of(sums, one.scale.stratum_of_bin)

    assert {name: one.reading(name).value(weighed) for name in BINARY} == {
        name: pytest.approx(one.reading(name).value(sums), abs=1e-12) for name in BINARY
    }


def test_the_sentence_says_how_labelled_rows_differ_and_what_the_interval_covers() -> None:
    binary, numbers = (lacking(sample(task, 1, 2000), "by score") for task in ("binary", "regression"))
    assert binary.missing is not None
    assert numbers.missing is not None

    loss, error = binary.missing.correction(binary.reading("log_loss")), numbers.missing.correction(numbers.reading("mae"))

    n = int((~binary.is_labelled).sum())
    assert loss.sentence.startswith("weighted by score: labelled rows score lower than the others (of scores from ")
    assert loss.sentence.endswith(f"; the interval covers the worst case of the {n} rows without a label")
    assert error.sentence.endswith("; errors have no worst case")
    assert error.to_dict() == {
        "weighted": error.sentence, "unweighted": pytest.approx(numbers.plain("mae"), abs=1e-6), "worst_low": None, "worst_high": None,
    }  # fmt: skip


def test_of_one_bucket_too_the_interval_covers_the_worst_case() -> None:
    one = lacking(sample("binary", 7, 400), "of one stratum")
    assert one.missing is not None
    names = [name for name in BINARY if name != "cost"]

    seen = {name: one.missing.within(one.reading(name)) for name in names}

    worst = {name: one.missing.worst(one.reading(name)) for name in names}
    assert [name for name in names if not seen[name][1] <= one.of_all(name) <= seen[name][2]] == []
    ends = {name: (end[0], end[1]) for name, end in worst.items() if end is not None}
    assert [name for name in names if not seen[name][1] <= ends[name][0] <= seen[name][0] <= ends[name][1] <= seen[name][2]] == []
