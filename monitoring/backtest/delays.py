"""When labels come: after one delay, after delays that are drawn, or when a column of the table says (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.backtest.steps import Times
from monitoring.errors import InputError
from training.clock import duration_us, parse_duration
from training.dataset.converting import times
from training.errors import DurationError
from training.schema.rows import Rows
from training.schema.time_column import TimeColumn

A_DAY_US = 86_400_000_000
LATEST_SHARE = 0.95
_Z_OF_LATEST = 1.6448536269514722  # the standard normal quantile of it
_WANTED = (
    "wanted one such as 7d or '500 rows', or a distribution: 1d..10d (equally often), 'exponential 3d' (mean), "
    "'lognormal 3d 20d' (median, 95 %)"
)
_ROWS = re.compile(r"(\d+) rows?")
_RANGE = re.compile(r"(.+?)\.\.(.+)")
_NAMED = re.compile(r"(exponential|lognormal) (\S+)(?: (\S+))?")
Kind = Literal["fixed", "rows", "uniform", "exponential", "lognormal"]


@dataclass(frozen=True, slots=True)
class Delay:
    """How late labels are.

    Attributes
    ----------
    first
        The delay; of a distribution its least, mean or median. For `rows` their number.
    second
        Of `uniform` the most, of `lognormal` what 95 % stay below; microseconds, as `first`.
    """

    kind: Kind
    first: int
    second: int = 0

    @classmethod
    def parse(cls, text: str) -> Delay:
        """Read one.

        Raises
        ------
        InputError
            It is none; the message says what is wanted.

        Examples
        --------
        >>> Delay.parse("7d"), Delay.parse("500 rows")
        (Delay(kind='fixed', first=604800000000, second=0), Delay(kind='rows', first=500, second=0))
        >>> Delay.parse("1d..10d").kind, Delay.parse("lognormal 3d 20d").kind
        ('uniform', 'lognormal')
        """
        if rows := _ROWS.fullmatch(text.strip()):
            return cls("rows", int(rows[1]))
        if named := _NAMED.fullmatch(text.strip()):
            if (named[1] == "lognormal") != (named[3] is not None):
                raise InputError(f"the label delay {text!r} has {'too few' if named[3] is None else 'too many'} parts; {_WANTED}")
            one = cls("exponential" if named[1] == "exponential" else "lognormal", _us(named[2], text), _us(named[3], text))
        elif ends := _RANGE.fullmatch(text.strip()):
            one = cls("uniform", _us(ends[1], text), _us(ends[2], text))
        else:
            one = cls("fixed", _us(text, text))
        if one.kind in ("uniform", "lognormal") and one.second <= one.first:
            raise InputError(f"the label delay {text!r} ends before it begins: the second part is to be longer than the first")
        return one

    def drawn(self, n_rows: int, seed: int = 0) -> Times:
        """Return the delay of each row in microseconds, shape (n_rows,); the same each time."""
        rng = np.random.default_rng([seed, 13])
        match self.kind:
            case "uniform":
                drawn = rng.uniform(self.first, self.second, n_rows)
            case "exponential":
                drawn = rng.exponential(self.first, n_rows)
            case "lognormal":
                drawn = self.first * np.exp(rng.normal(0.0, np.log(self.second / self.first) / _Z_OF_LATEST, n_rows))
            case _:
                drawn = np.full(n_rows, self.first, dtype=np.float64)
        return np.minimum(drawn, 2.0**61).astype(np.int64)


def _us(part: str | None, text: str) -> int:
    if part is None:
        return 0
    try:
        return duration_us(parse_duration(part))
    except DurationError as error:
        raise InputError(f"the label delay {text!r} cannot be read ({error}); {_WANTED}") from None


def column_delays(values: Sequence[Any], rows: Rows, column: str, time: TimeColumn) -> Times:
    """Return how late each label is by a column of the table, in microseconds, shape (n_rows,).

    Parameters
    ----------
    values
        Texts, None for a missing one: numbers of days, durations such as ``36h``, or the times at which labels were known, written as the
        time column is; all in one way.

    Raises
    ------
    InputError
        A labelled row has none, or one that cannot be read or is negative; the first is named by its place in the order of time.
    """
    texts = pd.Series(list(values), dtype=object)
    holes = np.flatnonzero(texts.isna().to_numpy() & rows.is_labelled)
    if len(holes):
        raise _wrong(column, rows, int(holes[0]), "nothing", len(holes))
    late_us, wanted = _read(texts, rows, time)
    unread = np.flatnonzero(np.isnan(late_us) & rows.is_labelled)
    if len(unread):
        raise _wrong(column, rows, int(unread[0]), repr(texts[int(unread[0])]), len(unread), wanted)
    early = np.flatnonzero((late_us < 0) & rows.is_labelled)
    if len(early):
        raise _wrong(
            column,
            rows,
            int(early[0]),
            f"{texts[int(early[0])]!r}, {timedelta(microseconds=-late_us[early[0]])} before the row",
            len(early),
        )
    return np.where(np.isnan(late_us), 0, late_us).astype(np.int64)


def _read(texts: pd.Series, rows: Rows, time: TimeColumn) -> tuple[npt.NDArray[np.float64], str]:
    """Return delays in microseconds, NaN for what cannot be read, and what was wanted."""
    known = texts.dropna()
    if len(known) and (time.kind == "ordinal" or not pd.to_numeric(known, errors="coerce").isna().any()):
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
        if time.kind == "timestamp":
            return numbers * A_DAY_US, "a number of days"
        due_us = np.full(len(texts), np.nan)
        is_number = np.isfinite(numbers)
        due_us[is_number] = time.to_us(numbers[is_number])
        return due_us - rows.time_us, f"when the label was known, as {time.column} is written"
    if len(known) and _duration_us(known.iloc[0]) is not None:
        each = {text: late_us for text in set(known) if (late_us := _duration_us(text)) is not None}
        return np.array([float(each[text]) if text in each else np.nan for text in texts]), "a duration such as 36h"
    seconds, bad = times(texts, time.times)
    return np.where(bad, np.nan, seconds * 1e6 - rows.time_us), "a time, a duration such as 36h, or a number of days"


def _duration_us(text: str) -> int | None:
    try:
        return duration_us(parse_duration(text))
    except DurationError:
        return None


def _wrong(column: str, rows: Rows, place: int, got: str, n: int, wanted: str = "when its label was known, or how late") -> InputError:
    more = f" (and {n - 1} rows more)" if n > 1 else ""
    at = np.datetime64(int(rows.time_us[place]), "us")
    return InputError(f"column {column!r}, row {place} in the order of time ({at}): got {got}, wanted {wanted}{more}")
