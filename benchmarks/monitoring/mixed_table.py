"""A table of twelve numbers and eight categories, as monitoring tools meet them: ties, many zeros, long tails, missing values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

NUMBERS = tuple(f"num{place:02d}" for place in range(12))
CATEGORIES = {f"cat{place:02d}": levels for place, levels in enumerate((2, 3, 4, 5, 8, 12, 20, 50))}
WITH_MISSING = ("num01", "num05", "cat03", "cat06")
MISSING_SHARE = 0.02


def make_table(n: int, seed: int) -> pd.DataFrame:
    """Return `n` rows: neighbouring numbers correlate with .5, the levels of categories follow a power law."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, len(NUMBERS)))
    z[:, 1::2] = 0.5 * z[:, ::2] + np.sqrt(0.75) * z[:, 1::2]
    table = {name: _shaped(place % 4, z[:, place]) for place, name in enumerate(NUMBERS)}
    for name, levels in CATEGORIES.items():
        weights = 1 / np.arange(1, levels + 1) ** 0.8
        codes = rng.choice(levels, size=n, p=weights / weights.sum()).astype(np.int16)
        table[name] = pd.Categorical.from_codes(codes, [f"v{level:03d}" for level in range(levels)])
    frame = pd.DataFrame(table)
    for name in WITH_MISSING:
        frame.loc[rng.random(n) < MISSING_SHARE, name] = None
    return frame


def _shaped(kind: int, z: np.ndarray) -> np.ndarray:
    shapes = (z, np.exp(0.75 * z), np.round(50 + 12 * z), np.where(z < -0.5, 0.0, (z + 0.5) * 10))
    return shapes[kind]


def write_tables(folder: Path, n: int) -> tuple[Path, Path]:
    """Write the reference and the current table, once; return where."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"reference-{n}.parquet", folder / f"current-{n}.parquet"
    for path, seed in zip(paths, (1, 2), strict=True):
        if not path.exists():
            make_table(n, seed).to_parquet(path)
    return paths
