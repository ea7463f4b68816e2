"""Estimates of classes without labels, held against the same computed row by row, and against what labels say later."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression

from monitoring.judging.estimating.answers import Answers, count_answers
from monitoring.judging.estimating.bands import Estimate
from monitoring.judging.estimating.class_estimator import Bucket, ClassEstimator, labelled_answers, learn_class_estimator
from monitoring.judging.performance.live_metrics import Reading
from monitoring.judging.performance.outcome_sums import OutcomeSums, count_outcomes, score_edges
from training.evaluation.losses import COST
from training.profiles.bin_edges import numeric_edges
from training.schema.costs import Costs
from training.schema.prediction import Prediction

CLASSES = {2: ("no", "yes"), 4: ("a", "b", "c", "d")}
COSTS = Costs(CLASSES[2], ((0.0, 1.0), (7.0, 0.0)))
BUCKETS, EACH = 24, 250


class Sample(NamedTuple):
    """Rows of a model whose probabilities are not calibrated."""

    y: np.ndarray[Any, Any]
    prediction: Prediction

    @property
    def k(self) -> int:
        return self.prediction.probability.shape[1]  # type: ignore[union-attr]


def sample(k: int, n: int, seed: int, *, shift: float = 0.0, concept: float = 0.0) -> Sample:
    """Draw labels by true probabilities, and let a model say what is surer than they are; `shift` moves rows, `concept` their labels."""
    rng = np.random.default_rng([k, n, seed])
    logits = rng.normal(0, 1.2, (n, k))
    logits[:, -1] += shift - 0.6
    true, answered = (np.exp(logits * strength) for strength in (1.0, 1.6))
    true[:, -1] *= np.exp(concept)
    true, answered = (one / one.sum(axis=1, keepdims=True) for one in (true, answered))
    names = np.array(CLASSES[k], object)
    y = names[(true.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)]
    return Sample(y, Prediction(names[answered.argmax(axis=1)], answered, CLASSES[k]))


def edges_of(k: int) -> tuple[float, ...]:
    return score_edges(numeric_edges(sample(k, 2000, 99).prediction.score) if k == 2 else ())


def counted(some: Sample, buckets: int) -> list[Bucket]:
    group, edges = np.arange(len(some.y)) * buckets // len(some.y), edges_of(some.k)
    sums = count_outcomes(group, some.y, some.prediction, edges, is_binary=some.k == 2)
    answers = count_answers(group, some.prediction, edges, is_binary=some.k == 2)
    return [Bucket(*both) for both in zip(sums, answers, strict=True)]


def learned(metric: str, k: int, seed: int = 0) -> ClassEstimator:
    reading = Reading(metric, CLASSES[k], COSTS if metric == COST else None)
    estimator = learn_class_estimator(reading, counted(sample(k, BUCKETS * EACH, seed), BUCKETS))
    assert isinstance(estimator, ClassEstimator), estimator
    return estimator


def calibrated(reference: Sample, new: Sample) -> np.ndarray[Any, Any]:
    """Isotonic regression of each class against the rest on the raw scores, normed: row by row."""
    columns = []
    for place, name in enumerate(CLASSES[new.k]):
        model = IsotonicRegression(out_of_bounds="clip").fit(reference.prediction.probability[:, place], reference.y == name)  # type: ignore[index]
        columns.append(model.predict(new.prediction.probability[:, place]))  # type: ignore[index]
    if new.k == 2:
        columns[0] = 1 - columns[1]
    out = np.stack(columns, axis=1)
    return out / out.sum(axis=1, keepdims=True)


def by_rows(metric: str, new: Sample, c: np.ndarray[Any, Any]) -> float:
    """What a metric is expected to be by calibrated probabilities, each row counted once a class with that weight."""
    n, k = c.shape
    y = np.tile(np.arange(k), n)
    given, decided = np.repeat(new.prediction.probability, k, axis=0), np.repeat(new.prediction.probability.argmax(axis=1), k)  # type: ignore[union-attr,arg-type]
    weight = c.ravel()
    return {
        "accuracy": lambda: sk.accuracy_score(y, decided, sample_weight=weight),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(y, decided, sample_weight=weight),
        "precision": lambda: sk.precision_score(y, decided, sample_weight=weight, average="binary" if k == 2 else "macro"),
        "recall": lambda: sk.recall_score(y, decided, sample_weight=weight, average="binary" if k == 2 else "macro"),
        "f1": lambda: sk.f1_score(y, decided, sample_weight=weight, average="binary" if k == 2 else "macro"),
        "log_loss": lambda: sk.log_loss(y, given, sample_weight=weight),
        "brier": lambda: (
            sk.brier_score_loss(y, given[:, 1], sample_weight=weight) if k == 2 else ((given - np.eye(k)[y]) ** 2).sum(axis=1) @ weight / n
        ),
        "roc_auc": lambda: (
            sk.roc_auc_score(y, given[:, 1], sample_weight=weight)
            if k == 2
            else np.mean([sk.roc_auc_score(y == one, given[:, one], sample_weight=weight) for one in range(k)])
        ),
        COST: lambda: np.array(COSTS.table)[y, decided] @ weight / n,
    }[metric]()  # fmt: skip


EVERY = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss", "brier", "roc_auc")


@pytest.mark.parametrize(("metric", "k"), [*((one, 2) for one in (*EVERY, COST)), *((one, 4) for one in EVERY)])
def test_an_estimate_is_what_calibrated_probabilities_of_the_rows_say(metric: str, k: int) -> None:
    reference, new = sample(k, BUCKETS * EACH, 0), sample(k, 3000, 1, shift=0.5)
    (bucket,) = counted(new, 1)

    estimate = learned(metric, k).estimate(bucket.answers)

    assert estimate is not None
    within = 0.01 if k == 2 else 0.02  # rows are normed one by one there, which takes the classes off their own calibration
    assert estimate.value == pytest.approx(by_rows(metric, new, calibrated(reference, new)), rel=within)


def test_the_calibration_error_that_is_expected_is_the_mean_of_drawn_ones() -> None:
    from training.evaluation.losses import calibration_error

    reference, new = sample(2, BUCKETS * EACH, 0), sample(2, 400, 1)
    c, rng = calibrated(reference, new)[:, 1], np.random.default_rng(0)
    drawn = [calibration_error(np.array(CLASSES[2], object)[(rng.random(400) < c).astype(int)], new.prediction) for _ in range(400)]

    estimate = learned("calibration_error", 2).estimate(counted(new, 1)[0].answers)

    assert estimate is not None
    assert estimate.value == pytest.approx(np.mean(drawn), abs=0.004)


def held(metric: str, k: int, **change: float) -> float:
    """The share of 120 fresh buckets whose metric lies in its band."""
    estimator, inside = learned(metric, k), []
    for bucket in counted(sample(k, 120 * EACH, 1000, **change), 120):
        estimate = estimator.estimate(bucket.answers)
        assert estimate is not None
        inside.append(estimate.low <= estimator.reading.value(bucket.sums) <= estimate.high)
    return float(np.mean(inside))


@pytest.mark.parametrize(("metric", "k"), [("accuracy", 2), ("log_loss", 2), ("roc_auc", 2), ("f1", 2), ("accuracy", 4), ("log_loss", 4)])
def test_the_band_holds_what_labels_say_later(metric: str, k: int) -> None:
    assert 0.9 <= held(metric, k) <= 0.995


def test_rows_that_moved_are_followed() -> None:
    assert held("accuracy", 2, shift=0.8) >= 0.9


def test_a_changed_relation_of_features_to_target_is_not_seen() -> None:
    assert held("accuracy", 2, concept=2.0) < 0.5


def test_restless_buckets_widen_the_band() -> None:
    calm, restless = sample(2, BUCKETS * EACH, 0), [sample(2, EACH, seed, concept=1.2 * (-1) ** seed) for seed in range(BUCKETS)]
    joined = Sample(np.concatenate([one.y for one in restless]), Prediction.concat([one.prediction for one in restless]))
    widths = []
    for some in (calm, joined):
        estimator = learn_class_estimator(Reading("accuracy", CLASSES[2]), counted(some, BUCKETS))
        assert isinstance(estimator, ClassEstimator)
        estimate = estimator.estimate(counted(sample(2, EACH, 50), 1)[0].answers)
        assert isinstance(estimate, Estimate)
        widths.append(estimate.high - estimate.low)

    assert widths[1] > 1.5 * widths[0]


def test_a_bucket_of_the_reference_is_estimated_without_its_block() -> None:
    estimator, bucket = learned("accuracy", 2), counted(sample(2, BUCKETS * EACH, 0), BUCKETS)[3]

    inside, apart = estimator.estimate(bucket.answers), estimator.estimate(bucket.answers, block=3)

    assert inside is not None
    assert apart is not None
    assert inside.value != apart.value


@pytest.mark.parametrize(
    ("metric", "some", "buckets", "says"),
    [
        ("accuracy", sample(2, 499, 0), 20, "499 of 500 labelled rows of this version have matured"),
        ("accuracy", sample(2, 2000, 0), 4, "lie in 4 buckets, and 5 are the fewest"),
        ("accuracy", sample(2, 2000, 0, concept=-9.0), 20, "matured labelled rows are of class yes, and 20 are the fewest"),
        ("own:metric", sample(2, 2000, 0), 20, "own:metric does not follow from probabilities"),
    ],
)
def test_what_cannot_be_known_is_said(metric: str, some: Sample, buckets: int, says: str) -> None:
    reason = learn_class_estimator(Reading(metric, CLASSES[2]), counted(some, buckets))

    assert isinstance(reason, str)
    assert says in reason


def test_scores_beyond_what_was_calibrated_are_counted() -> None:
    estimator, far = learned("accuracy", 2), np.array([[1e-6, 1 - 1e-6]] * 30)
    new = Sample(np.array(["yes"] * 30, object), Prediction(np.array(["yes"] * 30, object), far, CLASSES[2]))

    estimate = estimator.estimate(counted(new, 1)[0].answers)

    assert estimate is not None
    assert estimate.outside == 1.0


def test_answers_of_other_classes_or_no_rows_have_no_estimate() -> None:
    estimator = learned("accuracy", 2)

    assert estimator.estimate(Answers()) is None
    assert estimator.estimate(Answers(5, ("no", "yes", "maybe"), {})) is None


def test_the_answers_of_labelled_rows_are_those_of_their_bins() -> None:
    some, edges = sample(2, 600, 0), edges_of(2)
    (bucket,) = counted(some, 1)
    (early,) = count_outcomes(np.zeros(200, np.intp), some.y[:200], some.prediction.take(slice(200)), edges, is_binary=True)

    labelled = labelled_answers(Bucket(early, bucket.answers))

    assert labelled is not None
    own = count_answers(np.zeros(200, np.intp), some.prediction.take(slice(200)), edges, is_binary=True)[0].cells["yes"]
    assert labelled.cells["yes"].at.tolist() == own.at.tolist()
    np.testing.assert_allclose(labelled.cells["yes"].rows, own.rows)


def test_of_rows_that_were_not_counted_nothing_is_known() -> None:
    (bucket,) = counted(sample(2, 600, 0), 1)

    assert labelled_answers(Bucket(bucket.sums, Answers())) is None
    assert labelled_answers(Bucket(OutcomeSums(), bucket.answers)) is None
