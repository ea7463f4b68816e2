"""Whether rows without a label differ in score from those with one, and what each labelled row stands for then (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import special

from monitoring.judging.labels.pooling import firsts
from monitoring.judging.performance.outcome_sums import OutcomeSums, add_up
from monitoring.judging.unlabelled.strata import Due

LEVEL = 0.01
"""Of a hundred looks at labels that are missing by chance one is taken for more: it costs a wider interval; a miss, a wrong figure."""
LEAST_EXPECTED = 5  # rows of each side that chance would put into a stratum: of fewer, the statistic is not chi-squared
SPOKEN_OF = 3  # parts of the score that are told apart in words where so few are missing that chi-squared cannot tell strata apart
LEAST_LABELLED = 10  # of fewer, what a labelled row stands for is known to a third (1 / sqrt(10)) at most
MILLION = 1_000_000
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreWeights:
    """How many rows each labelled row stands for.

    Attributes
    ----------
    millionths
        By stratum: 1,500,000 for one and a half.
    design_effect
        By how much more a mean of rows that weigh so unevenly varies than one of as many equal ones (Kish).
    sentence
        How labelled rows differ from the others.
    """

    millionths: tuple[int, ...]
    design_effect: float
    sentence: str

    def of(self, sums: OutcomeSums, stratum_of_bin: Sequence[int]) -> OutcomeSums:
        """Return the sums of all rows that labelled ones stand for, in millionths of a row.

        Parameters
        ----------
        stratum_of_bin
            The stratum of each bin of the score of a binary model. Without it, scores are left out: of several classes each has its own.
        """
        whole = add_up([OutcomeSums(classes=sums.classes), *(part.times(self.millionths[at]) for at, part in sorted(sums.parts.items()))])
        if stratum_of_bin:
            for name, pair in sums.scores.items():
                weighted = [{at: n * self.millionths[stratum_of_bin[at]] for at, n in cells.items()} for cells in pair]
                whole.scores[name] = weighted[0], weighted[1]
        return whole


def weights_of(sums: OutcomeSums, due: Due, strata: Sequence[float]) -> ScoreWeights | None:
    """Return what labelled rows stand for, where those without a label differ from them in score; None where they may not.

    Two tests, each at half of the level: Wilcoxon's of ranks, which sees in few rows that one side is higher, and chi-squared over the
    strata, which sees any difference; those are joined that expect fewer than five rows of a side. Weights are rows by labelled rows of
    a stratum, those joined that have fewer than ten labelled ones.

    Parameters
    ----------
    sums, due
        Of the labelled rows, and of all.
    strata
        The inner edges of the strata.

    References
    ----------
    Holt and Smith, "Post stratification" (1979); Cochran, "Some methods for strengthening the common chi-squared tests" (1954).

    Examples
    --------
    >>> part = OutcomeSums(40)
    >>> weights = weights_of(OutcomeSums(80, parts={0: part, 1: part}), Due({0: 40, 1: 80}), (0.5,))
    >>> weights.millionths, weights.sentence
    ((1000000, 2000000), 'labelled rows score lower than the others (of scores from 0.5 on 50% are labelled, of those below 0.5 100%)')
    """
    places = range(len(strata) + 1)
    rows = np.array([due.n.get(at, 0) for at in places], dtype=np.int64)
    labelled = np.array([sums.parts[at].n if at in sums.parts else 0 for at in places], dtype=np.int64)
    rows = np.maximum(rows, labelled)
    sentence = _difference(rows, labelled, strata)
    begins = firsts(labelled.tolist(), 0, LEAST_LABELLED)
    if sentence is None or len(begins) < 2:
        return None
    joined_rows, joined = np.add.reduceat(rows, begins), np.add.reduceat(labelled, begins)
    stands_for = np.repeat(joined_rows / np.maximum(joined, 1), np.diff([*begins, len(rows)]))
    weighed = labelled * stands_for
    effect = float(labelled.sum() * (weighed @ stands_for) / weighed.sum() ** 2)
    return ScoreWeights(tuple(np.rint(stands_for * MILLION).astype(np.int64).tolist()), effect, sentence)


def _difference(rows: Counts, labelled: Counts, strata: Sequence[float]) -> str | None:
    """Say how labelled rows differ in score from the others; None where that may be chance, or too few are missing to tell."""
    n, n_labelled = int(rows.sum()), int(labelled.sum())
    n_missing = n - n_labelled
    if not n_labelled or not n_missing:
        return None
    share, side = n_labelled / n, _side(rows, labelled)
    begins = firsts((rows * min(share, 1 - share)).tolist(), 0, LEAST_EXPECTED)
    joined_rows, joined = np.add.reduceat(rows, begins), np.add.reduceat(labelled, begins)
    statistic = float(((joined - joined_rows * share) ** 2 / np.maximum(joined_rows * share * (1 - share), 1e-300)).sum())
    if not side and (len(begins) < 2 or special.chdtrc(len(begins) - 1, statistic) >= LEVEL / 2):
        return None
    begins = firsts(rows.tolist(), 0, -(-n // SPOKEN_OF)) if len(begins) < 2 else begins
    joined_rows, joined = np.add.reduceat(rows, begins), np.add.reduceat(labelled, begins)
    names = [_name(strata, begin, end) for begin, end in pairwise([*begins, len(rows)])]
    shares = joined / joined_rows
    fewest, most = int(shares.argmin()), int(shares.argmax())
    verb = {1: "score higher than", -1: "score lower than", 0: "differ in score from"}[side]
    ends = f"of {names[fewest]} {shares[fewest]:.0%} are labelled, of {names[most].replace('scores', 'those')} {shares[most]:.0%}"
    return f"labelled rows {verb} the others ({ends})"


def _side(rows: Counts, labelled: Counts) -> int:
    """Return 1 where labelled rows have higher scores, -1 where lower, 0 where that may be chance: Wilcoxon's test of ranks with ties."""
    missing, n = rows - labelled, int(rows.sum())
    n_labelled, n_missing = int(labelled.sum()), int(missing.sum())
    rank = rows.cumsum() - rows / 2
    away = float(labelled @ rank) / n_labelled - float(missing @ rank) / n_missing
    spread = (n**2 - float((rows.astype(np.float64) ** 3).sum()) / n) / 12 * (1 / n_labelled + 1 / n_missing)
    if spread <= 0.0 or 2.0 * special.ndtr(-abs(away) / math.sqrt(spread)) >= LEVEL / 2:
        return 0
    return 1 if away > 0 else -1


def _name(strata: Sequence[float], begin: int, end: int) -> str:
    """Return what the scores of some neighbouring strata are called."""
    low, high = (f"{strata[at - 1]:.3g}" if 0 < at <= len(strata) else None for at in (begin, end))
    if low is None:
        return "all scores" if high is None else f"scores below {high}"
    return f"scores from {low} on" if high is None else f"scores from {low} to {high}"
