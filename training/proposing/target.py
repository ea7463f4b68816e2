"""What is predicted: numbers or classes, and which class is the positive one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.dataset.report import FEW_OF_CLASS, of_rows
from training.dataset.report import LEAST_ROWS as LEAST_LABELLED
from training.errors import DataProblem
from training.proposing.facts import Facts, Signs, Span
from training.proposing.features import far_codes, number_span, sure_words
from training.proposing.yaml_text import number, scalar, sequence
from training.schema.schema import normalise_label
from training.schema.spellings import spelled_alike

MOST_CLASSES = 50
_MOST_NAMES = 8
MOST_NUMBERED, LEAST_ROWS = 10, 5
"""Whole numbers are names of classes where there are at most so many, each in so many rows."""
POSITIVES = frozenset(
    [
        "true", "yes", "y", "t", "1", "positive", "pos", "bad", "fraud", "fraudulent", "late", "delayed", "default", "defaulted", "churn",
        "churned", "fail", "failed", "failure", "spam", "sick", "ill", "disease", "malignant", "dead", "died", "death", "canceled",
        "cancelled", "anomaly", "attack", "defect", "defective", "broken", "lost", "left", "stolen", "infected", "abnormal",
    ]
)  # fmt: skip


@dataclass(slots=True)
class Target:
    """The lines on the target, what nothing can be trained with, which classes differ only in how they are written or have few rows."""

    task: str = "regression"
    classes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)
    few: str = ""
    problems: list[DataProblem] = field(default_factory=list)

    def lines(self, name: str) -> list[str]:
        """Return the keys of the schema that say what is predicted."""
        out = [f"  target: {scalar(name)}", f"  task: {self.task}" + (f"            # {'; '.join(self.remarks)}" if self.remarks else "")]
        if self.task == "binary":
            out.append(f"  positive: {scalar(self.classes[-1])}            # the class whose probability matters")
        if self.classes:
            out.append(f"  classes: {sequence(self.classes)}")
        if self.missing:
            out.append(f"  missing: {sequence(self.missing)}            # these texts mean that it is not known")
        return out


def propose_target(facts: Facts, signs: Signs) -> Target:
    """Return what a column is as a target."""
    if not facts.n_rows:
        return _refused(facts, "no rows", "a table with history in it")
    if facts.other is not None or (facts.times and not facts.is_text and not facts.numbers):
        return _refused(facts, facts.other or "times", "numbers or classes")
    if not facts.levels.counts and not facts.words:
        return _refused(facts, "no value in any row", "a target with known outcomes")
    span = number_span(facts, signs)
    if span is not None and facts.infinite:
        return _refused(facts, f"{facts.infinite.total():,} infinite values, such as {next(iter(facts.infinite))!r}", "finite numbers")
    if span is not None and facts.number_format is not None:
        return _refused(facts, f"numbers with signs of {facts.number_format}", "numbers: take the sign away")
    if span is None:
        return _classes(facts, sure_words(facts), facts.words)
    missing = tuple(sorted(facts.words))
    counts = names_of_classes(facts.levels.counts)
    if _are_names(counts, span, facts):
        target = _classes(facts, missing, {})
        target.remarks.append(f"whole numbers of few values; if they are amounts: task: regression{_without(target)}")
        return target
    if len(counts) == 1:
        return _refused(facts, f"only one value, {number(span.low)}", "a target that varies")
    far = far_codes(facts, span, signs)
    unknown = sequence([*missing, *far])
    advice = f": missing: {unknown}" if facts.is_text else ", empty those cells"
    remarks = [f"seen {number(span.low)} to {number(span.high)}", *(f"{remark}{advice}" for remark in far.values())]
    return Target(missing=missing, remarks=remarks)


def _are_names(counts: Mapping[str, int], span: Span, facts: Facts) -> bool:
    if facts.levels.is_full or not span.is_whole or len(counts) < 2:
        return False
    return len(counts) == 2 or (len(counts) <= MOST_NUMBERED and min(counts.values()) >= LEAST_ROWS)


def _without(target: Target) -> str:
    return f", without {'positive and ' if target.task == 'binary' else ''}classes, and metric: mae"


def _classes(facts: Facts, missing: tuple[str, ...], words: Mapping[str, int]) -> Target:
    """Return classes; words that may mean missing are classes as well, unless they are listed."""
    values = facts.levels.counts + facts.infinite
    values.update({word: count for word, count in words.items() if word not in missing})
    counts = names_of_classes(values)
    if len(counts) == 1:
        return _refused(facts, f"only one class, {next(iter(counts))!r}", "two classes or more")
    if not counts:
        return _refused(facts, "no value in any row", "a target with known outcomes")
    if facts.levels.is_full or len(counts) > MOST_CLASSES:
        got = f"{facts.levels.shown()} different values that are not all numbers, such as {_odd_one(facts)!r}"
        return _refused(facts, got, f"numbers, or at most {MOST_CLASSES} classes")
    n_labelled = sum(counts.values())
    if n_labelled >= LEAST_LABELLED and sum(count > 1 for count in counts.values()) < 2:
        got = f"{_few(counts, 2)} among {n_labelled:,} rows"
        return _refused(
            facts, got, "two classes of two rows or more, to learn from one and be judged on another: add rows, or name another target"
        )
    target = Target("binary" if len(counts) == 2 else "multiclass", tuple(sorted(counts)), missing)
    if len(counts) == 2:
        positive = positive_of(counts)
        target.classes = (next(name for name in counts if name != positive), positive)
    target.alike = spelled_alike(counts)
    target.remarks += target.alike
    if n_labelled >= LEAST_LABELLED and (few := _few(counts, FEW_OF_CLASS)):
        target.few = f"little can be learned of {few}: add rows, leave them out, or give them another class"
        target.remarks.append(target.few)
    unsure = {word: count for word, count in words.items() if word not in missing}
    for word, count in unsure.items():
        target.remarks.append(f"{scalar(word)} ({count:,} rows) is a class, unless listed: missing: {sequence([word])}")
    return target


def positive_of(counts: Mapping[str, int]) -> str:
    """Return the positive one of two classes: by meaning where one of them means something, else the rarer.

    Examples
    --------
    >>> positive_of({"YES": 90, "NO": 10}), positive_of({"stayed": 10, "Canceled": 90}), positive_of({"a": 3, "b": 2})
    ('YES', 'Canceled', 'b')
    """
    meaning = [name for name in counts if name.casefold() in POSITIVES]
    return meaning[0] if len(meaning) == 1 else min(sorted(counts, reverse=True), key=lambda name: counts[name])


def _few(counts: Mapping[str, int], least: int) -> str:
    """Name the classes of fewer rows than `least`, the rarest first; empty without any."""
    few = sorted((count, name) for name, count in counts.items() if count < least)
    more = f" and {len(few) - _MOST_NAMES} more" if len(few) > _MOST_NAMES else ""
    return ", ".join(f"class {name!r} ({of_rows(count)})" for count, name in few[:_MOST_NAMES]) + more


def _odd_one(facts: Facts) -> str:
    return next((text for text in facts.levels.counts if not any(letter.isdigit() for letter in text)), next(iter(facts.levels.counts)))


def _refused(facts: Facts, got: str, wanted: str) -> Target:
    return Target(problems=[DataProblem(None, facts.name, got, wanted)])


def names_of_classes(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how often each class occurs, in its one spelling."""
    classes: dict[str, int] = {}
    for text, count in counts.items():
        name = normalise_label(text)
        classes[name] = classes.get(name, 0) + count
    return classes
