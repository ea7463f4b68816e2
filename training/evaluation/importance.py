"""What a model goes by: how much worse it answers when the values of a column are shuffled among held-out rows (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit
from scipy.stats import rankdata

from training.evaluation.gate import BLOCKS, FEWEST_BLOCKS, SMALLEST_BLOCK_ROWS
from training.evaluation.losses import Labels, Metric
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows

Floats = npt.NDArray[np.float64]
SIZES = (1_000, 500, 250, 125)
"""Held-out rows that are asked again, each column shuffled once, as the time allows: more rows say more than more shuffles."""
FEW = 8  # rows, by which a call is timed that has next to none
MOST_CELLS = 2_000_000  # values that are sent in one call
MOST_COLUMNS = 20
"""Of more columns a first pass, of a quarter of the rows, finds the strongest."""
ALIKE = 0.7
"""Columns whose ranks are correlated by so much share what they say; of categories Cramér's V, or the correlation ratio."""
LEVEL = 0.025


@dataclass(frozen=True, slots=True)
class Importance:
    """By how much a metric gets worse without what a column says, with its 95 % interval."""

    column: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Importances:
    """The importance of the strongest columns, the strongest first.

    Attributes
    ----------
    rows
        Held-out rows that were asked again.
    of
        How many columns there are.
    alike
        Of those in `columns`, which share what they say: shuffled alone, each seems weaker than they are together.
    missing
        Why nothing is known.
    """

    metric: str
    rows: int = 0
    of: int = 0
    columns: tuple[Importance, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
    missing: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "columns": [asdict(one) for one in self.columns], "alike": [list(names) for names in self.alike]}


def importances_of(
    predict: Callable[[Columns], Prediction], rows: Rows, metric: Metric, *, seed: int, seconds: float, clock: Callable[[], float]
) -> Importances:
    """Shuffle one column after the other and ask again.

    Parameters
    ----------
    predict
        Asks a model that has not seen the rows.
    rows
        Labelled, in the order of time.
    seconds
        What it may take, by the time of the first calls.

    References
    ----------
    Breiman, "Random forests", Machine Learning 45 (2001), section 10. Intervals are a jackknife that leaves out one block of neighbouring
    rows at a time, as the gate's does (Künsch 1989).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rows = Rows({"a": rng.normal(size=400), "b": rng.normal(size=400)}, np.zeros(400), np.arange(400))
    >>> from training.evaluation.losses import METRICS
    >>> known = importances_of(lambda c: Prediction(c["a"] * 0), rows, METRICS["mae"], seed=0, seconds=1.0, clock=lambda: 0.0)
    >>> [(one.column, one.value) for one in known.columns]
    [('a', 0.0), ('b', 0.0)]
    """
    names = list(rows.columns)
    some = _spread(rows, SIZES[0])
    few_columns = some.take(_places(len(some), FEW)).columns
    times = [clock()]
    for columns in (few_columns, few_columns, some.columns):  # whatever happens at a first call is not counted
        answers = predict(columns)
        times.append(clock())
    a_call = times[2] - times[1]
    a_row = max(times[3] - times[2] - a_call, 0.0) / max(len(some) - FEW, 1)
    takes = [_calls(len(names), size) * a_call + _work(len(names), min(size, len(rows))) * a_row for size in SIZES]
    size = next((size for size, took in zip(SIZES, takes, strict=True) if took <= seconds), None)
    if size is None:
        took = takes[-1]
        return Importances(
            metric.name, of=len(names), missing=f"to ask again would take about {took:.1f} s, and {seconds:.1f} s are the most"
        )
    if size < len(some):
        places = _places(len(some), size)
        some, answers = some.take(places), answers.take(places)
    if len(names) > MOST_COLUMNS:
        first = _places(len(some), max(size // 4, 1))
        few = _Shuffled(predict, some.take(first), answers.take(first), metric, seed)
        worth = {one.column: one.value if math.isfinite(one.value) else -math.inf for one in few.importances(names, has_bounds=False)}
        names = sorted(names, key=lambda name: -worth[name])[:MOST_COLUMNS]
    known = list(_Shuffled(predict, some, answers, metric, seed).importances(names))
    known.sort(key=lambda one: -one.value if math.isfinite(one.value) else math.inf)
    return Importances(metric.name, len(some), len(rows.columns), tuple(known), _groups(some.columns, [one.column for one in known]))


@dataclass(frozen=True, slots=True)
class _Shuffled:
    predict: Callable[[Columns], Prediction]
    rows: Rows
    answers: Prediction
    metric: Metric
    seed: int

    def importances(self, names: Sequence[str], *, has_bounds: bool = True) -> Iterator[Importance]:
        """Return the importance of columns, several of them in a call: a pipeline takes longer to begin than for a row."""
        n, at_once = len(self.rows), _at_once(len(self.rows.columns), len(self.rows))
        for start in range(0, len(names), at_once):
            some = names[start : start + at_once]
            columns = {name: np.tile(values, len(some)) for name, values in self.rows.columns.items()}
            orders = [self._order(name) for name in some]
            for place, (name, order) in enumerate(zip(some, orders, strict=True)):
                columns[name][place * n : (place + 1) * n] = self.rows.columns[name][order]
            again = self.predict(columns)
            for place, (name, order) in enumerate(zip(some, orders, strict=True)):
                yield self._importance(name, order, again.take(slice(place * n, (place + 1) * n)), has_bounds=has_bounds)

    def _importance(self, name: str, order: npt.NDArray[np.intp], again: Prediction, *, has_bounds: bool) -> Importance:
        """Return the importance of one.

        A row speaks twice, where it gets another's value and where another gets its own: the jackknife leaves both out with its block.
        """
        n = len(self.rows)
        worse = _Worse(self.metric, self.rows.labels, self.answers, again)
        value, count = worse.over(np.ones(n, bool)), min(BLOCKS, n // SMALLEST_BLOCK_ROWS)
        if count < FEWEST_BLOCKS or not has_bounds:
            return Importance(name, value, math.nan, math.nan)
        block = np.arange(n) * count // n
        left = np.array([worse.over((block != one) & (block[order] != one)) for one in range(count)])
        half = float(stdtrit(count - 1, 1 - LEVEL)) * math.sqrt((count - 1) / count * float(((left - left.mean()) ** 2).sum()))
        return Importance(name, value, value - half, value + half)

    def _order(self, name: str) -> npt.NDArray[np.intp]:
        return np.random.default_rng([self.seed, list(self.rows.columns).index(name)]).permutation(len(self.rows))


class _Worse:
    """By how much a metric is worse of some answers than of others for the same rows; where it is a mean, from losses computed once."""

    def __init__(self, metric: Metric, y: Labels, before: Prediction, now: Prediction) -> None:
        self._metric, self._y, self._before, self._now = metric, y, before, now
        loss = metric.per_row_loss
        self._losses = None if loss is None else loss(y, now) - loss(y, before)

    def over(self, some: npt.NDArray[np.bool_]) -> float:
        """Return it over some of the rows."""
        if self._losses is not None:
            return float(self._losses[some].mean())
        now, before = (self._metric.function(self._y[some], one.take(some)) for one in (self._now, self._before))
        return self._metric.gain(before, now)


def _at_once(columns: int, size: int) -> int:
    """Return how many columns are shuffled in one call."""
    return max(MOST_CELLS // max(columns * size, 1), 1)


def _calls(columns: int, size: int) -> int:
    """Return how often is asked."""
    first = math.ceil(columns / _at_once(columns, max(size // 4, 1))) if columns > MOST_COLUMNS else 0
    return first + math.ceil(min(columns, MOST_COLUMNS) / _at_once(columns, size))


def _work(columns: int, size: int) -> int:
    """Return how many rows are asked for."""
    first = columns * (size // 4) if columns > MOST_COLUMNS else 0
    return first + min(columns, MOST_COLUMNS) * size


def _spread(rows: Rows, most: int) -> Rows:
    return rows if len(rows) <= most else rows.take(_places(len(rows), most))


def _places(n: int, size: int) -> npt.NDArray[np.intp]:
    return np.unique(np.linspace(0, n - 1, min(size, n)).round().astype(np.intp))


def _groups(columns: Columns, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the columns that are alike, joined where one is like two others, in the order of `names`."""
    seen = {name: _seen(columns[name]) for name in names}
    group = {name: {name} for name in names}
    for one, other in combinations(names, 2):
        if likeness(seen[one], seen[other]) >= ALIKE and group[one] is not group[other]:
            joined = group[one] | group[other]
            group.update(dict.fromkeys(joined, joined))
    joined_groups: Mapping[int, set[str]] = {id(members): members for members in group.values() if len(members) > 1}
    return tuple(tuple(name for name in names if name in members) for members in joined_groups.values())


def _seen(values: npt.NDArray[Any]) -> Floats | npt.NDArray[np.intp]:
    """Return the ranks of numbers (missing ones in the middle), or the place of each category."""
    if values.dtype == object:
        return np.unique(["" if value is None else str(value) for value in values.tolist()], return_inverse=True)[1].astype(np.intp)
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[np.isfinite(numbers)]
    return np.asarray(rankdata(np.where(np.isfinite(numbers), numbers, np.median(known) if len(known) else 0.0)), dtype=np.float64)


def likeness(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return how alike two columns are, 0 to 1: of ranks (floats) their correlation, of categories (integers) Cramér's V, else the ratio.

    What chance alone would give as many categories is taken off.

    References
    ----------
    Bergsma, "A bias-correction for Cramér's V and Tschuprow's T", Journal of the Korean Statistical Society 42 (2013); Kelley,
    "An unbiased correlation ratio measure", PNAS 21 (1935).

    Examples
    --------
    >>> place, number = np.arange(40) % 4, np.arange(40) % 4 * 1.0
    >>> [round(likeness(a, b), 3) for a, b in ((number, -number), (place, 3 - place), (place, number))]
    [1.0, 1.0, 1.0]
    """
    kinds = one.dtype.kind, other.dtype.kind
    if kinds == ("f", "f"):
        return 0.0 if one.std() == 0 or other.std() == 0 else abs(float(np.corrcoef(one, other)[0, 1]))
    if "f" not in kinds:
        return _cramers_v(one, other)
    return _ratio(*((one, other) if kinds[1] == "f" else (other, one)))


def _cramers_v(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    n, r, k = len(one), int(one.max()) + 1, int(other.max()) + 1
    table = np.bincount(one * k + other, minlength=r * k).reshape(r, k)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    square = float(((table - expected) ** 2 / expected).sum()) / n
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return math.sqrt(min(max(square - (r - 1) * (k - 1) / (n - 1), 0.0) / least, 1.0)) if least > 0 else 0.0


def _ratio(place: npt.NDArray[Any], ranks: Floats) -> float:
    n, k = len(place), int(place.max()) + 1
    whole = float(((ranks - ranks.mean()) ** 2).sum())
    if not whole or n <= k:
        return 0.0
    means = np.bincount(place, ranks) / np.bincount(place)
    within = float(((ranks - means[place]) ** 2).sum()) / (n - k)
    return math.sqrt(max(1 - within / (whole / (n - 1)), 0.0))


def sentence_of(alike: Iterable[Sequence[str]], most: int = 6) -> str:
    """Say which columns share what they say; empty where none do.

    Examples
    --------
    >>> sentence_of([("wind", "gust")])
    'wind and gust are alike: shuffled alone, each of them seems weaker than they are together.'
    """
    named = []
    for names in alike:
        some = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
        named.append(f"{', '.join(some[:-1])} and {some[-1]}")
    return f"{'; '.join(named)} are alike: shuffled alone, each of them seems weaker than they are together." if named else ""
