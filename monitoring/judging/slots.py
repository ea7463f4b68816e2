"""Slots: the boundaries of model time at which a model is judged (pure)."""

from __future__ import annotations


def first_slot(first_row_us: int, every_us: int) -> int:
    """Return the first slot end after a row.

    Examples
    --------
    >>> first_slot(0, 10), first_slot(9, 10), first_slot(10, 10)
    (10, 10, 20)
    """
    return (first_row_us // every_us + 1) * every_us


def due_slots(last_slot_us: int | None, first_row_us: int | None, watermark_us: int | None, every_us: int) -> range:
    """Return the slot ends that model time has reached and that are not judged yet, in order: multiples of `every_us`.

    Parameters
    ----------
    last_slot_us
        The last slot that has a run; None before the first.
    first_row_us
        Earliest row of the log.
    watermark_us
        Model time: a slot is due when it has reached the slot's end.

    Examples
    --------
    >>> list(due_slots(None, 3, 25, 10)), list(due_slots(20, 3, 25, 10)), list(due_slots(None, None, None, 10))
    ([10, 20], [], [])
    >>> list(due_slots(20, 3, 45, 15))  # slots were ten long before
    [30, 45]
    """
    if watermark_us is None:
        return range(0)
    if last_slot_us is not None:
        begin = first_slot(last_slot_us, every_us)
    elif first_row_us is not None:
        begin = first_slot(first_row_us, every_us)
    else:
        return range(0)
    return range(begin, watermark_us // every_us * every_us + 1, every_us)
