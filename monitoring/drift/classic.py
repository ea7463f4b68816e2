"""Inputs moved: chi-squared and PSI on binned counts, in two consecutive disjoint windows (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from monitoring.drift.two_samples import index_by_chance, stability_index
from training.errors import BinsMismatchError
from training.profiles.bins import LABEL, SCORE, Profile
from training.profiles.reference import Reference

Counts = npt.NDArray[np.int64]

SMALLEST_EXPECTED = 5.0  # expected rows a bin needs to keep its own cell in the chi-squared test
MARGIN = 1.5  # how much farther than the reference's own farthest block a window must be
FEWEST_ROWS = 50  # a window with fewer rows is not judged
NEW_SHARE = 0.03  # a category nobody has learned is worth a word from this share of the rows on
FEWEST_BLOCKS = 4  # fewer window blocks than this say nothing of the reference's own wobble


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """One column against its reference.

    Attributes
    ----------
    column
        Feature name, or `@score` / `@label` for what the model said.
    psi, previous_psi
        Population stability index of the current and the previous window, less what chance alone adds; may be negative.
    floor
        What `psi` must exceed to be material.
    p, q
        P-value of the chi-squared test of homogeneity, and the same after Benjamini-Hochberg over all columns.
    previous_q
        `q` of the previous window; nan when it could not be judged.
    new_share
        Share of the current rows whose category was not learned, beyond what was so in the reference; 0 for numbers.
    missing_share
        Share of the current rows without a value.
    is_drifting
        Whether test and floor were both passed in both windows.
    """

    column: str
    psi: float
    floor: float
    p: float
    q: float
    previous_psi: float
    previous_q: float
    new_share: float
    missing_share: float
    is_drifting: bool


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Every column of one model's current window, with the rows the numbers stand on.

    Attributes
    ----------
    ended
        A sentence for each episode of the sequential rule that ended at this slot, since this one took over.
    """

    columns: tuple[ColumnDrift, ...]
    rows: int
    previous_rows: int
    bins_id: str
    note: str = ""
    ended: tuple[str, ...] = ()

    @property
    def drifting(self) -> tuple[str, ...]:
        """Names of the drifting columns, the farthest first."""
        return tuple(c.column for c in sorted(self.columns, key=lambda c: -c.psi) if c.is_drifting)

    def notices(self) -> tuple[str, ...]:
        """Return what somebody should look at: the drifting columns, and categories that were not learned."""
        reasons = []
        if self.drifting:
            worst = {c.column: c for c in self.columns}
            named = [f"{n} (PSI {worst[n].psi:.2f}, floor {worst[n].floor:.2f})" for n in self.drifting[:5]]
            rest = f" and {len(self.drifting) - 5} more" if len(self.drifting) > 5 else ""
            reasons.append(f"drift in two windows running: {', '.join(named)}{rest}")
        reasons.extend(
            f"{c.column}: {c.new_share:.0%} of the rows have a category the champion has not learned"
            for c in self.columns
            if c.new_share >= NEW_SHARE and not c.column.startswith("@")
        )
        return tuple(reasons)

    def remarks(self) -> tuple[str, ...]:
        """Return what else is worth a word and asks nobody to look: what ended."""
        return self.ended

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values."""
        return {
            "rows": self.rows,
            "previous_rows": self.previous_rows,
            "bins_id": self.bins_id,
            "note": self.note,
            "drifting": list(self.drifting),
            "columns": [{k: _plain(v) for k, v in asdict(c).items()} for c in self.columns],
            **({"ended": list(self.ended)} if self.ended else {}),
        }


def chi_squared(a: Counts, b: Counts) -> tuple[float, float]:
    """Test whether two columns of counts come from one distribution, both samples being finite.

    Bins that expect fewer than five rows in the smaller sample are pooled.

    Returns
    -------
    Statistic and p-value; (0, 1) when fewer than two cells remain.

    References
    ----------
    Pearson (1900); Cochran, "Some methods for strengthening the common chi-squared tests" (1954).

    Examples
    --------
    >>> statistic, p = chi_squared(np.array([50, 50]), np.array([50, 50]))
    >>> statistic, p
    (0.0, 1.0)
    >>> chi_squared(np.array([90, 10]), np.array([50, 50]))[1] < 1e-6
    True
    """
    n, m = float(a.sum()), float(b.sum())
    if n + m == 0:
        return 0.0, 1.0
    cells = _pool(np.vstack([a, b]).astype(float), min(n, m) / (n + m))
    if cells.shape[1] < 2:
        return 0.0, 1.0
    expected = cells.sum(axis=0) * np.array([[n], [m]]) / (n + m)
    statistic = float(((cells - expected) ** 2 / expected).sum())
    return statistic, float(special.chdtrc(cells.shape[1] - 1, statistic))


def _pool(cells: npt.NDArray[np.float64], smaller_share: float) -> npt.NDArray[np.float64]:
    total = cells.sum(axis=0)
    cells, total = cells[:, total > 0], total[total > 0]
    is_small = total * smaller_share < SMALLEST_EXPECTED
    if not is_small.any():
        return cells
    rest = cells[:, is_small].sum(axis=1, keepdims=True)
    kept = cells[:, ~is_small]
    if rest.sum() * smaller_share < SMALLEST_EXPECTED and kept.shape[1]:
        smallest = int(kept.sum(axis=0).argmin())
        kept[:, smallest] += rest[:, 0]
        return kept
    return np.hstack([kept, rest])


def psi(current: Counts, reference: Counts) -> float:
    """Return the population stability index, less its mean under no change; about 0 when nothing moved.

    References
    ----------
    Yurdakul, "Statistical properties of population stability index" (2018): under no change the plain index is about
    (1/n + 1/m) chi-squared with K - 1 degrees of freedom.

    Examples
    --------
    >>> round(psi(np.array([500, 500]), np.array([5000, 5000])), 3)
    -0.001
    >>> round(psi(np.array([800, 200]), np.array([5000, 5000])), 2)
    0.41
    """
    seen = (current + reference) > 0
    if current.sum() == 0 or reference.sum() == 0 or int(seen.sum()) < 2:
        return 0.0
    return float(stability_index(reference[seen], current[seen])) - index_by_chance(reference, current)


def benjamini_hochberg(p: Iterable[float]) -> npt.NDArray[np.float64]:
    """Return q-values: reject those below a level and at most that share of the rejections is false on average.

    References
    ----------
    Benjamini and Hochberg, "Controlling the false discovery rate" (1995).

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.5, 0.02]).round(3).tolist()
    [0.03, 0.5, 0.03]
    """
    values = np.asarray(list(p), dtype=float)
    order = np.argsort(values)
    raised = values[order] * len(values) / np.arange(1, len(values) + 1)
    q = np.empty_like(values)
    q[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return q


def floors(reference: Reference, psi_floor: float, *, margin: float = MARGIN) -> dict[str, float]:
    """Return per column how far a window must be to matter: the policy's floor, or the reference's own wobble with a margin.

    With fewer than four window blocks the (more restless) bucket blocks are asked instead.
    """
    blocks = [b for b in reference.window_blocks if b.rows >= FEWEST_ROWS]
    if len(blocks) < FEWEST_BLOCKS:
        blocks = [*blocks, *(b for b in reference.bucket_blocks if b.rows >= FEWEST_ROWS)]
    total = reference.total.counts
    return {
        name: max([psi_floor, *(margin * psi(block.counts[name], counts) for block in blocks if name in block.counts)])
        for name, counts in total.items()
    }


def drift(
    reference: Reference, current: Profile, previous: Profile, *, level: float, psi_floor: float, margin: float = MARGIN
) -> DriftReport:
    """Compare two consecutive disjoint windows with the reference, column by column.

    Parameters
    ----------
    reference
        What the champion was trained on, with its own time blocks.
    current, previous
        Counts of the windows, made under the reference's bins.
    level
        False discovery rate over the columns.
    psi_floor
        The least index that matters, whatever the test says.

    Returns
    -------
    A column drifts when the test rejects **and** the index is above its floor, in both windows.

    Raises
    ------
    BinsMismatchError
        The windows were counted under other bins.
    """
    _same_bins(reference, current, previous)
    if current.rows < FEWEST_ROWS:
        return DriftReport(
            (), current.rows, previous.rows, current.bins_id, f"only {current.rows} rows under these bins, {FEWEST_ROWS} needed"
        )
    names = [n for n in reference.total.counts if n in current.counts and current.counts[n].sum() > 0 and _is_compared(reference, n)]
    now = _judge(reference, current, names)
    before = _judge(reference, previous, names) if previous.rows >= FEWEST_ROWS else {}
    floor = floors(reference, psi_floor, margin=margin)
    columns = tuple(_column(reference, current, name, now[name], before.get(name), floor[name], level) for name in names)
    note = "" if before else f"the window before has {previous.rows} rows under these bins: nothing is called drift yet"
    return DriftReport(columns, current.rows, previous.rows, current.bins_id, note)


def _is_compared(reference: Reference, name: str) -> bool:
    """Return whether this rule looks at a counted column: at features that do not run with time, and at score and label."""
    return name in (SCORE, LABEL) if name.startswith("@") else name not in reference.measures.running


def _same_bins(reference: Reference, *windows: Profile) -> None:
    for window in windows:
        if window.bins_id != reference.total.bins_id:
            raise BinsMismatchError(f"a window counted under bins {window.bins_id} cannot be compared with bins {reference.total.bins_id}")


def _judge(reference: Reference, window: Profile, names: list[str]) -> dict[str, tuple[float, float, float]]:
    tests = [chi_squared(window.counts[n], reference.total.counts[n])[1] for n in names]
    qs = benjamini_hochberg(tests)
    return {n: (psi(window.counts[n], reference.total.counts[n]), p, float(q)) for n, p, q in zip(names, tests, qs, strict=True)}


def _column(
    reference: Reference,
    current: Profile,
    name: str,
    now: tuple[float, float, float],
    before: tuple[float, float, float] | None,
    floor: float,
    level: float,
) -> ColumnDrift:
    previous_psi, _, previous_q = before or (math.nan,) * 3
    holds_now = now[0] > floor and now[2] < level
    held_before = before is not None and previous_psi > floor and previous_q < level
    counts = current.counts[name]
    return ColumnDrift(
        column=name,
        psi=now[0],
        floor=floor,
        p=now[1],
        q=now[2],
        previous_psi=previous_psi,
        previous_q=previous_q,
        new_share=new_share(reference, current, name),
        missing_share=float(counts[-1] / counts.sum()),
        is_drifting=holds_now and held_before,
    )


def new_share(reference: Reference, window: Profile, name: str) -> float:
    """Return by how much the share of categories the bins have no name for has grown; 0 for numbers."""
    bins = next((b for b in reference.bins.columns if b.name == name), None)
    if bins is None or bins.kind != "categorical":
        return 0.0
    now, then = window.counts[name], reference.total.counts[name]
    return max(0.0, float(now[-2] / max(1, now.sum()) - then[-2] / max(1, then.sum())))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else round(value, 6)
    return value
