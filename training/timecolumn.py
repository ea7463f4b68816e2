"""Where the time of a row stands, and its one mapping to UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from training.clock import duration_us, from_us, to_us


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """Where the time of a row stands: a timestamp, or a number that is mapped to UTC once, here.

    Parameters
    ----------
    kind
        ``timestamp`` (ISO 8601; naive means UTC; numbers are epoch seconds) or ``ordinal`` (a number;
        0 is `origin`, 1 is one `step` later).
    clock
        ``event``: model time is this column, which requests carry; ``arrival``: model time is when a request came.
    """

    column: str
    kind: Literal["timestamp", "ordinal"] = "timestamp"
    origin: datetime = field(default=datetime(2000, 1, 1, tzinfo=UTC))
    step: timedelta = timedelta(hours=1)
    clock: Literal["event", "arrival"] = "event"

    def to_us(self, values: npt.ArrayLike | Sequence[object]) -> npt.NDArray[np.int64]:
        """Map raw values to microseconds since the epoch, shape (n,).

        Raises
        ------
        ValueError
            When a value is missing or cannot be read as this kind of time.

        Examples
        --------
        >>> TimeColumn("t", "ordinal", datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1)).to_us([0, 2]).tolist()
        [0, 2000000]
        """
        raw: npt.NDArray[Any] = np.asarray(values)
        if self.kind == "ordinal":
            number = raw.astype(np.float64)
            if not np.isfinite(number).all():
                raise ValueError("a time is missing or not finite")
            return to_us(self.origin) + np.rint(number * duration_us(self.step)).astype(np.int64)
        if np.issubdtype(raw.dtype, np.number) and not np.issubdtype(raw.dtype, np.timedelta64):
            if not np.isfinite(raw.astype(np.float64)).all():
                raise ValueError("a time is missing or not finite")
            return np.rint(raw.astype(np.float64) * 1e6).astype(np.int64)
        import pandas as pd  # only tables have written times, not requests

        stamps = pd.to_datetime(pd.Series(raw), utc=True, format="ISO8601")
        if stamps.isna().any():
            raise ValueError("a time is missing")
        return np.asarray(stamps.dt.as_unit("us").astype("int64"), dtype=np.int64)

    def to_datetime(self, value: object) -> datetime:
        """Map one raw value to an aware UTC time; raises ValueError as :meth:`to_us` does."""
        return from_us(int(self.to_us([value])[0]))

    def from_us(self, microseconds: int) -> float | int | str:
        """Return the raw value that stands for a time, as a request would carry it."""
        if self.kind == "timestamp":
            return from_us(microseconds).isoformat()
        steps = (microseconds - to_us(self.origin)) / duration_us(self.step)
        return round(steps) if abs(steps - round(steps)) < 1e-9 else steps

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "column": self.column,
            "kind": self.kind,
            "origin": self.origin.isoformat(),
            "step_us": duration_us(self.step),
            "clock": self.clock,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TimeColumn:
        """Read what :meth:`to_dict` wrote."""
        return cls(
            stored["column"],
            stored["kind"],
            datetime.fromisoformat(stored["origin"]),
            timedelta(microseconds=stored["step_us"]),
            stored["clock"],
        )
