"""Model time of a log: a watermark that only moves forward and that no request can walk away with (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Times = Sequence[int] | npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClockRule:
    """How far the rows of a request may move model time, and where it starts while none is stored.

    Attributes
    ----------
    bound_us
        `spec.watching.clock_bound` in microseconds.
    start_us
        The time of the champion's last training row; None when not known.
    is_ordinal
        Whether times are numbers that say nothing of the machine's time.
    """

    bound_us: int
    start_us: int | None = None
    is_ordinal: bool = False


def advance(watermark_us: int | None, event_us: Times, rule: ClockRule, arrived_us: int) -> tuple[int | None, int]:
    """Move a watermark over the rows of one request.

    The distinct times are walked in order; each may be at most `rule.bound_us` ahead of the one before, so a lone row
    from the far future, and everything behind such a gap, does not move model time. Nor does a walk in many small steps: it ends at
    the time the request arrived and the bound or, where times are ordinal, at the bound from where it began. As both are stored with
    the request, a log that is read again in the same order gives the same, however it is cut into batches.

    While no watermark is stored, the walk starts at the champion's last training row if any row is within the
    bound of it, else at the earliest of the rows behind it: a model may go live long after its training rows end. Rows
    that are all older set no time: a client whose clock stands at 1970 must not.

    Parameters
    ----------
    watermark_us
        The stored watermark, or None.
    event_us
        Shape (n_rows,), at least one.
    arrived_us
        When the request arrived, by the machine's clock.

    Returns
    -------
    The new watermark (None while there is none), and how many of the rows are further ahead than it may follow.

    Examples
    --------
    >>> advance(100, [90, 105, 112, 500], ClockRule(bound_us=10), arrived_us=1000)
    (112, 1)
    >>> advance(100, [105, 112, 120], ClockRule(bound_us=10), arrived_us=102)
    (112, 1)
    >>> advance(100, [105, 112, 120], ClockRule(bound_us=10, is_ordinal=True), arrived_us=1000)
    (105, 2)
    >>> advance(None, [500, 505], ClockRule(bound_us=10, start_us=100), arrived_us=1000)
    (505, 0)
    >>> advance(None, [3, 500, 505], ClockRule(bound_us=10, start_us=100), arrived_us=1000)
    (505, 0)
    >>> advance(None, [3], ClockRule(bound_us=10, start_us=100), arrived_us=1000)
    (None, 0)
    """
    times = np.unique(event_us).tolist() if isinstance(event_us, np.ndarray) else sorted(set(event_us))
    latest_us = None if rule.is_ordinal else arrived_us + rule.bound_us
    reached = _start(times, rule, latest_us) if watermark_us is None else watermark_us
    if reached is None:
        return None, _count_later(event_us, times[-1] if latest_us is None else latest_us)
    latest_us = reached + rule.bound_us if latest_us is None else latest_us
    for time_us in times:
        if time_us > reached:
            if time_us - reached > rule.bound_us or time_us > latest_us:
                return reached, _count_later(event_us, reached)
            reached = time_us
    return reached, 0


@dataclass(frozen=True, slots=True)
class Walk:
    """A watermark moved over requests, one after the other.

    Attributes
    ----------
    watermark_us
        Where it stands after the last of them.
    ahead
        How many of all rows are further ahead than it may follow.
    met
        Where each request met it.
    """

    watermark_us: int | None
    ahead: int
    met: Sequence[int | None]


def walk(watermark_us: int | None, requests: Iterable[tuple[Times, int]], rule: ClockRule) -> Walk:
    """Move a watermark over requests, each with the times of its rows and its arrival.

    Examples
    --------
    >>> walk(100, [([105], 102), ([112], 103), ([900], 104)], ClockRule(bound_us=10))
    Walk(watermark_us=112, ahead=1, met=[100, 105, 112])
    """
    ahead, met = 0, []
    for event_us, arrived_us in requests:
        met.append(watermark_us)
        watermark_us, more = advance(watermark_us, event_us, rule, arrived_us)
        ahead += more
    return Walk(watermark_us, ahead, met)


def late_for(event_us: Times, met_us: int | None, width_us: int) -> bool:
    """Return whether a row of a request lies in an earlier bucket than model time did when the request came.

    Examples
    --------
    >>> late_for([12, 19], 25, 10), late_for([20, 31], 25, 10), late_for([12], None, 10)
    (True, False, False)
    """
    if met_us is None:
        return False
    earliest = int(event_us.min()) if isinstance(event_us, np.ndarray) else min(event_us)
    return earliest < met_us // width_us * width_us


def _start(times: Sequence[int], rule: ClockRule, latest_us: int | None) -> int | None:
    credible = [time_us for time_us in times if latest_us is None or time_us <= latest_us]
    if rule.start_us is None:
        return next(iter(credible), None)
    if any(abs(time_us - rule.start_us) <= rule.bound_us for time_us in credible):
        return rule.start_us
    return next((time_us for time_us in credible if time_us > rule.start_us), None)


def _count_later(event_us: Times, than_us: int) -> int:
    if isinstance(event_us, np.ndarray):
        return int(np.count_nonzero(event_us > than_us))
    return sum(time_us > than_us for time_us in event_us)
