"""Whether one conversion explains a whole column: its binned shares are those of the reference in another unit (pure).

A column is held against the reference's own buckets as they are, and as they would be after a known conversion. It must be like
none of them as they are, however recalibrated, and like some of them converted. And it must have jumped: a winter that the reference
did not see may look like a tenth of its summer, but comes there by steps that are each no more than a recalibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.profiles.bins import ColumnBins, Profile

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_MEASURES = (1.609344, 1.852, 1.943844, 2.204623, 2.236936, 2.54, 3.28084, 3.6, 3.785412, 4.184, 25.4, 28.349523, 33.863886)
FACTORS = (*_MEASURES, 10.0, 60.0, 100.0, 1000.0, 3600.0, 86_400.0, 1e6)
SHIFTED = ((1.8, 32.0), (1 / 1.8, -32 / 1.8), (1.0, 273.15), (1.0, -273.15))
MAPS = (*((f, 0.0) for f in FACTORS), *((1 / f, 0.0) for f in FACTORS), *SHIFTED)
"""What is multiplied and added: a mile in kilometres, knots, pounds, inches, feet, joules, minutes, per cent, Fahrenheit and back ..."""
RECALIBRATED = 1.5  # a factor up to this is a recalibration, as is a shift by a standard deviation
MOST_BLOCKS = 120
BETTER = (10.0, 0.2)  # so much likelier: in all, and a row
LOOSE = -0.2  # nats a row that a conversion may miss by: rows do not lie evenly in their bins
FEWEST_BINS = 4  # bins a bucket must fill to have a shape


@dataclass(frozen=True, slots=True)
class Converted:
    """The reference's buckets of one column, as they are and converted.

    Attributes
    ----------
    plain
        Log shares by bin of every bucket as it is and recalibrated, shape (n, bins).
    by_map
        Of every bucket after each conversion, shape (maps, n, bins).
    usual
        Of the reference's buckets held against the others: the worst of the best fits, nats a row.
    edges, recalibrations
        Of the bins, and what a bucket may be multiplied by and moved by without being in another unit.
    """

    plain: Floats
    by_map: Floats
    usual: float
    edges: Floats
    recalibrations: tuple[tuple[float, float], ...]


def convert(bins: ColumnBins, blocks: Sequence[Profile], total: Profile) -> Converted | None:
    """Prepare a column; None where it has no shape that a conversion could move: few bins, or no range."""
    name = bins.name
    if bins.kind != "numeric" or bins.part != "value" or name not in total.minimum or len(bins.edges) <= FEWEST_BINS:
        return None
    chosen = [blocks[i] for i in np.unique(np.linspace(0, len(blocks) - 1, MOST_BLOCKS).astype(int))]
    counts = np.array([b.counts[name][:-1] for b in chosen], dtype=float)
    if np.median((counts > 0).sum(axis=1)) < FEWEST_BINS:
        return None
    rows = counts.sum(axis=1)
    own = _in_order(counts)
    edges = np.array(bins.edges)
    spread = _deviation(edges, total.counts[name][: len(edges) - 1])
    factors, shifts = np.geomspace(1 / RECALIBRATED, RECALIBRATED, 7).tolist(), (-1, -0.5, 0, 0.5, 1)
    recalibrations = ((1.0, 0.0), *((a, b * spread) for a in factors for b in shifts))
    plain = _moved(own, edges, recalibrations, rows)
    fits = own / np.maximum(rows, 1)[:, None] @ plain[0].T
    np.fill_diagonal(fits, -np.inf)
    best = np.where(rows > 0, fits.max(axis=1) - _entropy(own), 0.0)
    usual = min(LOOSE, float(best.min()))
    return Converted(plain.reshape(-1, plain.shape[-1]), _moved(own, edges, MAPS, rows), usual, edges, recalibrations)


def conversion(converted: Converted, counts: Counts) -> tuple[float, float] | None:
    """Return the factor and the shift that explain a column's counts, None where none does or none is needed."""
    own = _in_order(counts[None, :-1].astype(float))[0]
    rows = own.sum()
    if rows == 0:
        return None
    fits = (converted.by_map @ own).max(axis=1)
    best = int(fits.argmax())
    is_like = fits[best] / rows - float(_entropy(own[None])[0]) >= converted.usual
    is_better = _is_better(float(fits[best]), float((converted.plain @ own).max()), float(rows))
    return MAPS[best] if is_better and is_like and (own > 0).sum() >= FEWEST_BINS else None


def is_gradual(converted: Converted, counts: Counts, earlier: Sequence[Counts]) -> bool:
    """Return whether a column came to where a conversion explains it by steps that are each no more than a recalibration.

    Parameters
    ----------
    counts
        Those that a conversion explains.
    earlier
        Those of the buckets before it, in order, but for such as are in another unit. What neither the reference nor a bucket before it
        explains is passed over: where more and more of the rows are in another unit, each bucket is a mixture of both.
    """
    own = _in_order(counts[None, :-1].astype(float))
    known: list[Floats] = []
    for before in _in_order(np.array([each[:-1] for each in earlier], dtype=float).reshape(len(earlier), own.shape[1])):
        rows = float(before.sum())
        if rows and _best_plain(converted, known, before) / rows - float(_entropy(before[None])[0]) >= converted.usual:
            known.append(_moved(before[None], converted.edges, converted.recalibrations, np.array([rows]))[:, 0])
    best = float((converted.by_map @ own[0]).max())
    return bool(known) and not _is_better(best, _best_plain(converted, known, own[0]), float(own.sum()))


def _best_plain(converted: Converted, known: Sequence[Floats], own: Floats) -> float:
    """Return how likely counts are at best without a conversion, by the reference and by what is known of buckets after it."""
    return max(float((shares @ own).max()) for shares in (converted.plain, *known))


def _is_better(fit: float, plain: float, rows: float) -> bool:
    return fit - plain > max(BETTER[0], BETTER[1] * rows)


def _in_order(counts: Floats) -> Floats:
    """Return counts, shape (n, bins + 2), with those below first: as they are stored those below and above come last."""
    return counts[:, [-2, *range(counts.shape[1] - 2), -1]]


def says(factor: float, shift: float) -> str:
    """Say a conversion in words, as exactly as bins tell it.

    Examples
    --------
    >>> says(1.8, 32.0), says(1 / 3.6, 0.0), says(1.0, -273.15)
    ('about times 1.8 plus 32', 'about divided by 3.6', 'about minus 273')
    """
    times = "" if factor == 1 else f"times {factor:.2g}" if factor > 1 else f"divided by {1 / factor:.2g}"
    moved = "" if shift == 0 else f"{'plus' if shift > 0 else 'minus'} {abs(shift):.3g}"
    return " ".join(part for part in ("about", times, moved) if part)


def _moved(own: Floats, edges: Floats, maps: Sequence[tuple[float, float]], rows: Floats) -> Floats:
    """Return the log shares of buckets in the same bins after each map, shape (maps, buckets, bins).

    Within a bin rows are taken to lie evenly; half a row is added to every bin.
    """
    below = own[:, :-1].cumsum(axis=1)  # rows below each edge
    out = np.empty((len(maps), *own.shape))
    for place, (a, b) in enumerate(maps):
        before = np.clip((edges - b) / a, edges[0], edges[-1])
        position = np.interp(before, edges, np.arange(len(edges), dtype=float))
        low = np.minimum(position.astype(int), len(edges) - 2)
        part = position - low
        moved = below[:, low] * (1 - part) + below[:, low + 1] * part
        shares = np.diff(moved, axis=1, prepend=0.0, append=rows[:, None])
        out[place] = np.log((shares + 0.5) / (rows + 0.5 * own.shape[1])[:, None])
    return out


def _entropy(own: Floats) -> Floats:
    """Return the mean log share of rows under their own shares."""
    shares = own / np.maximum(own.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0).sum(axis=1))


def _deviation(edges: Floats, counts: npt.NDArray[np.int64]) -> float:
    middles, weights = (edges[:-1] + edges[1:]) / 2, counts / max(1, counts.sum())
    mean = float(middles @ weights)
    return float(np.sqrt(((middles - mean) ** 2) @ weights))
