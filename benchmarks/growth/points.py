"""What is varied, and how far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.places import work

ENCODINGS = ("rows", "columns", "arrow", "raw tensors")
ROWS = (1, 10, 100, 1_000, 10_000, 100_000)
FEATURES = (10, 30, 100, 300, 1_000)
TREES = (10, 30, 100, 300, 1_000)
MODELS = (1, 3, 10, 30, 100)


@dataclass(frozen=True)
class Point:
    """One home to be served, and the bodies sent to it.

    Parameters
    ----------
    sweep, at, series
        Which curve, where on its axis, which line of it.
    home
        The name of the prepared folder; points may share one.
    encodings, sizes
        The bodies: every encoding with every number of rows.
    models
        How many models are loaded.
    """

    sweep: str
    at: int
    series: str
    home: str
    encodings: tuple[str, ...]
    sizes: tuple[int, ...]
    models: int = 1

    @property
    def folder(self) -> Path:
        """Where its home and bodies lie."""
        return work() / "growth" / self.home


def points(sweep: str) -> list[Point]:
    """Return the points of a sweep: ``rows``, ``features``, ``trees`` or ``models``.

    Examples
    --------
    >>> [point.home for point in points("trees")][:2]
    ['forest-10', 'forest-30']
    """
    if sweep == "rows":
        return [Point("rows", 0, name, f"rows-{name}", ENCODINGS, ROWS) for name in ("logistic", "forest", "boosting")]
    if sweep == "features":
        return [Point("features", n, "logistic", f"features-{n}", ENCODINGS, (1, 100)) for n in FEATURES]
    if sweep == "trees":
        return [Point("trees", n, "forest", f"forest-{n}", ("rows", "arrow"), (1, 100, 1_000)) for n in TREES]
    return [Point("models", n, "logistic", "models", ("rows",), (1,), models=n) for n in MODELS]


SWEEPS = ("rows", "features", "trees", "models")
