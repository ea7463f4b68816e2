"""Two windows of a model's log compared by their counts, or one with what its champion was trained on."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

from monitoring.admin.manual_actions import read_clock
from monitoring.admin.status import resolve
from monitoring.admin.workbench import Workbench
from monitoring.drift.comparing import LEVEL, Comparison, compare_profiles
from monitoring.errors import InputError
from training.clock import from_us, to_us
from training.profiles.bins import Bins, Profile
from training.profiles.reference import Reference


class Span(NamedTuple):
    """A half-open range of model time, [start_us, end_us): the buckets that begin in it."""

    start_us: int
    end_us: int

    def __str__(self) -> str:
        return f"{from_us(self.start_us):%Y-%m-%d %H:%M} to {from_us(self.end_us):%Y-%m-%d %H:%M}"


def span_of(bench: Workbench, model: str, start: str, end: str) -> Span:
    """Read two model times; raises InputError for what is none, and for an end that is not after its start."""
    span = Span(*(to_us(read_clock(bench, model, text)) for text in (start, end)))
    if span.end_us <= span.start_us:
        raise InputError(f"a window ends after it begins; got {span}")
    return span


def compare_windows(bench: Workbench, model: str, a: Span | None, b: Span, *, level: float = LEVEL) -> Comparison:
    """Compare two windows of a model's log under the bins its rows are counted in; outputs (``@score``, ...) too.

    Parameters
    ----------
    a
        None for the reference that the drift watch goes by; before the first slot, for what the champion was trained on.

    Raises
    ------
    InputError
        A window has no counts.
    """
    counted = bench.log.measures(model)
    if a is None or counted is None:
        reference, origin = _reference(bench, model)
        bins = reference.bins
    else:
        bins = counted.measures.bins
    before, note = (reference.total, origin) if a is None else _counts(bench, model, bins, a)
    after, note_on_b = _counts(bench, model, bins, b)
    shared = (
        ["A and B overlap: the rows of both are in both"] if a is not None and max(a.start_us, b.start_us) < min(a.end_us, b.end_us) else []
    )
    return compare_profiles(bins, before, after, level=level, notes=(f"A is {note}", f"B is {note_on_b}", *shared))


def _reference(bench: Workbench, model: str) -> tuple[Reference, str]:
    stored, _ = bench.journal.watch_beginning(model)
    if stored is None:
        return bench.load(resolve(bench, model, None)).reference, "what the champion was trained on"
    return Reference.from_json(stored.content), f"the reference of the drift watch: {stored.why}"


def _counts(bench: Workbench, model: str, bins: Bins, span: Span) -> tuple[Profile, str]:
    """Return the counts of the buckets that begin in a window, and which those are, in words."""
    parts = list(bench.log.buckets(model, bins.id, span.start_us, span.end_us))
    if not parts:
        raise InputError(_why_none(bench, model, span))
    profile = reduce(Profile.merge, (part for _, part in parts))
    first, last = (f"{from_us(start_us):%Y-%m-%d %H:%M}" for start_us in (parts[0][0], parts[-1][0]))
    n = len({start_us for start_us, _ in parts})
    return profile, f"{span}: " + (f"the bucket of {first}" if n == 1 else f"the {n} buckets from that of {first} to that of {last}")


def _why_none(bench: Workbench, model: str, span: Span) -> str:
    logged, last_us = bench.log.coverage(model, span.start_us, span.end_us)[0], bench.log.last_event(model)
    none = f"no row of {model} is counted from {span}"
    if last_us is None:
        return f"{none}: nothing of it is logged yet"
    if not logged:
        return f"{none}: the log has none there, and its newest is of {from_us(last_us):%Y-%m-%d %H:%M}"
    return f"{none}, though {logged} are logged there: it holds the buckets that begin in it; take a wider or a later one"
