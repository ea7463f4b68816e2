"""Labels that nothing can be learned from are found in their place; a world that moved, however much, and one that is harder is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.judging.labels.agreement import NO_LABELS, Agreement, agreement_of, laid
from monitoring.judging.labels.unlearnable import LEAST_ROWS, Batch, Screened, batches_of, screen
from training.schema.prediction import Prediction

DAY, DAYS, ROWS, BROKEN = 86_400_000_000, 36, 250, slice(24, 27)
LASTING_US = 6 * DAY
Floats = npt.NDArray[np.float64]
Break = Callable[[np.random.Generator, Floats, int], Floats]
WEIGHTS = np.array([1.5, -1.0, 0.5, 0.0])
OTHERS = np.array([0.0, 0.5, 1.0, 1.5])


@dataclass
class Stream:
    """Rows by day: what is known of them, the place of their class (or their number), and what was answered."""

    known: Floats
    labels: npt.NDArray[np.float64]
    answers: Floats
    classes: int

    def batch(self, day: int) -> Batch:
        """Return a day as it is screened."""
        labels, answers, whole = self.labels[day], self.answers[day], np.zeros(ROWS, dtype=np.intp)
        if self.classes:
            names = tuple("abc"[: self.classes])
            prediction = Prediction(np.array(names, object)[answers.argmax(axis=1)], answers, names)
            agreement = agreement_of(prediction, np.array(names, object)[labels.astype(int)], whole, 1, None)[0]
        else:
            agreement = agreement_of(Prediction(answers[:, 0]), labels, whole, 1, (-1.0, 1.0))[0]
        return Batch(day * DAY, (day + 1) * DAY, agreement)

    def reached(self, taught: Batch, asked: Batch) -> float | None:
        """Return what least squares reach, of a day on itself half by half."""
        one, other = taught.start_us // DAY, asked.start_us // DAY
        if one != other:
            return agreed(self.learned(one, slice(None), other, slice(None)), self.targets(other))
        halves = slice(0, None, 2), slice(1, None, 2)
        parts = [self.learned(one, halves[1], one, halves[0]), self.learned(one, halves[0], one, halves[1])]
        targets = self.targets(one)
        return agreed(np.concatenate(parts), np.concatenate([targets[each] for each in halves]))

    def targets(self, day: int) -> Floats:
        """Return labels as columns: of classes their indicators."""
        return np.asarray(np.eye(self.classes)[self.labels[day].astype(int)] if self.classes else self.labels[day][:, None])

    def learned(self, day: int, taught: slice, other: int, asked: slice) -> Floats:
        """Answer some rows of one day by least squares of some of another."""
        x, y = np.column_stack([self.known[day], np.ones(ROWS)])[taught], self.targets(day)[taught]
        return np.asarray(np.column_stack([self.known[other], np.ones(ROWS)])[asked] @ np.linalg.lstsq(x, y, rcond=None)[0])


def agreed(given_: Floats, came: Floats) -> float:
    a, b = given_ - given_.mean(axis=0), came - came.mean(axis=0)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def stream(seed: int, classes: int, *, noise: Floats | float = 1.0, moved_from: int = DAYS, poorer_from: int = DAYS) -> Stream:
    """Make rows of so many classes, or numbers (0); from a day on they hang on other columns, or are answered by a poorer model."""
    rng = np.random.default_rng(seed)
    known = rng.normal(0, 1, (DAYS, ROWS, 4))
    is_moved, is_poor = (np.arange(DAYS) >= day for day in (moved_from, poorer_from))
    level = known @ WEIGHTS
    true = np.where(is_moved[:, None], known @ OTHERS, level) + np.broadcast_to(noise, DAYS)[:, None] * rng.normal(0, 1, (DAYS, ROWS))
    answered = np.where(is_poor[:, None], 0.4 * level + rng.normal(0, 1.5, level.shape), level)
    if not classes:
        return Stream(known, true, answered[..., None], 0)
    edges = np.quantile(level, np.arange(1, classes) / classes)
    centres = np.quantile(level, (np.arange(classes) + 0.5) / classes)
    scores = np.exp(-((answered[..., None] - centres) ** 2))
    return Stream(known, np.searchsorted(edges, true).astype(np.float64), scores / scores.sum(axis=-1, keepdims=True), classes)


def flipped(share: float) -> Break:
    def flip(rng: np.random.Generator, labels: Floats, classes: int) -> Floats:
        other = (labels + rng.integers(1, max(2, classes), labels.shape)) % max(1, classes) if classes else rng.permuted(labels, axis=1)
        return np.where(rng.random(labels.shape) < share, other, labels)

    return flip


BREAKS: dict[str, Break] = {
    "two in five of another class": flipped(0.4),
    "three in five of another class": flipped(0.6),
    "of any other row": lambda rng, labels, classes: rng.permuted(labels, axis=1),
    "of the next row": lambda rng, labels, classes: np.roll(labels, -1, axis=1),
    "exchanged, or negated": lambda rng, labels, classes: classes - 1 - labels if classes else -labels,
}
FINE: dict[str, Callable[[int, int], Stream]] = {
    "as ever": stream,
    "seasons": lambda seed, classes: stream(seed, classes, noise=1 + 0.6 * np.sin(np.arange(DAYS) * 2 * np.pi / DAYS)),
    "weekends are harder": lambda seed, classes: stream(seed, classes, noise=np.where(np.arange(DAYS) % 7 > 4, 2.5, 1.0)),
    "moved at once, and stays": lambda seed, classes: stream(seed, classes, moved_from=24),
    "answered by a poorer model": lambda seed, classes: stream(seed, classes, poorer_from=24),
}


def broken(one: Stream, how: str, days: slice = BROKEN) -> Stream:
    labels = one.labels.copy()
    labels[days] = BREAKS[how](np.random.default_rng(9), labels[days], one.classes)
    return replace(one, labels=labels)


def lived(one: Stream, *, days: int = DAYS, trusted: range = range(0)) -> tuple[list[int], list[tuple[int, int, int, str]], Screened]:
    """Screen a stream day by day; return the days that were found, what was accepted and when, and the last look."""
    aside, accepted, every, result = set[int](), list[tuple[int, int, int, str]](), set[int](), Screened()
    whole = [one.batch(day) for day in range(days)]
    let_go = set(trusted)
    for day in range(days):
        batches = [replace(each, aside_rows=ROWS * (at in aside), is_trusted=at in let_go) for at, each in enumerate(whole[: day + 1])]
        result = screen(batches, one.reached, lasting_us=LASTING_US)
        new = {each.start_us // DAY for each in result.broken}
        aside, every = aside | new, every | new
        for span in result.accepted:
            freed = set(range(span.start_us // DAY, span.end_us // DAY))
            aside, let_go = aside - freed, let_go | freed
            accepted.append((day, min(freed), max(freed) + 1, span.reason))
    return sorted(every), accepted, result


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("how", BREAKS)
def test_broken_labels_are_found_in_their_place_and_stay_aside(how: str, classes: int) -> None:
    days, accepted, _ = lived(broken(stream(1, classes), how))

    assert (days, accepted) == ([24, 25, 26], [])


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("how", FINE)
def test_a_world_that_moved_or_is_harder_has_none(how: str, classes: int) -> None:
    assert lived(FINE[how](2, classes))[:2] == ([], [])


def test_what_is_broken_says_by_how_much() -> None:
    one = broken(stream(3, 2), "of any other row")
    exchanged = broken(stream(3, 2), "exchanged, or negated")

    (lost,), (contrary,) = lived(one, days=25)[2].broken, lived(exchanged, days=25)[2].broken

    assert (lost.start_us, lost.end_us, lost.rows) == (24 * DAY, 25 * DAY, ROWS)
    assert abs(lost.agreement) < 0.15 < 0.5 < lost.usual
    assert lost.detail.startswith("of which a model of their own learns 0.0")
    assert contrary.agreement == pytest.approx(-contrary.usual, abs=0.2)
    assert contrary.detail == "the contrary of what was answered"


def test_labels_that_stay_as_they_are_count_after_six_slots() -> None:
    days, accepted, last = lived(broken(stream(4, 2), "of any other row", slice(20, None)))

    assert days == [20, 21, 22, 23, 24]
    assert accepted == [(25, 20, 26, "it has stayed")]
    assert last == Screened()


def test_labels_count_when_what_comes_after_can_be_learned_together_with_them() -> None:
    moved = stream(5, 2, moved_from=24)
    unclear = [replace(moved.batch(day), aside_rows=ROWS * (day == 24)) for day in range(26)]

    (accepted,) = screen(unclear, moved.reached, lasting_us=LASTING_US).accepted

    assert (accepted.start_us // DAY, accepted.end_us // DAY) == (24, 25)
    assert accepted.reason == "what came after it can be learned together with it"


def test_what_a_person_let_go_is_how_it_is_now() -> None:
    one = broken(stream(6, 2), "of any other row", slice(20, None))

    assert lived(one, trusted=range(20, 22))[0] == []


def test_nothing_is_said_of_answers_that_tell_nothing_of_labels() -> None:
    useless = stream(7, 2, poorer_from=0, noise=40.0)

    assert lived(broken(useless, "exchanged, or negated"))[0] == []


def test_nothing_is_said_where_nobody_knows_what_is_usual_or_nothing_can_be_fitted() -> None:
    one = broken(stream(1, 2), "of any other row")
    batches = [one.batch(day) for day in range(25)]

    assert screen(batches, lambda taught, asked: None, lasting_us=LASTING_US) == Screened()
    assert screen(batches[-10:], one.reached, lasting_us=LASTING_US) == Screened()
    assert screen([], one.reached, lasting_us=LASTING_US) == Screened()


def test_batches_have_enough_rows_and_no_slot_leaves_some() -> None:
    parts = [Batch(day * DAY, (day + 1) * DAY, Agreement(60), aside_rows=60 * (day == 3)) for day in range(16)]

    joined = batches_of(parts, 7 * DAY)

    assert [(one.start_us // DAY, one.end_us // DAY, one.rows, one.aside_rows) for one in joined] == [(0, 7, 420, 60), (7, 14, 420, 0)]
    assert min(one.rows for one in joined) >= LEAST_ROWS


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_sums_add_up_to_the_correlation_of_all_rows(seed: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    answers, labels, group = rng.normal(0, 5, 60), rng.normal(0, 5, 60), rng.integers(0, groups, 60)

    parts = agreement_of(Prediction(answers), labels, group, groups, (-2.0, 3.0))
    whole = sum_of(parts)

    expected = np.corrcoef(laid(answers, (-2.0, 3.0)), laid(labels, (-2.0, 3.0)))[0, 1]
    assert whole.n == 60
    assert whole.correlation == pytest.approx(expected)


def sum_of(parts: list[Agreement]) -> Agreement:
    whole = NO_LABELS
    for one in parts:
        whole = whole.plus(one)
    return whole


def test_answers_or_labels_that_do_not_vary_agree_with_nothing() -> None:
    same, whole = np.array(["a", "a"], object), np.array([0, 0])
    sure = Prediction(same, np.array([[1.0, 0.0], [1.0, 0.0]]), ("a", "b"))

    assert agreement_of(sure, np.array(["a", "b"], object), whole, 1, None)[0].correlation is None
    assert agreement_of(Prediction(np.array([1.0, 2.0])), np.array([3.0, 3.0]), whole, 1, (0.0, 1.0))[0].correlation is None
    assert (NO_LABELS.correlation, agreement_of(Prediction(np.zeros(2)), np.zeros(2), whole, 1, None)[0].n) == (None, 0)
