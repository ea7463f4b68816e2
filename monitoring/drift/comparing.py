"""Two profiles compared: which columns moved beyond chance, how far, and in words what moved (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from monitoring.drift.classic import benjamini_hochberg, chi_squared, psi
from monitoring.drift.two_samples import (
    Counts,
    Places,
    bands,
    in_order,
    jensen_shannon,
    kolmogorov_smirnov,
    location,
    places,
    quantile,
    scale,
    superiority,
    wasserstein,
)
from training.errors import BinsMismatchError
from training.profiles.bins import Bins, ColumnBins, Profile

LEVEL = 0.05
FEWEST_ROWS = 50  # the tests stand on normal limits, which fewer rows than this do not reach
LARGE = 0.1  # the index that is commonly called a shift
_NAMED = 5
_SHOWN = ("column", "moved", "what", "q", "psi", "js", "ks", "wasserstein")


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """One column of two samples, A and B.

    Attributes
    ----------
    moved
        Whether `q` is below the level.
    what
        In words what differs most, from A to B; empty where it did not move.
    p, q
        The least p-value of the tests that apply, times their number; and the same after Benjamini-Hochberg over all columns.
    chi_squared, location, scale, missing
        P-values of the tests: any bin; larger or smaller; wider or narrower; the share without a value. None where one does not apply.
    psi, js, ks, wasserstein
        Population stability index less its mean by chance, Jensen-Shannon distance, Kolmogorov-Smirnov statistic at the edges of the
        bins, Wasserstein distance in the unit of the column; the last two of numbers only.
    psi_band, js_band, ks_band, wasserstein_band
        What each of them stays below by chance alone, at these two numbers of rows, with 95 % (1 less the level).
    missing_a, missing_b
        Shares of rows without a value.
    """

    column: str
    moved: bool
    what: str
    p: float
    q: float
    chi_squared: float
    location: float | None
    scale: float | None
    missing: float | None
    psi: float
    psi_band: float
    js: float
    js_band: float
    ks: float | None
    ks_band: float | None
    wasserstein: float | None
    wasserstein_band: float | None
    missing_a: float
    missing_b: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All columns of two samples, those that moved first, the farthest (by `psi`) first; prints as a table.

    Attributes
    ----------
    level
        At most this share of the columns called moved is so by chance, on average.
    notes
        What was not compared, and why.
    """

    columns: tuple[ColumnComparison, ...]
    rows_a: int
    rows_b: int
    level: float = LEVEL
    notes: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the columns that moved, the farthest first."""
        return tuple(c.column for c in self.columns if c.moved)

    @property
    def sentence(self) -> str:
        """What moved, in words."""
        rows = f"A {self.rows_a:,} rows, B {self.rows_b:,}"
        moved = [c for c in self.columns if c.moved]
        if not moved:
            return f"No column of {len(self.columns)} moved by more than chance explains ({rows})."
        n_large = sum(c.psi >= LARGE for c in moved)
        named = ", ".join(f"{c.column} ({c.what})" for c in moved[:_NAMED])
        more = f", and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
        large = f", {n_large} of them far (PSI of {LARGE} or more)" if n_large else ", none of them far (every PSI is below 0.1)"
        return f"{len(moved)} of {len(self.columns)} columns moved from A to B ({rows}){large}: {named}{more}."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "rows_a": self.rows_a,
            "rows_b": self.rows_b,
            "level": self.level,
            "moved": list(self.moved),
            "sentence": self.sentence,
            "notes": list(self.notes),
            "columns": [asdict(c) for c in self.columns],
        }

    def table(self) -> list[dict[str, str]]:
        """Return the rows people see: each distance with its band of chance in brackets."""
        return [dict(zip(_SHOWN, _cells(column), strict=True)) for column in self.columns]

    def __str__(self) -> str:
        rows = [dict(zip(_SHOWN, _SHOWN, strict=True)), *self.table()]
        widths = {name: max(len(row[name]) for row in rows) for name in _SHOWN}
        lines = ["  ".join(row[name].ljust(widths[name]) for name in _SHOWN).rstrip() for row in rows]
        return "\n".join([*lines, "", *(f"note: {note}" for note in self.notes), self.sentence])

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        head = "".join(f"<th>{name}</th>" for name in _SHOWN)
        body = "".join("<tr>" + "".join(f"<td>{escape(row[name])}</td>" for name in _SHOWN) + "</tr>" for row in self.table())
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}<p>{escape(self.sentence)}</p>"


def compare_profiles(bins: Bins, a: Profile, b: Profile, *, level: float = LEVEL, notes: Iterable[str] = ()) -> Comparison:
    """Compare two samples that were counted under the same bins.

    A column has up to four tests: chi-squared over all its bins; of a number also rank tests of location and scale; and whether the share
    without a value is the same. Its p-value is the least of them times their number, so that a column, not a test, is what is called
    moved falsely in at most a share `level` of the cases (on average).

    Raises
    ------
    BinsMismatchError
        The samples were counted under other bins.

    References
    ----------
    Benjamini and Hochberg, "Controlling the false discovery rate" (1995); Dunn, "Multiple comparisons among means" (1961).

    Examples
    --------
    >>> bins = Bins((ColumnBins("town", "categorical", categories=("Bonn", "Köln")),))
    >>> a = bins.count({"town": np.array(["Bonn", "Köln"] * 200, dtype=object)})
    >>> b = bins.count({"town": np.array(["Bonn", "Köln", "Köln", "Ulm"] * 100, dtype=object)})
    >>> compare_profiles(bins, a, b).sentence
    '1 of 1 columns moved from A to B (A 400 rows, B 400), 1 of them far (PSI of 0.1 or more): town (new values: 0.0 → 25.0 %).'
    """
    for profile in (a, b):
        if profile.bins_id != bins.id:
            raise BinsMismatchError(f"a sample counted under bins {profile.bins_id} cannot be compared under bins {bins.id}")
    pairs = [_Pair(one, a, b) for one in bins.columns if _rows(a, one) and _rows(b, one)]
    qs = benjamini_hochberg(pair.p for pair in pairs)
    columns = [pair.compared(float(q), level) for pair, q in zip(pairs, qs, strict=True)]
    columns.sort(key=lambda c: (not c.moved, -c.psi if c.moved else c.p, c.column))
    few = [f"{name} has {rows} rows; below {FEWEST_ROWS} the p-values are rough" for name, rows in _few(a, b)]
    return Comparison(tuple(columns), a.rows, b.rows, level, (*notes, *few))


def _few(a: Profile, b: Profile) -> list[tuple[str, int]]:
    return [(name, profile.rows) for name, profile in (("A", a), ("B", b)) if profile.rows < FEWEST_ROWS]


def _rows(profile: Profile, bins: ColumnBins) -> int:
    return int(profile.counts[bins.name].sum()) if bins.name in profile.counts else 0


class _Pair:
    """One column of both samples, with its tests."""

    def __init__(self, bins: ColumnBins, a: Profile, b: Profile) -> None:
        self._bins = bins
        self._a, self._b = a.counts[bins.name], b.counts[bins.name]
        self._where: Places | None = None
        self._own: tuple[Places, ...] = ()
        if bins.kind == "numeric":
            self._where = where = places(bins, *_extremes(bins, a, b))
            self._own = tuple(where.within(*_extremes(bins, one)) for one in (a, b))
        self._statistic, self._chi = chi_squared(self._a, self._b)
        ordered = self._ordered()
        self._location = location(*ordered) if ordered else None
        self._scale = scale(*ordered) if ordered else None
        self._missing = self._share_test() if self._a[-1] + self._b[-1] else None
        self._tests: dict[str, float] = {"chi_squared": self._chi}
        if self._missing is not None:
            self._tests["missing"] = self._missing[1]
        self._tests |= {name: test.p for name, test in (("location", self._location), ("scale", self._scale)) if test is not None}
        self.p = min(1.0, min(self._tests.values()) * len(self._tests))

    def _ordered(self) -> tuple[Counts, Counts] | None:
        return (in_order(self._a), in_order(self._b)) if self._where is not None else None

    def _share_test(self) -> tuple[float, float]:
        known = [np.array([int(counts[:-1].sum()), int(counts[-1])]) for counts in (self._a, self._b)]
        return chi_squared(*known)

    def compared(self, q: float, level: float) -> ColumnComparison:
        """Return the comparison, its p-value corrected for all columns being `q`."""
        ordered, where = self._ordered(), self._where
        ks = distance = None
        if ordered is not None and where is not None and min(ordered[0].sum(), ordered[1].sum()) > 0:
            a, b = ordered
            band = bands(np.append(a, self._a[-1]), np.append(b, self._b[-1]), 1 - level, where.middle)
            ks, distance = kolmogorov_smirnov(a, b), wasserstein(a, b, where.middle)
        else:
            band = bands(self._a, self._b, 1 - level)
        return ColumnComparison(
            column=self._bins.name,
            moved=q < level,
            what=self._what() if q < level else "",
            p=self.p,
            q=q,
            chi_squared=self._chi,
            location=self._tests.get("location"),
            scale=self._tests.get("scale"),
            missing=self._tests.get("missing"),
            psi=psi(self._b, self._a),
            psi_band=band.psi,
            js=jensen_shannon(self._a, self._b),
            js_band=band.jensen_shannon,
            ks=ks,
            ks_band=band.kolmogorov_smirnov,
            wasserstein=distance,
            wasserstein_band=band.wasserstein,
            missing_a=float(self._a[-1] / self._a.sum()),
            missing_b=float(self._b[-1] / self._b.sum()),
        )

    def _what(self) -> str:
        """Say what makes up at least half of all that differs, as chi-squared has it, or else which bin differs most."""
        parts: list[tuple[float, Callable[[], str]]] = []
        if self._missing is not None:
            parts.append((self._missing[0], lambda: f"missing: {_percents(self._a[-1], self._b[-1], self._a, self._b)}"))
        if int(np.count_nonzero((self._a + self._b)[:-1])) > 2:
            parts += [(test.z**2, say) for test, say in ((self._location, self._higher), (self._scale, self._wider)) if test is not None]
        part, say = max(parts, key=lambda one: one[0], default=(0.0, self._bin))
        return say() if part >= self._statistic / 2 else self._bin()

    def _higher(self) -> str:
        a, b = in_order(self._a), in_order(self._b)
        word = "higher" if superiority(a, b) > 0.5 else "lower"
        before, after = (_number(quantile(counts, own, 0.5)) for counts, own in zip((a, b), self._own, strict=True))
        return f"{word}, median {before} → {after}" if before != after else f"{word} in {100 * superiority(a, b):.0f} of 100 pairs"

    def _wider(self) -> str:
        assert self._scale is not None
        ordered = zip((in_order(self._a), in_order(self._b)), self._own, strict=True)
        spans = [_number(quantile(counts, own, 0.75) - quantile(counts, own, 0.25)) for counts, own in ordered]
        word = "wider" if self._scale.z > 0 else "narrower"
        return f"{word}, middle half {spans[0]} → {spans[1]}" if spans[0] != spans[1] else self._bin()

    def _bin(self) -> str:
        """Say whose share of the rows differs most, in standard errors."""
        n, m = self._a.sum(), self._b.sum()
        pooled = (self._a + self._b) / (n + m)
        errors = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-300) * (1 / n + 1 / m))
        place = int(np.argmax(np.abs(self._a / n - self._b / m) / errors))
        return f"{self._name(place)}: {_percents(self._a[place], self._b[place], self._a, self._b)}"

    def _name(self, place: int) -> str:
        name = self._bins.names[place]
        if self._bins.kind == "categorical":
            return (
                {"(other)": "new values", "(missing)": "missing"}.get(name, repr(name))
                if place >= len(self._bins.categories)
                else repr(name)
            )
        if name.startswith("(") or self._where is None:
            return {"(below)": "below all of A", "(above)": "above all of A"}.get(name, name.strip("()"))
        low, high = self._where.low[place + 1], self._where.high[place + 1]
        span = f"from {_number(low)} to {_number(high)}"
        if self._bins.part == "hour":
            return f"hours {span}"
        return _number(low) if low == high else f"rows {span}"


def _extremes(bins: ColumnBins, *profiles: Profile) -> tuple[float, float]:
    """Return the least and the largest value, of the reference's range where no sample has one."""
    known = [p for p in profiles if bins.name in p.minimum]
    lowest = [p.minimum[bins.name] for p in known] or list(bins.edges[:1]) or [0.0]
    highest = [p.maximum[bins.name] for p in known] or list(bins.edges[-1:]) or [0.0]
    return min(lowest), max(highest)


def _percents(before: int, after: int, a: Counts, b: Counts) -> str:
    return f"{100 * before / a.sum():.1f} → {100 * after / b.sum():.1f} %"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _cells(column: ColumnComparison) -> Sequence[str]:
    """Write a column for people, in the order of what is shown."""

    def with_band(value: float | None, band: float | None) -> str:
        return "–" if value is None or band is None else f"{value:.3g} ({band:.2g})"

    return (
        column.column,
        "yes" if column.moved else "no",
        column.what,
        f"{column.q:.2g}",
        with_band(column.psi, column.psi_band),
        with_band(column.js, column.js_band),
        with_band(column.ks, column.ks_band),
        with_band(column.wasserstein, column.wasserstein_band),
    )
