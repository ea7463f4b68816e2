"""What is usual for each column: the most extreme buckets of the reference, which a fault must exceed (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from training.profiles.bins import ColumnBins, Profile
from training.profiles.reference import Reference

FEWEST_ROWS = 20  # a bucket with fewer rows is never judged; buckets are joined until they hold the policy's minimum
SPREAD = 3  # bins a bucket of a number must fill to be called moving and not merely stepping
LIMIT_TIMES = 5
LIMIT_SHARE = 0.02  # a value that is the lowest of so many buckets is a limit: of an instrument, or of what there is;
BEYOND_LIMIT = 0.15  # if so few go lower. The same for the highest
DEVIATIONS = 3  # a share in the worst bucket is no farther than this from the mean, but for what chance adds


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for one column of the reference.

    Attributes
    ----------
    missing, outside
        The largest share of missing, and of never learned, values in any bucket; of missing ones without what chance adds.
    variability
        The farthest (total variation, 0 to 1) any bucket is from the whole.
    is_constant
        Whether the whole reference has one value; or none that the bins know, which cannot be told from one.
    is_discrete
        Whether its bins stand for single values.
    is_calendar
        Whether what is counted is whether it is as the time of the row says.
    shares, most
        Share of the rows in every bin: of the whole, and the largest of any bucket without what chance adds.
    constant_among
        Most columns that varied in a bucket in which this one did not; 0 when it always varied, or rested at the end of its scale.
    others_varying
        Most other columns that varied in any bucket.
    spread
        How many bins a bucket fills, the median.
    low, high
        Range of a numeric column.
    limits
        The values at which many buckets begin or end: a number may rest there for long.
    novelty
        Of the times a bucket's commonest category was another than the last one's, the share at which it was a new one.
    """

    bins: ColumnBins
    missing: float
    outside: float
    variability: float
    is_constant: bool
    is_discrete: bool
    is_calendar: bool
    shares: npt.NDArray[np.float64]
    most: npt.NDArray[np.float64]
    constant_among: int
    others_varying: int
    spread: float
    low: float
    high: float
    limits: frozenset[float]
    novelty: float


def usual(reference: Reference, minimum_rows: int = FEWEST_ROWS) -> dict[str, Usual]:
    """Measure every feature's most extreme buckets; what is computed (`@...`) is no input and is left out."""
    blocks = usual_blocks(reference, minimum_rows)
    inputs = [bins for bins in reference.bins.columns if not bins.name.startswith("@")]
    constant = {bins.name: np.array([is_constant_in(b, bins.name) for b in blocks]) for bins in inputs}
    varying = np.full(len(blocks), len(inputs), dtype=np.int64)
    for stands_still in constant.values():
        varying -= stands_still
    by_calendar = {column.name for column in reference.measures.calendar}
    return {
        bins.name: _usual(bins, reference.total, blocks, varying, constant[bins.name], is_calendar=bins.name in by_calendar)
        for bins in inputs
    }


def usual_blocks(reference: Reference, minimum_rows: int) -> list[Profile]:
    """Return the reference's own buckets, joined as live ones are; the whole where none has rows enough."""
    joined = grouped(list(enumerate(reference.bucket_blocks)), 1, minimum_rows)
    return [profile for _, _, profile in joined if profile.rows >= FEWEST_ROWS] or [reference.total]


def _usual(
    bins: ColumnBins,
    total: Profile,
    blocks: Sequence[Profile],
    varying: npt.NDArray[np.int64],
    constant: npt.NDArray[np.bool_],
    *,
    is_calendar: bool,
) -> Usual:
    counts = np.array([b.counts[bins.name] for b in blocks])
    rows = counts.sum(axis=1)
    shares = counts / np.maximum(1, rows[:, None])
    whole, spread = _shares(total.counts[bins.name]), float(np.median((shares[:, :-1] > 0).sum(axis=1)))
    limits = _limits(bins.name, blocks)
    # A number that moves may rest at the end of its scale: that says nothing of the same rest anywhere else.
    resting = np.array([b.minimum.get(bins.name) in limits for b in blocks]) & (spread >= SPREAD)
    return Usual(
        bins=bins,
        missing=_worst(counts[:, -1], rows),
        outside=float(outside_of(bins, shares.T, is_calendar=is_calendar).max()),
        variability=float(np.abs(shares - whole).sum(axis=1).max() / 2),
        is_constant=is_constant_in(total, bins.name) or _is_unknown_in(total, bins.name),
        is_discrete=is_discrete(bins),
        is_calendar=is_calendar,
        shares=whole,
        most=np.array([_worst(own, rows) for own in counts.T]),
        constant_among=int(varying[constant & ~resting].max(initial=0)),
        others_varying=int((varying - ~constant).max()),
        spread=spread,
        low=total.minimum.get(bins.name, 0.0),
        high=total.maximum.get(bins.name, 0.0),
        limits=limits,
        novelty=_novelty(counts[:, :-1]),
    )


def _worst(counts: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> float:
    """Return the largest share of any bucket, as far as buckets differ by more than chance.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(_worst(rng.binomial(50, 0.1, 300), np.full(300, 50)), 1), _worst(np.array([0, 0, 50]), np.full(3, 50))
    (0.1, 1.0)
    """
    shares = counts / np.maximum(rows, 1)
    mean = counts.sum() / max(1, rows.sum())
    by_chance = float(np.mean(mean * (1 - mean) / np.maximum(rows, 1)))
    beyond = max(0.0, float(np.mean((shares - mean) ** 2)) - by_chance) ** 0.5
    is_explained = beyond < by_chance**0.5 / 2  # what is left of it is as much chance as the rest
    worst = float(shares.max())
    return min(worst, float(mean) + DEVIATIONS * beyond) if is_explained else worst


def _limits(name: str, blocks: Sequence[Profile]) -> frozenset[float]:
    findings: set[float] = set()
    for sign, extremes in ((1, [b.minimum.get(name) for b in blocks]), (-1, [b.maximum.get(name) for b in blocks])):
        known = sign * np.array([value for value in extremes if value is not None], dtype=float)
        values, times = np.unique(known, return_counts=True)
        beyond = np.cumsum(times) - times
        is_limit = (times >= max(LIMIT_TIMES, LIMIT_SHARE * len(known))) & (beyond <= BEYOND_LIMIT * len(known))
        findings |= set((sign * values[is_limit]).tolist())
    return frozenset(findings)


def _novelty(counts: npt.NDArray[np.int64]) -> float:
    commonest = counts.argmax(axis=1).tolist()
    seen, changes, new = {commonest[0]}, 0, 0
    for before, after in pairwise(commonest):
        changes += after != before
        new += after not in seen
        seen.add(after)
    return new / changes if changes else 1.0


def grouped(buckets: Sequence[tuple[int, Profile]], bucket_us: int, minimum_rows: int) -> Iterator[tuple[int, int, Profile]]:
    """Yield (start, end, counts), consecutive buckets joined until they hold enough rows to be judged."""
    start: int | None = None
    held: Profile | None = None
    end = 0
    for bucket, profile in buckets:
        start = bucket if start is None else start
        held = profile if held is None else held.merge(profile)
        end = bucket + bucket_us
        if held.rows >= minimum_rows:
            yield start, end, held
            start, held = None, None
    if start is not None and held is not None:
        yield start, end, held


def is_discrete(bins: ColumnBins) -> bool:
    """Return whether every bin of a column stands for one value: categories, or a bin a number.

    Edges of a column with few values are the middles between them: the values can be told from the edges and must end
    at the last one.

    Examples
    --------
    >>> is_discrete(ColumnBins("x", "numeric", edges=(0.0, 0.5, 1.5, float(np.nextafter(2.0, np.inf)))))
    True
    >>> is_discrete(ColumnBins("x", "numeric", edges=(0.0, 0.7, 1.5, 2.0)))
    False
    """
    if bins.kind == "categorical":
        return True
    edges = np.asarray(bins.edges, dtype=float)
    if len(edges) < 2:
        return False
    values = [float(edges[0])]
    for middle in edges[1:-1].tolist():
        values.append(2 * middle - values[-1])
    is_ordered = all(low < middle < high for low, middle, high in zip(values[:-1], edges[1:-1].tolist(), values[1:], strict=True))
    return is_ordered and bool(np.isclose(values[-1], edges[-1], rtol=1e-9, atol=1e-12))


def _shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    shares: npt.NDArray[np.float64] = counts / max(1, counts.sum())
    return shares


def outside_of(bins: ColumnBins, counts: npt.NDArray[Any], *, is_calendar: bool = False) -> Any:
    """Return the rows outside of what was learned, over the first axis: of no known category, below or above, not as the calendar says."""
    if is_calendar:
        return counts[1]
    return counts[-2] if bins.kind == "categorical" else counts[-3] + counts[-2]


def is_constant_in(profile: Profile, name: str) -> bool:
    """Return whether all present values are one; a column without a present value is missing, not constant."""
    counts = profile.counts[name]
    if name in profile.minimum and name in profile.maximum:
        return bool(profile.minimum[name] == profile.maximum[name] and counts[:-1].any())
    present = counts[:-1]
    rows = present.sum()
    return bool(rows and (present[:-1] == rows).any())


def _is_unknown_in(profile: Profile, name: str) -> bool:
    """Return whether all present values are categories that the bins do not know, which are counted together."""
    return name not in profile.minimum and bool(profile.counts[name][-2]) and not profile.counts[name][:-2].any()


def count_varying(profile: Profile) -> int:
    return sum(not is_constant_in(profile, n) for n in profile.counts if not n.startswith("@"))
