"""From the facts of a column to what a model file says of it: a feature, or the reason why it is left out."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from dataclasses import dataclass, field

from training.dataset.report import MOST_LEVELS
from training.proposing.facts import Facts, Signs, Span
from training.proposing.text_cells import DIGITS, is_plain_number, nearly_dates
from training.proposing.yaml_text import flow, in_rows, number, scalar, sequence
from training.schema.feature import MAX_LETTERS
from training.schema.spellings import INFINITE, MOST_WHOLE, PERCENT, has_decimal_comma, is_accounting, is_infinite_word, spelled_alike
from training.schema.times import YYYYMMDD

LEAST_FOR_AN_ID = {"text": 20, "number": 100}
"""So many rows of which no two hold the same are no accident."""
_SURE_WORDS = frozenset(["", "null", "n/a", "?", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "nat", "1.#ind", "-1.#ind"])
"""Words that nobody uses for anything but missing; of the others (NA, None, -) a person decides."""
_BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})
_CALENDAR = {"year": (1900, 2200), "month": (1, 12), "day": (1, 31), "hour": (0, 24), "weekday": (0, 7), "week": (0, 53), "quarter": (1, 4)}
_EPOCHS = {"epoch_s": 1e6, "epoch_ms": 1e3, "epoch_us": 1.0, "epoch_ns": 0.001}
_EPOCHS_LIKE_IDS = ("epoch_s", "epoch_ns")
"""Of which ids have as many digits: only a name tells that these numbers are times."""
_FIRST_US, _LAST_US = 631_152_000e6, 4_102_444_800e6  # 1990 to 2100
_TIMES = ("at", "ts", "on")
_TIME_WORDS = ("time", "date", "seen", "when", "stamp", "epoch", "created", "updated", "_at", "_ts", "start")
_SHOWN, _SHOWN_LETTERS = 6, 30
_NINES = re.compile(r"-?99+")
_ENDS_OF_MACHINES = frozenset([-32768.0, 32767.0, 65535.0, -2147483648.0, 2147483647.0, 4294967295.0])
_MOST_ALIKE = 3


@dataclass(slots=True)
class Proposal:
    """What a model file says of one column.

    Attributes
    ----------
    keys
        Of the feature, each value as YAML; None when it is left out.
    remarks
        Short, for the comment; of a column that is left out the reason.
    choices
        Of which a person chooses one: values of ``format``.
    """

    name: str
    keys: dict[str, str] | None
    remarks: list[str] = field(default_factory=list)
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> str | None:
        """Its kind; None when it is left out."""
        return None if self.keys is None else self.keys["kind"]


def left_out(facts: Facts, reason: str) -> Proposal:
    """Return that a column is no feature."""
    return Proposal(facts.name, None, [reason])


def propose_feature(facts: Facts, signs: Signs, *, is_time: bool = False, is_wanted: bool = False) -> Proposal:
    """Return what a model file says of a column that is not the target.

    Parameters
    ----------
    is_time, is_wanted
        Whether the column is known to hold times, and whether somebody asked for it: then it is not judged.
    """
    if reason := _why_not_possible(facts):
        return left_out(facts, reason)
    is_boolean = facts.is_boolean or _is_boolean_text(facts)
    written = [] if is_boolean else time_formats(facts, signs, is_time=is_time)
    span = None if is_boolean or written else number_span(facts, signs)
    times = (facts.times or {}).get(written[0]) if written else None
    if not is_wanted and (reason := _why_useless(facts, span or times, is_judged_by_values=not is_boolean and not written)):
        return left_out(facts, reason)
    if is_boolean:
        return _with_missing(facts, Proposal(facts.name, {"kind": "boolean"}))
    if written:
        return _datetime(facts, written)
    return _category(facts) if span is None else _number(facts, span, signs)


def _why_useless(facts: Facts, span: Span | None, *, is_judged_by_values: bool) -> str | None:
    is_one_value = span is not None and span.low == span.high and span.count == facts.n_rows  # 0 and -0, 1 and 1.0
    if facts.is_constant or is_one_value:
        return f"every row holds {_shown(next(iter(facts.levels.counts)))}"
    if not is_judged_by_values:
        return None
    return _why_no_category(facts) if span is None else _why_no_number(facts, span)


def _why_no_number(facts: Facts, span: Span) -> str | None:
    if _is_integer(facts, span) and (_all_differ(facts, "number") or _counts_rows(facts, span)):
        return f"{_no_two(facts)}, as in an id (seen {number(span.low)} to {number(span.high)})"
    return None


def _why_no_category(facts: Facts) -> str | None:
    n_levels = len(_levels(facts))
    if facts.levels.longest > MAX_LETTERS:
        return f"it has texts of up to {facts.levels.longest:,} letters, more than the {MAX_LETTERS:,} a category may have"
    if _all_differ(facts, "text"):
        return f"{_no_two(facts)}, as in an id or free text{_nearly(facts)}"
    if n_levels > MOST_LEVELS:
        return f"{facts.levels.shown()} different texts, more than the {MOST_LEVELS:,} a category may have{_nearly(facts)}"
    if n_levels > max(0.5 * facts.n_known, LEAST_FOR_AN_ID["text"]):
        what = "free text" if sum(text.count(" ") for text in facts.levels.counts) >= 2 * n_levels else "hardly any text occurs twice"
        return f"{what} ({n_levels:,} different ones in {facts.n_known:,} rows){_nearly(facts)}"
    return None


def _levels(facts: Facts) -> Counter[str]:
    """Return how often each text occurs that is a value of a category."""
    values = facts.levels.counts + facts.infinite + facts.words
    for word in sure_words(facts):
        del values[word]
    return values


def _is_integer(facts: Facts, span: Span) -> bool:
    return span.is_whole and facts.number_format != PERCENT and max(-span.low, span.high) <= MOST_WHOLE


def _why_not_possible(facts: Facts) -> str | None:
    if not facts.name.strip():
        return "it has no name"
    if facts.name == "_id" or facts.name.startswith("@"):
        return "the name means the caller's own id of a row" if facts.name == "_id" else "names that start with @ are Evergreen's"
    if facts.other is not None:
        return f"it holds {facts.other}"
    return None if facts.n_known else "it holds nothing"


def number_span(facts: Facts, signs: Signs) -> Span | None:
    """Return how far the numbers of a column go; None when it holds something else, or numbers that must keep their digits."""
    return None if facts.has_large else _any_span(facts, signs)


def _any_span(facts: Facts, signs: Signs) -> Span | None:
    if facts.has_leading_zeros or facts.is_boolean or not facts.levels.counts:
        return None
    if facts.is_text:
        return facts.numbers.get(signs)
    return next(iter(facts.numbers.values()), None)


def time_formats(facts: Facts, signs: Signs, *, is_time: bool = False) -> list[str | None]:
    """Return the ways to write times that a column may be read by, of which the values differ.

    Parameters
    ----------
    is_time
        Whether the column is known to hold times: then numbers since 1970 need no telling name.
    """
    by_values: dict[tuple[float, float, float], str | None] = {}
    for written, times in (facts.times or {}).items():
        if times.count and (is_time or written not in DIGITS.values()):
            by_values.setdefault(times.values, written)
    if by_values:
        return list(by_values.values())
    span = _any_span(facts, signs)
    if span is None or not (span.is_whole or is_time) or facts.number_format is not None:
        return []
    for written, scale in _EPOCHS.items():
        if span.low * scale >= _FIRST_US and span.high * scale <= _LAST_US:
            is_named = facts.name.casefold() in _TIMES or any(word in facts.name.casefold() for word in _TIME_WORDS)
            return [written] if is_time or written not in _EPOCHS_LIKE_IDS or is_named else []
    return []


def _is_boolean_text(facts: Facts) -> bool:
    """Return whether texts are booleans: true and false, or other words for them in more than two spellings."""
    spellings = {text.strip() for text in facts.levels.counts}
    words = {text.casefold() for text in spellings}
    return facts.is_text and len(words) == 2 and words in _BOOLEANS and (words == _BOOLEANS[0] or len(spellings) > 2)


def _with_missing(facts: Facts, proposal: Proposal) -> Proposal:
    """Note of a number, boolean or time which cells are missing: empty ones and words alike."""
    n_missing = facts.n_empty + facts.n_words
    if n_missing and proposal.keys is not None:
        proposal.keys["nullable"] = "true"
        words = f" ({', '.join(_shown(word) for word in list(facts.words)[:3])})" if facts.words else ""
        proposal.remarks.append(f"{n_missing:,} missing{words}")
    return proposal


def _datetime(facts: Facts, written: list[str | None]) -> Proposal:
    first = written[0]
    if facts.outside[first]:
        return left_out(facts, f"{in_rows(facts.outside[first])} the year is not in 1900 to 2200, such as {_shown(facts.sample_outside)}")
    keys = {"kind": "datetime"}
    if first is not None:
        keys["format"] = scalar(first)
    span = (facts.times or {}).get(first)
    is_days = first == YYYYMMDD or (span is not None and span.count > 1 and span.low % 86_400e6 == 0 and span.high % 86_400e6 == 0)
    keys["derive"] = "[weekday, month]" if is_days else "[hour, weekday, month]"
    choices = tuple(f"{scalar(facts.name)}: {flow({**keys, 'format': scalar(w)})}" for w in written) if len(written) > 1 else ()
    if choices:
        keys["format"] = "choose"
    return _with_missing(facts, Proposal(facts.name, keys, choices=choices))


def _number(facts: Facts, span: Span, signs: Signs) -> Proposal:
    if huge := [text for text in facts.infinite if not is_infinite_word(text)]:
        n_huge = sum(facts.infinite[text] for text in huge)
        return left_out(facts, f"{n_huge:,} of its numbers are too large ({_shown(huge[0])}); empty those cells to use it")
    keys = {"kind": "integer" if _is_integer(facts, span) else "numeric"}
    if facts.number_format is not None:
        keys["format"] = scalar(facts.number_format)
    proposal = _with_missing(facts, Proposal(facts.name, keys))
    if facts.infinite:
        keys |= {"nullable": "true", "missing": f"[{INFINITE}]"}
        proposal.remarks.append(f"{facts.infinite.total():,} infinite, which counts as missing")
    least, most = bounds(span)
    proposal.remarks.insert(0, f"seen {number(span.low)} to {number(span.high)}")
    proposal.remarks += [f"{remark}, empty those cells" for remark in far_codes(facts, span, signs).values()]
    if (part := calendar_part(facts.name, span)) is not None:
        proposal.remarks.append(f"a calendar number ({part}), of which a time tells more")
    proposal.remarks.append(f"bounds: minimum: {least}, maximum: {most}, out_of_range: error")
    return proposal


def far_codes(facts: Facts, span: Span, signs: Signs) -> dict[str, str]:
    """Return the texts of numbers that stand far off all others and are such as people write for nothing, with that in a sentence.

    These are nines (99, -999, 9999) and the ends of whole numbers of machines. *Far* is farther than the others lie from one another,
    or below zero where no other is.

    Examples
    --------
    >>> column = Facts("x", numbers={Signs(".", None): Span(5, -999, 30)})
    >>> column.levels.add([("-999", 2), ("3", 1), ("20", 1), ("30", 1)])
    >>> far_codes(column, Span(5, -999, 30), Signs(".", None))
    {'-999': '-999 (in 2 rows) is far from all others (3 to 30): if it means missing'}
    """
    seen: dict[float, tuple[str, int]] = {}
    for text, count in facts.levels.counts.items() if facts.number_format is None else ():
        plain = text.strip().replace(signs.thousands or "", "").replace(signs.decimal, ".")
        if is_plain_number(plain):
            value = float(plain)
            seen[value] = text, count + (seen[value][1] if value in seen else 0)
    codes = {value for value in seen if value in _ENDS_OF_MACHINES or _NINES.fullmatch(number(value))}
    others = [value for value in seen if value not in codes]
    if not others:
        return {}
    low, high = min(others), max(others)
    far = [value for value in sorted(codes) if value - high > high - low or low - value > high - low or value < 0 <= low]
    far = [value for value in far if value in (span.low, span.high) or not facts.levels.is_full]
    return {
        seen[value][0]: f"{number(value)} ({in_rows(seen[value][1])}) is far from all others ({number(low)} to {number(high)}): "
        "if it means missing"
        for value in far
    }


def calendar_part(name: str, span: Span | None) -> str | None:
    """Return which part of a calendar a whole number is, by its name and how far it goes."""
    word = name.casefold().strip("_ ").removesuffix("s")
    for part, (low, high) in _CALENDAR.items():
        if (
            span is not None
            and span.is_whole
            and (word == part or word.endswith((f"_{part}", f" {part}")))
            and low <= span.low
            and span.high <= high
        ):
            return part
    return None


def _counts_rows(facts: Facts, span: Span) -> bool:
    """Return whether whole numbers are those from the lowest to the highest, each once."""
    return _all_differ(facts, "text") and span.high - span.low == span.count - 1


def _no_two(facts: Facts) -> str:
    """Say that all values differ, and how far that was looked at."""
    return "no value was met again in its part of the table" if facts.levels.is_full else "every value is different"


def _all_differ(facts: Facts, kind: str) -> bool:
    return facts.levels.all_differ and facts.n_known >= LEAST_FOR_AN_ID[kind]


def _category(facts: Facts) -> Proposal:
    words = sure_words(facts)
    values = _levels(facts)
    proposal = Proposal(facts.name, {"kind": "categorical"})
    shown = ", ".join(_shown(text) for text, _ in values.most_common(_SHOWN))
    hint = _nearly_numbers(facts)
    proposal.remarks.append(f"{len(values):,} seen: {shown}{', ...' if len(values) > _SHOWN else ''}{hint}")
    if hint := _nearly_dates(facts):
        proposal.remarks.append(f"{hint.removeprefix('; ')}; left as text")
    n_missing = facts.n_empty + sum(facts.words[word] for word in words)
    if n_missing and proposal.keys is not None:
        proposal.keys["nullable"] = "true"
        proposal.remarks.append(f"{n_missing:,} missing")
    if words and proposal.keys is not None:
        proposal.keys["missing"] = sequence(words)
    unsure = {word: count for word, count in facts.words.items() if word not in words}
    if unsure:
        shown = ", ".join(f"{_shown(word)} ({count:,} rows)" for word, count in unsure.items())
        proposal.remarks.append(
            f"{shown} {'is a value' if len(unsure) == 1 else 'are values'}, unless listed: missing: {sequence([*words, *unsure])}"
        )
    return proposal


def remark_on_alike(column: Proposal, facts: Facts) -> list[str]:
    """Add to a category which of its texts differ only in case or in blanks around them, and return that."""
    alike = spelled_alike(_levels(facts)) if column.kind == "categorical" else []
    column.remarks += alike[:_MOST_ALIKE]
    return alike[:_MOST_ALIKE]


def sure_words(facts: Facts) -> tuple[str, ...]:
    """Return the words of a column that nobody uses for anything but missing, as they are written."""
    return tuple(sorted(word for word in facts.words if word.strip().casefold() in _SURE_WORDS))


def _nearly(facts: Facts) -> str:
    return _nearly_numbers(facts) + _nearly_dates(facts)


def _nearly_dates(facts: Facts) -> str:
    hint = nearly_dates(facts.levels.counts) if facts.is_text else None
    return "" if hint is None else f"; {hint}"


def _nearly_numbers(facts: Facts) -> str:
    """Say that the cells may be amounts of accountants, or numbers with a comma, or mostly numbers, and which text is none."""
    if written_otherwise := _maybe_accounting(facts) or _maybe_commas(facts):
        return written_otherwise
    odd = next((text for text in facts.levels.counts if not is_plain_number(text)), None)
    if not facts.is_text or facts.n_numbers <= facts.n_known / 2 or odd is None:
        return ""
    return f"; {facts.n_numbers:,} are numbers, {_shown(odd)} is none"


def _maybe_accounting(facts: Facts) -> str:
    texts = facts.levels.counts
    is_such = any(map(is_accounting, texts)) and all(is_accounting(text) or is_accounting(f"({text})") for text in texts)
    return "; if brackets, or a minus behind, mean a negative number: kind: numeric, format: accounting" if is_such else ""


def _maybe_commas(facts: Facts) -> str:
    """Say that all cells look like numbers with decimal commas, where the numbers of another column have points."""
    texts = facts.levels.counts
    is_such = facts.is_text and any(map(has_decimal_comma, texts)) and all(has_decimal_comma(text) or text.isdecimal() for text in texts)
    return "; these look like numbers with decimal commas, but other columns have decimal points: write all alike" if is_such else ""


def _shown(text: object) -> str:
    whole = str(text)
    return scalar(whole if len(whole) <= _SHOWN_LETTERS else whole[: _SHOWN_LETTERS - 1] + "…")


def bounds(span: Span) -> tuple[str, str]:
    """Return bounds that hold all numbers of a span and half its width more, rounded outwards; at least zero where all are.

    Examples
    --------
    >>> bounds(Span(2, 1, 8)), bounds(Span(2, 1767225600, 1767942000)), bounds(Span(2, -0.25, 0.2521, 0, False))
    (('0', '12'), ('0', '1768400000'), ('-0.6', '0.6'))
    >>> bounds(Span(2, 1.5, 1.7976931348623157e308))
    ('0', '1.7976931348623157e+308')
    """
    room = (span.high - span.low) / 2 or max(abs(span.high) / 2, 1.0)
    if not (math.isfinite(span.low - room) and math.isfinite(span.high + room)):
        return "0" if span.low >= 0 else repr(-sys.float_info.max), "0" if span.high <= 0 else repr(sys.float_info.max)
    unit = 10.0 ** math.floor(math.log10(room))
    unit = max(unit, 1.0) if span.is_whole else unit
    least = 0.0 if span.low >= 0 else math.floor((span.low - room) / unit) * unit
    most = 0.0 if span.high <= 0 else math.ceil((span.high + room) / unit) * unit
    return _bound(min(least, span.low), unit), _bound(max(most, span.high), unit)


def _bound(value: float, unit: float) -> str:
    digits = max(-math.floor(math.log10(unit)), 0)
    text = f"{value:.{digits}f}" if digits <= 15 and abs(value) < 1e15 else repr(value)
    return text if "." not in text or "e" in text else text.rstrip("0").rstrip(".")
