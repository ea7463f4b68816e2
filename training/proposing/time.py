"""The column that orders the rows: how it is written, or which columns it may be where none was named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from training.errors import DataProblem
from training.proposing.facts import Facts, Signs
from training.proposing.features import calendar_part, number_span, time_formats
from training.proposing.text_cells import nearly_dates
from training.proposing.yaml_text import flow, in_rows, scalar

_PARTS = ("year", "month", "day", "hour")
_FEW = 5
YYYYMM = "%Y%m"
_IN_WORDS = {"%Y": "years", YYYYMM: "years and months in six digits", "%Y%j": "years and days of the year in seven digits"}


@dataclass(slots=True)
class Time:
    """The line on the time.

    Attributes
    ----------
    line
        None where there is no time.
    is_feature
        Whether the column is a feature as well: of a time of the calendar hour and weekday tell something.
    offers
        Lines of which one may be taken where no time was named.
    """

    line: str | None = None
    is_feature: bool = False
    choices: tuple[str, ...] = ()
    offers: list[str] = field(default_factory=list)
    problems: list[DataProblem] = field(default_factory=list)


def propose_time(facts: Facts, signs: Signs) -> Time:
    """Return how the named time column is written; numbers that are no times since 1970 are an order without a calendar."""
    n_missing = facts.n_empty + facts.n_words
    written = time_formats(facts, signs, is_time=True)
    if facts.other is None and n_missing and (written or number_span(facts, signs) is not None):
        return _refused(facts, n_missing, "nothing" if facts.n_empty else next(iter(facts.words)))
    if written:
        if facts.is_constant:
            return Time(problems=[DataProblem(None, facts.name, "the same time in every row", "times that order the rows, or no --time")])
        if facts.outside[written[0]]:
            got = f"{in_rows(facts.outside[written[0]])} a year that is not in 1900 to 2200, such as {facts.sample_outside!r}"
            return Time(problems=[DataProblem(None, facts.name, got, "times of those years in every row")])
        if written[0] in _IN_WORDS:
            return Time(f"  {_line(facts.name, written[0])}   # {_IN_WORDS[written[0]]}, such as {next(iter(facts.levels.counts))}")
        lines = [_line(facts.name, w) for w in written]
        if len(lines) == 1:
            return Time(f"  {lines[0]}   # clock: arrival if requests do not carry it", is_feature=True)
        return Time(f"  {_line(facts.name, 'choose')}", choices=tuple(lines))
    if number_span(facts, signs) is not None and not facts.infinite:
        return Time(f"  {_ordinal(facts.name)}   # when was 0, how long is 1?")
    odd = next(iter(facts.levels.counts), "nothing")
    hint = nearly_dates(facts.levels.counts) if facts.is_text else None
    return _refused(facts, facts.n_known - facts.n_numbers or facts.n_rows, odd, "" if hint is None else f"; it {hint}")


def _refused(facts: Facts, count: int, sample: str, hint: str = "") -> Time:
    shown = sample if sample == "nothing" else repr(sample)
    got = f"values that are no time {in_rows(count)}, such as {shown}{hint}"
    return Time(problems=[DataProblem(None, facts.name, got, "ISO 8601 times or numbers in every row")])


def _is_named_time(name: str) -> bool:
    return any(word in name.casefold() for word in ("time", "date", "stamp"))


def _is_named_month(facts: Facts) -> bool:
    return YYYYMM in (facts.times or {}) and any(word in facts.name.casefold() for word in ("month", "period", "yyyymm"))


def _ordinal(name: str) -> str:
    return f"time: {flow({'column': scalar(name), 'kind': 'ordinal', 'origin': '2000-01-01', 'step': '1h'})}"


def _line(name: str, written: str | None) -> str:
    keys = {"column": scalar(name), **({} if written is None else {"format": scalar(written)}), "clock": "event"}
    return f"time: {flow(keys)}"


def offer_times(facts: Mapping[str, Facts], names: Iterable[str], signs: Signs) -> Time:
    """Return the columns that may be the time where none was named."""
    offers: list[str] = []
    parts: dict[str, str] = {}
    for name in names:
        column = facts[name]
        part = calendar_part(name, number_span(column, signs))
        if part is not None and not column.n_empty and not column.n_words:
            parts.setdefault(part, name)
        is_complete = not column.n_empty and not column.n_words and not column.infinite
        written = time_formats(column, signs, is_time=_is_named_time(name) or _is_named_month(column))
        if not written and is_complete and _is_named_time(name) and number_span(column, signs) is not None:
            offers.append(_ordinal(name))
        if len(written) == 1 and not column.n_empty and not column.n_words and not column.outside[written[0]]:
            keys = {"column": scalar(name), **({} if written[0] is None else {"format": scalar(written[0])})}
            offers.append(f"time: {flow(keys)}")
    if "year" in parts and "month" in parts:
        joined = [parts[part] for part in _PARTS if part in parts]
        offers.append(f"time: {{columns: [{', '.join(map(scalar, joined[: joined.index(parts['month']) + 3]))}]}}")
    return Time(offers=offers[:_FEW])
