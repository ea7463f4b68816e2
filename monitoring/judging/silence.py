"""Whether no rows have come for longer than usual, told in machine time: without rows no slot comes due (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from training.clock import format_duration
from training.schema.schema import Schema

TIMES_USUAL = 2


@dataclass(frozen=True, slots=True)
class Silence:
    """How long no row has come, and how long that was at most in the last window; microseconds."""

    silent_us: int
    usual_us: int

    def sentence(self) -> str | None:
        """Say so, once it is twice as long as usual; None before.

        Examples
        --------
        >>> hour = 3_600_000_000
        >>> Silence(5 * hour, 2 * hour).sentence()
        'no rows for 5h, at most 2h are usual'
        >>> Silence(4 * hour, 2 * hour).sentence()
        """
        if self.silent_us <= TIMES_USUAL * self.usual_us:
            return None
        silent, usual = (format_duration(timedelta(seconds=us // 1_000_000)) for us in (self.silent_us, self.usual_us))
        return f"no rows for {silent}, at most {usual} are usual"


def has_arrival_clock(schema: Schema) -> bool:
    """Return whether model time is the time at which rows arrive: only then machine time says how long ago that was."""
    return schema.time is None or schema.time.clock == "arrival"


def silence(watermark_us: int, now_us: int, starts_us: Sequence[int], bucket_us: int) -> Silence:
    """Measure the silence since the newest row.

    Parameters
    ----------
    watermark_us, now_us
        When the newest row arrived, and machine time.
    starts_us
        The buckets of the last window that have rows, in order: what is usual is the farthest two of them lie apart, nights
        and weekends included.
    """
    usual_us = max([after - before for before, after in pairwise(starts_us)], default=bucket_us)
    return Silence(max(0, now_us - watermark_us), max(bucket_us, usual_us))
