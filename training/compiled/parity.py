"""Two predictors, the same rows: labels identical, numbers within 1e-9, the same rows refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.schema.prediction import Prediction
from training.schema.rows import Columns, count_rows

TOLERANCE = 1e-9
SINGLE_ROWS, ROWS_IN_BLOCKS = 64, 5_000
Predict = Callable[[Columns], Prediction]


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What a proof compared and found.

    Attributes
    ----------
    rows
        How many of each part, such as hold-out.
    worst
        The largest difference of a probability, or of a value relative to ``max(1, |value|)``.
    reason
        Why the two are not the same; None when they are.
    """

    rows: dict[str, int]
    worst: float = 0.0
    reason: str | None = None

    @property
    def sentence(self) -> str:
        """One sentence, for the card."""
        if self.reason is not None:
            return self.reason
        counted = ", ".join(f"{n:,} {name}" for name, n in self.rows.items())
        return f"says what scikit-learn says on all rows compared ({counted}); largest difference {self.worst:.1e}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


class _Difference(Exception):
    """The first difference found."""


def prove_parts(fast: Predict, plain: Predict, parts: Sequence[tuple[str, Columns]], *, block: int) -> ParityReport:
    """Compare two predictors on named parts: as a whole, in blocks of `block` rows, and some rows one by one.

    Of a large part the blocks are a sample, spread evenly.

    Examples
    --------
    >>> double = lambda columns: Prediction(columns["x"] * 2)
    >>> wrong = lambda columns: Prediction(columns["x"] * 2 + 1e-6)
    >>> prove_parts(double, double, [("some", {"x": np.arange(3.0)})], block=2).sentence
    'says what scikit-learn says on all rows compared (3 some); largest difference 0.0e+00'
    >>> prove_parts(wrong, double, [("some", {"x": np.arange(3.0)})], block=2).reason
    'some, row 0: the compiled model says 1e-06, scikit-learn 0.0'
    """
    worst = 0.0
    counts = {name: count_rows(columns) for name, columns in parts}
    for name, columns in parts:
        try:
            worst = max(worst, _compare_part(fast, plain, columns, block))
        except _Difference as difference:
            return ParityReport(counts, np.inf, f"{name}, {difference}")
    return ParityReport(counts, worst)


def _compare_part(fast: Predict, plain: Predict, columns: Columns, block: int) -> float:
    count = count_rows(columns)
    try:
        wanted = plain(columns)
    except ValueError as error:
        if count == 1:
            return _expect_refusal(fast, columns, error)
        halves = (slice(0, count // 2), slice(count // 2, count))
        return max(_compare_part(fast, plain, _take(columns, half), block) for half in halves)
    return max(_compare(fast, columns, wanted, span) for span in _spans(count, block))


def _spans(count: int, block: int) -> Iterator[slice]:
    yield slice(0, count)
    if 0 < block < count:
        step = block * max(count // ROWS_IN_BLOCKS, 1)
        yield from (slice(at, min(at + block, count)) for at in range(0, count, step))
    singles = np.unique(np.linspace(0, count - 1, min(SINGLE_ROWS, count)).astype(int))
    yield from (slice(int(at), int(at) + 1) for at in singles)


def _compare(fast: Predict, columns: Columns, wanted: Prediction, span: slice) -> float:
    expected = wanted.take(span)
    try:
        answers = fast(_take(columns, span))
    except ValueError as error:
        raise _Difference(f"row {span.start}: the compiled model refuses what scikit-learn answers ({error})") from error
    if answers.classes != expected.classes or len(answers) != len(expected):
        raise _Difference(f"row {span.start}: other classes or another number of answers")
    if expected.probability is None or answers.probability is None:
        return _worst(answers.label, expected.label, span.start)
    if (answers.label != expected.label).any():
        row = int(np.flatnonzero(answers.label != expected.label)[0])
        raise _Difference(f"row {span.start + row}: the compiled model says {answers.label[row]!r}, scikit-learn {expected.label[row]!r}")
    return _worst(answers.probability, expected.probability, span.start)


def _worst(answers: Any, wanted: Any, start: int) -> float:
    scale = np.maximum(1.0, np.abs(wanted))
    gap = np.where(answers == wanted, 0.0, np.abs(answers - wanted) / scale)
    gap = np.where(np.isnan(answers) & np.isnan(wanted), 0.0, gap).reshape(len(gap), -1)
    if not (gap <= TOLERANCE).all():
        row, column = (int(i) for i in np.argwhere(~(gap <= TOLERANCE))[0])
        answers, wanted = (float(np.reshape(v, (len(gap), -1))[row, column]) for v in (answers, wanted))
        raise _Difference(f"row {start + row}: the compiled model says {answers!r}, scikit-learn {wanted!r}")
    return float(gap.max(initial=0.0))


def _expect_refusal(fast: Predict, columns: Columns, error: Exception) -> float:
    try:
        fast(columns)
    except ValueError:
        return 0.0
    raise _Difference(f"row 0: the compiled model answers what scikit-learn refuses ({error})")


def _take(columns: Columns, span: slice) -> Columns:
    return {name: values[span] for name, values in columns.items()}
