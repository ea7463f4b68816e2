"""Two windows of a model's log compared by their counts, or one with what its champion was trained on."""

from __future__ import annotations

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
    before = reference.total if a is None else _counts(bench, model, bins, a)
    notes = (f"A is {origin}" if a is None else f"A is {a}", f"B is {b}")
    return compare_profiles(bins, before, _counts(bench, model, bins, b), level=level, notes=notes)


def _reference(bench: Workbench, model: str) -> tuple[Reference, str]:
    stored, _ = bench.journal.watch_beginning(model)
    if stored is None:
        return bench.load(resolve(bench, model, None)).reference, "what the champion was trained on"
    return Reference.from_json(stored.content), f"the reference of the drift watch: {stored.why}"


def _counts(bench: Workbench, model: str, bins: Bins, span: Span) -> Profile:
    profile = bench.log.profile(model, bins.id, span.start_us, span.end_us)
    if profile is None:
        logged = bench.log.coverage(model, span.start_us, span.end_us)[0]
        raise InputError(f"no row of {model} is counted from {span} under the bins that are asked for; the log has {logged} rows there")
    return profile
