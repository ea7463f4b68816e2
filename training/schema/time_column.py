"""Where the time of a row stands, and its one mapping to UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from training.clock import duration_us, to_us
from training.schema.times import TimeFormat, time_format

FIRST_US, LAST_US = to_us(datetime(1, 1, 1, tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC))
"""The calendar that ordinals are mapped to: they are no dates, so that its first and last years are as good as any."""


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """Where the time of a row stands: a timestamp, or a number that is mapped to UTC once, here.

    Attributes
    ----------
    kind
        ``timestamp`` (ISO 8601; naive means UTC; numbers are epoch seconds) or ``ordinal`` (a number;
        0 is `origin`, 1 is one `step` later).
    clock
        ``event``: model time is this column, which requests carry; ``arrival``: model time is when a request came.
    format, zone
        How a timestamp is written (None: ISO 8601, or seconds since 1970), and where its clock stood (None: UTC).
    columns
        The columns of a file that make up the time, joined when it is read; requests carry `column`.
    """

    column: str
    kind: Literal["timestamp", "ordinal"] = "timestamp"
    origin: datetime = field(default=datetime(2000, 1, 1, tzinfo=UTC))
    step: timedelta = timedelta(hours=1)
    clock: Literal["event", "arrival"] = "event"
    format: str | None = None
    zone: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def in_files(self) -> tuple[str, ...]:
        """The columns of a file that the time is read from."""
        return self.columns or (self.column,)

    @property
    def times(self) -> TimeFormat:
        """How a timestamp is written."""
        return time_format(self.format, self.zone)

    @property
    def is_ordinal_clock(self) -> bool:
        """Whether model time is a number that says nothing of the machine's time."""
        return self.kind == "ordinal" and self.clock == "event"

    def to_us(self, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Map numbers (ordinals, or the epoch seconds of timestamps) to microseconds since the epoch, shape (n,).

        Raises
        ------
        ValueError
            When a value is missing or not finite.

        Examples
        --------
        >>> TimeColumn("t", "ordinal", datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)).to_us([0, 2]).tolist()
        [0, 2000000]
        """
        numbers = np.asarray(values, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("a time is missing or not finite")
        if self.kind == "ordinal":
            return to_us(self.origin) + np.rint(numbers * duration_us(self.step)).astype(np.int64)
        return np.rint(numbers * 1e6).astype(np.int64)

    def can_map(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which ordinals lie in the years 1 to 9999 of the calendar they are mapped to."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = to_us(self.origin) + np.rint(values * duration_us(self.step))
        return np.asarray((scaled >= FIRST_US) & (scaled < LAST_US))

    def from_us(self, microseconds: int) -> float | int | str:
        """Return the raw value that stands for a time, as a request would carry it."""
        if self.kind == "timestamp":
            return self.times.write(microseconds)
        steps = (microseconds - to_us(self.origin)) / duration_us(self.step)
        return round(steps) if abs(steps - round(steps)) < 1e-9 else steps

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; keys that came later are left out where they are not set, so that older hashes stay valid."""
        later = {"format": self.format, "zone": self.zone, "columns": list(self.columns)}
        return {
            "column": self.column,
            "kind": self.kind,
            "origin": self.origin.isoformat(),
            "step_us": duration_us(self.step),
            "clock": self.clock,
            **{key: value for key, value in later.items() if value},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TimeColumn:
        """Read what `to_dict` wrote."""
        return cls(
            stored["column"],
            stored["kind"],
            datetime.fromisoformat(stored["origin"]),
            timedelta(microseconds=stored["step_us"]),
            stored["clock"],
            stored.get("format"),
            stored.get("zone"),
            tuple(stored.get("columns", ())),
        )
