"""Rows that came twice: told from the cells they fall into (`training.profiles.row_cells`), against the reference's own buckets (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from training.profiles.bins import ROW, Profile
from training.profiles.row_cells import CELLS

UNLIKELY = 1e-4  # chance that so many pairs of rows meet in their cells, under the most repetitive bucket of the reference
LEAST_SHARE = 0.1  # of the rows
SLACK = 0.005
MOST_USUAL = 0.05  # where so many rows are alike by nature, repeated ones are not told from them


def repeated_share(profile: Profile) -> float | None:
    """Return how many pairs of equal rows there are a row, about; 0 where all differ, None where cells were not counted.

    Chance moves it by 0.022 either way, whatever the number of rows.
    """
    cells = profile.counts.get(ROW)
    if cells is None or cells.sum() < 2:
        return None
    rows = int(cells.sum())
    return (_pairs(cells) - _by_chance(rows)) / rows / (1 - 1 / CELLS)


def usual_share(blocks: Sequence[Profile]) -> float | None:
    """Return how many equal pairs there are a row where there are most: in the reference's buckets, less what chance adds to that."""
    shares = [share for block in blocks if (share := repeated_share(block)) is not None]
    if not shares:
        return None
    by_chance = 1 / (2 * CELLS)
    beyond = max(0.0, float(np.var(shares)) - by_chance) ** 0.5
    is_explained = beyond < by_chance**0.5 / 2  # what is left of it is as much chance as the rest
    share = max(0.0, float(np.mean(shares)) + (0.0 if is_explained else 2 * beyond))
    return share if share <= MOST_USUAL else None


def is_flood(profile: Profile, usual: float) -> bool:
    """Return whether more rows came twice than ever did in the reference."""
    share = repeated_share(profile)
    if share is None or share < usual + LEAST_SHARE:
        return False
    cells = profile.counts[ROW]
    rows = int(cells.sum())
    return float(special.pdtrc(_pairs(cells) - 1, _by_chance(rows) + (usual + SLACK) * rows)) < UNLIKELY


def _pairs(cells: npt.NDArray[Any]) -> int:
    return int((cells * (cells - 1)).sum()) // 2


def _by_chance(rows: int) -> float:
    return rows * (rows - 1) / 2 / CELLS
