"""Text cells taken into the facts of their column, a part of the table at a time, at the speed of Arrow where they are plain."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.dataset.converting import Column, times
from training.proposing.facts import Facts, Signs, Span
from training.proposing.yaml_text import scalar
from training.schema.spellings import (
    INFINITE_WORDS,
    MINUS_SIGNS,
    MISSING_WORDS,
    MOST_WHOLE,
    PERCENT,
    currency_of,
    is_too_large,
    minus_in_front,
)
from training.schema.times import YYYYMMDD, RefusedTimeError, time_format

_WORDS = pa.array(sorted(MISSING_WORDS))
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_PLAIN_NUMBER = re.compile(_NUMBER, re.ASCII)
_INFINITE = f"^({INFINITE_WORDS})$"
_OTHER_MINUS = f"[{MINUS_SIGNS}]"
_NEGATIVE = r"^(?:\(\s*(.*?)\s*\)|(.*\d)\s*-)$"
_LEADING_ZERO = r"^[+-]?0\d"
_BARE = r"^[\d.,+\-eE'\x{2019}_ \x{00a0}\x{202f}]*$"
_DIGITS_AND_SIGNS = r"^[+-]?[\d.,]*\d[\d.,]*$"
_TELLING = {
    sign: rf"^[+-]?(\d+{sign}(\d{{1,2}}|\d{{4,}})|(0\d*|\d{{4,}})?{sign}\d+|[1-9]\d{{0,2}}({other}\d{{3}})+({sign}\d+|{other}\d{{3}}))$"
    for sign, other in (("[.]", ","), (",", "[.]"))
}
_GROUPED = r"^[+-]?(\d+[.,]|[1-9]\d{0,2}[.,]\d{3})$"
_WHOLE = re.compile(r"[+-]?\d+")
_ISO = re.compile(r"\d{4}-(\d\d|W\d\d)|\d{8}T")
_EIGHT_DIGITS = re.compile(r"\d{8}")
_STAMP = re.compile(r"(19|20|21)\d{6}(\d{2}){1,3}")
_STAMPS = {10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
DIGITS = {4: "%Y", 6: "%Y%m", 7: "%Y%j"}
"""Times in so few digits that any whole numbers may look like them: told to be times only where a column is known to hold some."""
_DATE_LIKE = re.compile(r"\d{1,4}[/. _-]\w{1,9}?[/. _-]|[A-Za-z]{3,9},? \w")
_WORD = r"[^\W\d_]"
_DATE_IN_WORDS = re.compile(
    rf"({_WORD}{{2,12}}\.?,? )?(\d{{1,2}}\.?[ /-](de )?(?P<a>{_WORD}{{3,12}})\.?,?[ /-](de )?|(?P<b>{_WORD}{{3,12}})\.? \d{{1,2}},? )"
    r"(19|20)\d\d([ T,]+[\d:. ]+)?"
)
_MOST_MONTHS = 24
_SHOWN_LETTERS = 30
_FIRST_TEXTS = 20
_DATES = (
    *(f"%{a}{sign}%{b}{sign}%{year}" for sign in "/.-_" for year in "Yy" for a, b in ("dm", "md")),
    *(f"%{year}{sign}%m{sign}%d" for sign in "/.-_" for year in "Yy"),
    "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%a %b %d %Y", "%a, %d %b %Y", "%d/%b/%Y",
)  # fmt: skip
_IN_DIGITS = dict.fromkeys(("%d", "%m", "%j", "%y", "%Y", "%H", "%I", "%M", "%S", "%f"), r" ?\d{1,6}")
_OF_C = "%a %b %d %H:%M:%S %Y"  # as asctime of C writes it
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %I:%M%p", ", %H:%M",
           ", %H:%M:%S", " %H:%M:%S UTC", " %H:%M:%S GMT", " %H:%M:%S %z", ":%H:%M:%S %z")  # fmt: skip


def add_text(facts: Facts, cells: pa.Array) -> None:
    """Take in text cells; null is as good as empty."""
    facts.is_text = True
    facts.n_rows += len(cells)
    trimmed = pc.utf8_trim_whitespace(cells)
    lower = pc.utf8_lower(trimmed)
    has_other_minus = pc.any(pc.match_substring_regex(trimmed, _OTHER_MINUS)).as_py()
    amounts = pc.replace_substring_regex(trimmed, _OTHER_MINUS, "-") if has_other_minus else trimmed
    is_empty = pc.fill_null(pc.equal(cells, ""), True)
    is_word = pc.or_(is_empty, pc.fill_null(pc.is_in(lower, value_set=_WORDS), True))
    is_infinite = pc.fill_null(pc.match_substring_regex(pc.utf8_lower(amounts) if has_other_minus else lower, _INFINITE), False)
    facts.n_empty += is_empty.true_count
    facts.words.update(_counted(cells.filter(pc.and_(is_word, pc.invert(is_empty)))))
    facts.infinite.update(_counted(cells.filter(is_infinite)))
    is_other = pc.invert(pc.or_(is_word, is_infinite))
    if is_other.true_count:
        facts.levels.add(_counted(cells.filter(is_other)).items())
        _add_numbers(facts, amounts.filter(is_other))
        others = trimmed.filter(is_other)
        add_times(facts, pa.chunked_array([others]), str(others[0]))


def _counted(cells: pa.Array) -> dict[str, int]:
    counts = pc.value_counts(cells)
    return dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True))


def _add_numbers(facts: Facts, texts: pa.Array) -> None:
    facts.number_format = facts.number_format or _format_of(texts)
    if facts.number_format is not None:
        texts = _without_signs(texts, facts.number_format)
    is_number = pc.match_substring_regex(texts, _NUMBER)
    facts.n_numbers += is_number.true_count
    facts.has_leading_zeros |= bool(pc.any(pc.and_(is_number, pc.match_substring_regex(texts, _LEADING_ZERO))).as_py())
    facts.decimals.update(_decimals(texts))
    if not facts.numbers:
        return
    present = frozenset(sign for sign in ".,' \u00a0\u202f\u2019" if pc.any(pc.match_substring(texts, sign)).as_py())
    if not facts.sample_group and present & {",", "."}:
        facts.sample_group = next((str(text) for text in texts if set(str(text)) & present & {",", "."}), "")
    alike: dict[tuple[bool, bool, Signs | None], npt.NDArray[np.float64] | None] = {}
    for signs in list(facts.numbers):
        grouped = signs.thousands is not None and signs.thousands in present
        key = (signs.decimal in present, grouped, signs if grouped or signs.decimal == "," else None)
        if key not in alike:
            alike[key] = _read(texts, signs, present)
        values = alike[key]
        if values is None:
            del facts.numbers[signs]
            continue
        facts.numbers[signs].add(values[np.isfinite(values)])
    plain = next((values for values in alike.values() if values is not None), None)
    if plain is not None and len(plain) and float(np.abs(plain).max()) >= MOST_WHOLE:
        large = texts.filter(pa.array(np.abs(plain) >= MOST_WHOLE)).to_pylist()
        facts.has_large |= any(_WHOLE.fullmatch(text) is not None and is_too_large(_whole(text)) for text in large)
        facts.infinite.update(_counted(texts.filter(pa.array(np.isinf(plain)))))


def _decimals(texts: pa.Array) -> dict[str | None, int]:
    """Count the cells that tell by themselves which sign stands before decimals, and those that look like numbers and are none."""
    signed = texts.filter(pc.and_(pc.match_substring_regex(texts, "[.,]"), pc.match_substring_regex(texts, _DIGITS_AND_SIGNS)))
    if not len(signed):
        return {}
    point, comma = (pc.match_substring_regex(signed, telling).true_count for telling in _TELLING.values())
    n_either = pc.match_substring_regex(signed, _GROUPED).true_count
    return {".": point, ",": comma, None: len(signed) - point - comma - n_either}


def _format_of(texts: pa.Array) -> str | None:
    """Return ``percent`` or a currency when the first text that is no bare number has one."""
    odd = texts.filter(pc.invert(pc.match_substring_regex(texts, _BARE)))
    if not len(odd):
        return None
    first = str(odd[0])
    return PERCENT if minus_in_front(first).endswith("%") else currency_of(first)


def _without_signs(texts: pa.Array, written: str) -> pa.Array:
    """Take away signs as `training.schema.spellings.read_number` does, and write a minus in front."""
    texts = _minus_in_front(texts)
    sign = "%" if written == PERCENT else re.escape(written)
    behind = pc.replace_substring_regex(texts, rf"\s*{sign}$", "")
    if written == PERCENT:
        return _minus_in_front(behind)
    has_before = pc.match_substring_regex(texts, rf"^[+-]*{sign}")
    before = pc.replace_substring_regex(texts, rf"^([+-]*){sign}\s*", r"\1")
    return _minus_in_front(pc.if_else(has_before, before, behind))


def _minus_in_front(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, _NEGATIVE, r"-\1\2")


def _whole(text: str) -> int:
    return int(text[:400])


def _read(texts: pa.Array, signs: Signs, present: frozenset[str]) -> npt.NDArray[np.float64] | None:
    """Read numbers written in one way; None where a text is none. A group at the start has no leading zero: 0,001 is no thousands."""
    decimal, thousands = signs
    if decimal == "," and "." in present and thousands != ".":
        return None
    if thousands is not None and thousands in present:
        grouped = rf"^[+-]?(\d+|[1-9]\d{{0,2}}({re.escape(thousands)}\d{{3}})+)({re.escape(decimal)}\d*)?$"
        if not pc.all(pc.match_substring_regex(texts, grouped)).as_py():
            return None
        texts = pc.replace_substring(texts, thousands, "")
    if decimal == "," and "," in present:
        texts = pc.replace_substring(texts, ",", ".")
    if not pc.all(pc.match_substring_regex(texts, _NUMBER)).as_py():
        return None
    values: npt.NDArray[np.float64] = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
    return values


def add_times(facts: Facts, cells: Column, first: str) -> None:
    """Drop the ways to write times that do not fit some cells; the first cell of a column says which there may be."""
    if facts.times is None:
        facts.times = {written: Span() for written in formats_of(first)}
    for written in list(facts.times):
        values, is_bad = times(cells, time_format(written, None))
        if is_bad.any() and (written in DIGITS.values() or not _are_outside(facts, cells, np.flatnonzero(is_bad), written)):
            del facts.times[written]
            continue
        facts.times[written].add(values[~np.isnan(values)] * 1e6)


def _are_outside(facts: Facts, cells: Column, rows: npt.NDArray[np.intp], written: str | None) -> bool:
    """Count cells that are times of other years; False when one is no time at all."""
    bad = cells.take(pa.array(rows)) if isinstance(cells, pa.ChunkedArray) else pa.chunked_array([pa.array(cells.iloc[rows].astype(str))])
    for text, count in _counted(pc.cast(bad, pa.string()).combine_chunks()).items():
        try:
            time_format(written, None).cell_us(text)
        except RefusedTimeError:
            pass
        except ValueError:
            return False
        facts.outside[written] += count
        facts.sample_outside = text
    return True


def formats_of(text: str) -> list[str | None]:
    """Return the ways to write times in which a text is one; None is ISO 8601.

    Examples
    --------
    >>> formats_of("2026-01-05T10:00"), formats_of("20260105"), formats_of("31/01/2026"), formats_of("01/02/2026"), formats_of("7")
    ([None], ['yyyymmdd'], ['%d/%m/%Y'], ['%d/%m/%Y', '%m/%d/%Y'], [])
    >>> formats_of("202601"), formats_of("202613"), formats_of("2026")
    (['%Y%m'], [], ['%Y'])
    """
    if _ISO.match(text) and _is_time(text, None):
        return [None]
    if _EIGHT_DIGITS.fullmatch(text):
        return [YYYYMMDD] if _is_time(text, YYYYMMDD) else []
    if (digits := DIGITS.get(len(text))) and text.isdecimal() and _matches(text, digits) and _is_time(text, digits):
        return [digits]
    if _STAMP.fullmatch(text) and _matches(text, _STAMPS[len(text)]):
        return [_STAMPS[len(text)]]
    if not _DATE_LIKE.match(text):
        return []
    return [written for written in (*map("".join, product(_DATES, _CLOCKS)), _OF_C) if _matches(text, written)]


def _matches(text: str, written: str) -> bool:
    if _shape(written).fullmatch(text) is None:
        return False
    try:
        datetime.strptime(text, written)  # noqa: DTZ007 - only whether it can be read
    except ValueError:
        return False
    return True


@cache
def _shape(written: str) -> re.Pattern[str]:
    """Compile what every text in a format looks like, and others may: `strptime` keeps few of its formats, and compiles the others anew.

    Examples
    --------
    >>> [bool(_shape("%d %b %Y").fullmatch(text)) for text in ("5 Jan 2026", "5 soon 2026", "5. Jan 2026", "05/01/2026")]
    [True, True, False, False]
    """
    parts = re.split(r"(%[a-zA-Z]|\s+)", written)
    shape = "".join(
        r"\s+" if each.isspace() else _IN_DIGITS.get(each, ".*?") if each.startswith("%") else re.escape(each) for each in parts
    )
    return re.compile(shape, re.IGNORECASE | re.DOTALL)


def _is_time(text: str, written: str | None) -> bool:
    try:
        time_format(written, None).text_us(text)
    except RefusedTimeError:
        return True
    except ValueError:
        return False
    return True


def is_plain_number(text: str) -> bool:
    """Return whether a cell is a number without any signs around it.

    Examples
    --------
    >>> is_plain_number(" 1.5"), is_plain_number("<1.5"), is_plain_number("#DIV/0!")
    (True, False, False)
    """
    return _PLAIN_NUMBER.fullmatch(text.strip()) is not None


def nearly_dates(texts: Collection[str]) -> str | None:
    """Say why texts that look like dates are none that can be read; None where they do not look so.

    Examples
    --------
    >>> nearly_dates(["5 mars 2026", "7 avril 2026"])
    'looks like dates with months that are no English names ("5 mars 2026")'
    >>> nearly_dates(["2026-01-05", "05.01.2026"]), nearly_dates(["2026-01-05", "soon"])
    ('looks like dates in two formats ("2026-01-05", "05.01.2026")', 'looks like dates ("2026-01-05"), but soon is none')
    """
    trimmed = [text.strip() for text in texts]
    words = [match["a"] or match["b"] for text in trimmed if (match := _DATE_IN_WORDS.fullmatch(text))]
    foreign = "looks like dates with months that are no English names"
    first = next((text for text in trimmed[:_FIRST_TEXTS] if not text.isdigit() and formats_of(text)), None)
    if first is None:
        if not words or len(words) < len(trimmed) or len(set(map(str.casefold, words))) > _MOST_MONTHS:
            return None
        return f"{foreign} ({scalar(trimmed[0])})"
    fitting = formats_of(first)
    for text in trimmed:
        still = [written for written in fitting if (_is_time(text, None) if written is None else _matches(text, written))]
        if not still:
            if formats_of(text):
                return f"looks like dates in two formats ({scalar(first)}, {scalar(text)})"
            if _DATE_IN_WORDS.fullmatch(text):  # of which some are called as in English, such as April
                return f"{foreign} ({scalar(text)})"
            return f"looks like dates ({scalar(first)}), but {scalar(text[:_SHOWN_LETTERS])} is none"
        fitting = still
    return None
