"""Inputs moved: a sequential test on counts that is looked at as often as one likes, with a promise in days (pure).

For each start that is kept, and each column, the window since then bets against the reference (`bets`). The sum over starts, each
weighing the model time to the slot after it, is a Shiryaev-Roberts e-detector: without a change its mean at any slot is at
most the days watched, so it reaches a threshold of A days only after A days on average, at any cadence. Columns are averaged,
which needs no independence among them.

References
----------
Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (2024); Dandapanthula and
Ramdas, "Multiple testing in multi-stream sequential change detection" (arXiv 2501.04130), for the columns that are named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring.drift.bets import Ragged, References, less_sure, log_e_values
from monitoring.drift.panel import Panel, Windows, panel_of, parts_of, stability, windows_of
from monitoring.drift.watch_state import State
from training.profiles.phases import DAY_US
from training.profiles.variation import Variation

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_LN10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class Rule:
    """The numbers behind an alarm.

    Attributes
    ----------
    promise_days, share
        Without a change the first alarm of the model takes `promise_days` on average, and drift has this share of it.
    floor
        The least population stability index, less what chance adds, that matters.
    weights, floors
        By key of a column: its weight among the columns (1; 0 watches it not), its own floor. What a segment has none of its own of is that
        of all rows.
    resting
        By key: starts before this time do not count for the column.
    """

    promise_days: float = 1800.0
    share: float = 0.5
    floor: float = 0.01
    weights: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    resting: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColumnLook:
    """The evidence on one column.

    Attributes
    ----------
    log10_evidence
        Of the column's own sum over starts, in days; minus infinity where no window passes the floor.
    psi, since_us, rows
        Of the window with the most evidence, or, where none has any, with the largest index; None without rows.
    share
        Of all evidence, 0 to 1.
    is_named
        Whether an alarm is about this column.
    """

    key: str
    log10_evidence: float
    psi: float
    since_us: int | None
    rows: int
    share: float
    is_named: bool


@dataclass(frozen=True, slots=True)
class Look:
    """All evidence as of a slot; columns with the most first."""

    log10_evidence: float
    log10_threshold: float
    columns: tuple[ColumnLook, ...]
    note: str = ""

    @property
    def is_alarm(self) -> bool:
        """Whether the evidence has reached the threshold."""
        return bool(self.named)

    @property
    def named(self) -> tuple[str, ...]:
        """Keys of the columns an alarm is about, the largest first; empty without one."""
        return tuple(c.key for c in self.columns if c.is_named)

    def to_dict(self, most: int = 50) -> dict[str, Any]:
        """Return the evidence as plain JSON values, with at most so many columns."""
        return {
            "log10_evidence": _plain(self.log10_evidence),
            "log10_threshold": _plain(self.log10_threshold),
            "note": self.note,
            "drifting": list(self.named),
            "columns": [
                {
                    "column": c.key,
                    "log10_evidence": _plain(c.log10_evidence),
                    "psi": _plain(c.psi),
                    "since_us": c.since_us,
                    "rows": c.rows,
                    "share": _plain(c.share),
                    "is_drifting": c.is_named,
                }
                for c in self.columns[:most]
            ],
        }


def _plain(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def look(state: State, variation: Variation, rule: Rule) -> Look:
    """Return the evidence at the state's slot."""
    threshold = math.log10(rule.promise_days / rule.share)
    panel = panel_of(variation, state.places) if state.places and len(state.starts_us) else None
    weights = _weights(panel, rule) if panel else np.zeros(0)
    if panel is None or not weights.any():
        return Look(-math.inf, threshold, (), "nothing is watched yet" if panel is None else "no column is watched: all are left out")
    sums = _sums(state, panel, rule, weights)
    with np.errstate(divide="ignore"):
        weighted = sums.log_e + np.log(weights)
    total = float(_log_sum(weighted, axis=0))
    note = "" if variation.is_enough else "the reference has too few blocks of time to say how restless it is: nothing is called drift"
    named = set(_named(weighted, total, threshold * _LN10).tolist()) if variation.is_enough else set()
    shares = np.exp(weighted - total) if math.isfinite(total) else np.zeros(len(weighted))
    order = np.lexsort((-sums.psi, -weighted))
    values = zip(
        *(v[order].tolist() for v in (np.arange(len(order)), sums.log_e / _LN10, sums.psi, sums.since_us, sums.rows, shares)), strict=True
    )
    columns = tuple(
        ColumnLook(panel.keys[c], log10_e, psi, since_us if rows else None, rows, share, c in named)
        for c, log10_e, psi, since_us, rows, share in values
        if weights[c] > 0
    )
    return Look(total / _LN10, threshold, columns, note)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Of each column the log of its sum over starts, and its window with the most evidence; shape (columns,)."""

    log_e: Floats
    psi: Floats
    since_us: Integers
    rows: Integers


def _sums(state: State, panel: Panel, rule: Rule, weights: Floats) -> _Sums:
    """Sum e-values over starts, and choose each column's window; without any, that which is farthest beyond chance."""
    shape = len(state.starts_us), len(weights)
    log_e, psi, beyond, rows = (np.empty(shape) for _ in range(4))
    floors = np.array([rule.floors.get(k, rule.floors.get(of_all, rule.floor)) for k, of_all in panel.keys_of_all])
    resting = np.array([rule.resting.get(k, state.begin_us) for k in panel.keys])
    for part in parts_of(state):
        windows = windows_of(state, panel, part)
        psi[part] = stability(windows, panel)
        asks = (psi[part] >= floors) & (weights > 0) & (state.starts_us[part, None] >= resting)
        log_e[part] = _evidence(panel, windows, asks)
        beyond[part] = psi[part] / (1 / windows.reference_rows + 1 / np.maximum(windows.rows, 1e-9))
        rows[part] = np.add.reduceat(state.counts[part], panel.columns.begin, axis=1)
    log_e += np.log(state.weights_us / DAY_US)[:, None]
    by_column = _log_sum(log_e, axis=0)
    best = np.where(np.isfinite(by_column), log_e.argmax(axis=0), beyond.argmax(axis=0)), np.arange(len(weights))
    return _Sums(by_column, np.where(rows[best] > 0, psi[best], 0.0), state.starts_us[best[0]], rows[best].astype(np.int64))


def window_psi(state: State, variation: Variation, since_us: int) -> dict[str, float]:
    """Return by key the index, less what chance adds, of the window since the kept start nearest to a time; those with rows."""
    if not state.places or not len(state.starts_us):
        return {}
    panel = panel_of(variation, state.places)
    nearest = int(np.abs(state.starts_us - since_us).argmin())
    (values,) = stability(windows_of(state, panel, slice(nearest, nearest + 1)), panel)
    return {key: float(v) for key, v in zip(panel.keys, values, strict=True) if math.isfinite(v)}


def _named(weighted: Floats, total: float, threshold: float) -> Integers:
    """Return the columns an alarm is about: the k largest, where the k-th weighted sum is at least a k-th of the threshold.

    Weighted e-d-BH; the largest is named whenever all together reach the threshold.
    """
    if total < threshold:
        return np.zeros(0, dtype=int)
    order = np.argsort(-weighted, kind="stable")
    passes = weighted[order] + np.log(np.arange(1, len(order) + 1)) >= threshold
    most = int(np.flatnonzero(passes).max(initial=0)) + 1
    return order[:most]


def _weights(panel: Panel, rule: Rule) -> Floats:
    """Return the weights of the columns: they sum to one, and half of it is for all rows where there are segments."""
    given = np.array([rule.weights.get(k, rule.weights.get(of_all, 1.0)) for k, of_all in panel.keys_of_all], dtype=float)
    given /= max(given.max(initial=0.0), 1e-300)
    is_whole = np.array([panel.segments[s] == "" for s in panel.segment])
    for part in (is_whole, ~is_whole):
        given[part] /= max(given[part].sum(), 1e-300)
    return np.asarray(given / max(given.sum(), 1e-300))


def _evidence(panel: Panel, windows: Windows, asks: npt.NDArray[np.bool_]) -> Floats:
    """Return the log e-value of the starts and columns asked for, minus infinity of the others.

    It is expensive, and most are below the floor.
    """
    starts, columns = np.nonzero(asks)
    out = np.full(asks.shape, -math.inf)
    if not len(starts):
        return out
    is_own = panel.has_phase[columns]  # else all windows of a column share its reference
    _, first, of = np.unique(np.where(is_own, asks.size + np.arange(len(columns)), columns), return_index=True, return_inverse=True)
    size, known = panel.columns.size[columns], columns[first]
    bins = panel.columns.places(known)
    alpha = windows.alpha[np.repeat(starts[first], size[first]), bins]
    references = References(Ragged.of(size[first]), alpha, panel.tilted[:, bins], panel.is_ordered[known])
    counts = windows.counts[np.repeat(starts, size), panel.columns.places(columns)]
    out[starts, columns] = less_sure(log_e_values(counts, references, of), windows.freedom[starts, columns])
    return out


def _log_sum(values: Floats, axis: int) -> Any:
    """Return the log of the sum of exp(values), minus infinity where all are."""
    top = values.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis=axis)
