"""What is usual for each column: the most extreme buckets of the reference, which a fault must exceed (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bins import ColumnBins, Profile
from training.profile import Reference

FEWEST_ROWS = 20  # a bucket with fewer rows is never judged; buckets are joined until they hold the policy's minimum


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for one column of the reference.

    Parameters
    ----------
    missing, outside
        The largest share of missing, and of never learned, values in any bucket.
    restlessness
        The farthest (total variation, 0 to 1) any bucket is from the whole.
    is_constant
        Whether the whole reference has one value.
    is_discrete
        Whether its bins stand for single values.
    shares, most
        Share of the rows in every bin: of the whole, and the largest of any bucket.
    constant_among
        Most columns that varied in a bucket in which this one did not; 0 when it always varied.
    others_varying
        Most other columns that varied in any bucket.
    spread
        How many bins a bucket fills, the median.
    low, high
        Range of a numeric column.
    """

    bins: ColumnBins
    missing: float
    outside: float
    restlessness: float
    is_constant: bool
    is_discrete: bool
    shares: npt.NDArray[np.float64]
    most: npt.NDArray[np.float64]
    constant_among: int
    others_varying: int
    spread: float
    low: float
    high: float


def usual(reference: Reference, minimum_rows: int = FEWEST_ROWS) -> dict[str, Usual]:
    """Measure every feature's most extreme buckets; model outputs (`@...`) are not inputs and are left out."""
    joined = grouped(list(enumerate(reference.bucket_blocks)), 1, minimum_rows)
    blocks = [profile for _, _, profile in joined if profile.rows >= FEWEST_ROWS]
    blocks = blocks or [reference.total]
    varying = [count_varying(b) for b in blocks]
    return {bins.name: _usual(bins, reference.total, blocks, varying) for bins in reference.bins.columns if not bins.name.startswith("@")}


def _usual(bins: ColumnBins, total: Profile, blocks: Sequence[Profile], varying: Sequence[int]) -> Usual:
    shares = np.array([_shares(b.counts[bins.name]) for b in blocks])
    whole = _shares(total.counts[bins.name])
    still = [v for b, v in zip(blocks, varying, strict=True) if is_constant_in(b, bins.name)]
    others = [v - (not is_constant_in(b, bins.name)) for b, v in zip(blocks, varying, strict=True)]
    return Usual(
        bins=bins,
        missing=float(shares[:, -1].max()),
        outside=float(outside_of(bins, shares.T).max()),
        restlessness=float(np.abs(shares - whole).sum(axis=1).max() / 2),
        is_constant=is_constant_in(total, bins.name),
        is_discrete=is_discrete(bins),
        shares=whole,
        most=shares.max(axis=0),
        constant_among=max(still, default=0),
        others_varying=max(others),
        spread=float(np.median((shares[:, :-1] > 0).sum(axis=1))),
        low=total.minimum.get(bins.name, 0.0),
        high=total.maximum.get(bins.name, 0.0),
    )


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


def outside_of(bins: ColumnBins, counts: npt.NDArray[Any]) -> Any:
    """Return the rows outside of what was learned: of no known category, below or above; over the first axis."""
    return counts[-2] if bins.kind == "categorical" else counts[-3] + counts[-2]


def is_constant_in(profile: Profile, name: str) -> bool:
    """Return whether all present values are one; a column without a present value is missing, not constant."""
    counts = profile.counts[name]
    present = counts[:-1]
    if present.sum() == 0:
        return False
    if name in profile.minimum and name in profile.maximum:
        return profile.minimum[name] == profile.maximum[name]
    return bool((present[:-1] == present.sum()).any())


def count_varying(profile: Profile) -> int:
    return sum(not is_constant_in(profile, n) for n in profile.counts if not n.startswith("@"))
