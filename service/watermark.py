"""Model time of a log: a watermark that only moves forward and is not fooled by a row from the far future (pure)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ClockRule:
    """How far a row may be ahead of the watermark, and where model time starts while none is stored.

    Parameters
    ----------
    bound_us
        `spec.watching.clock_bound` in microseconds.
    start_us
        The time of the champion's last training row; None when not known.
    """

    bound_us: int
    start_us: int | None = None


def advance(watermark_us: int | None, event_us: npt.NDArray[np.int64], rule: ClockRule) -> tuple[int | None, int]:
    """Move a watermark over new rows.

    The distinct times are walked in order; each may be at most `rule.bound_us` ahead of the one before, so a lone row
    from the far future, and everything behind such a gap, does not move model time.

    While no watermark is stored, the walk starts at the champion's last training row if any new row is within the
    bound of it, else at the earliest of the new rows behind it: a model may go live long after its training rows end. Rows
    that are all older set no time: a client whose clock stands at 1970 must not.

    Parameters
    ----------
    watermark_us
        The stored watermark, or None.
    event_us
        Shape (n_rows,), at least one.

    Returns
    -------
    tuple
        The new watermark (None while there is none), and how many of the rows are further ahead than it may follow.

    Examples
    --------
    >>> advance(100, np.array([90, 105, 112, 500]), ClockRule(bound_us=10))
    (112, 1)
    >>> advance(None, np.array([500, 505]), ClockRule(bound_us=10, start_us=100))
    (505, 0)
    >>> advance(None, np.array([3, 500, 505]), ClockRule(bound_us=10, start_us=100))
    (505, 0)
    >>> advance(None, np.array([3]), ClockRule(bound_us=10, start_us=100))
    (None, 0)
    """
    times = np.unique(event_us)
    current = _start(times, rule) if watermark_us is None else watermark_us
    if current is None:
        return None, 0
    newer = times[times > current]
    steps = np.diff(newer, prepend=current)
    too_far = np.flatnonzero(steps > rule.bound_us)
    reachable = newer if too_far.size == 0 else newer[: too_far[0]]
    reached = int(reachable[-1]) if reachable.size else current
    return reached, int(np.count_nonzero(event_us > reached))


def _start(times: npt.NDArray[np.int64], rule: ClockRule) -> int | None:
    first = int(times[0])
    if rule.start_us is None:
        return first
    near = np.abs(times - rule.start_us) <= rule.bound_us
    if bool(near.any()):
        return rule.start_us
    behind = times[times > rule.start_us]
    return int(behind[0]) if behind.size else None
