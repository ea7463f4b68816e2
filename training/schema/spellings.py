"""The one table of spellings: which words mean missing, how numbers, booleans and times are written, and in which files.

A value comes as a *text cell* (CSV, and text columns of other tables), as a *JSON string*, as a *JSON number or boolean*, or in a
*typed column* (Parquet, Arrow, a DataFrame). The offline reader and the service read all of them by the functions of this module and
of `training.schema.times`, so that a table reads the same wherever it comes in.
"""

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

MISSING_WORDS = frozenset(
    [
        "", "na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "nil", "none", "?", "-", "--", "\u2212", "\u2013",
        "\u2014", "1.#ind", "-1.#ind",
    ]
)  # fmt: skip
"""Texts that mean nothing is known, whatever the case: in numbers, booleans and times, never in categories and targets."""
MINUS_SIGNS = "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"
"""What people and typesetters write for the hyphen before a number: the minus sign itself, other hyphens, a figure or en dash."""
PERCENT = "percent"
ACCOUNTING = "accounting"
"""How a number is written whose minus stands as brackets around it or behind it; without a currency."""
INFINITE = "inf"
"""What `missing:` of a number may hold: an infinite value then means that nothing is known."""
MOST_WHOLE = 2**53
"""The largest whole number up to which a float64 tells all apart."""

_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False, "y": True, "n": False}
_BOOLEANS |= {"1": True, "0": False, "1.0": True, "0.0": False}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,400}", re.ASCII)
_PLAIN_MINUS = str.maketrans(dict.fromkeys(MINUS_SIGNS, "-"))
_NEGATIVE = re.compile(r"\((.*)\)|(.*\d)\s*-", re.ASCII)
INFINITE_WORDS = r"[+-]?inf(inity)?"
"""Texts that stand for infinite numbers, whatever the case: a pattern."""
_INFINITE_WORD = re.compile(INFINITE_WORDS, re.ASCII | re.IGNORECASE)
_CURRENCIES = frozenset([
    "USD", "EUR", "GBP", "JPY", "CNY", "CHF", "AUD", "CAD", "NZD", "HKD", "SGD", "INR", "KRW", "TWD", "THB", "IDR", "MYR", "PHP", "VND",
    "SEK", "NOK", "DKK", "ISK", "PLN", "CZK", "HUF", "RON", "BGN", "TRY", "RUB", "UAH", "ILS", "AED", "SAR", "EGP", "ZAR", "NGN", "KES",
    "BRL", "MXN", "ARS", "CLP", "COP", "PEN", "US$", "CA$", "AU$", "NZ$", "HK$", "R$", "kr", "zł", "Kč", "Ft", "Fr.",
])  # fmt: skip
_MOST_ALIKE, _SHOWN_LETTERS = 4, 40
_AMOUNT = re.compile(r"[+-]?\s*([^\d\s.,+-]*)\s*[+-]?\d[\d.,'\u2019_ \u00a0\u202f]*?\s*([^\d\s.,]*\.?)")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}([. ]\d{3})+),\d+", re.ASCII)
THOUSANDS = (".", ",", " ", "\u00a0", "\u202f", "'", "\u2019", "_")
QUOTES = ('"', "'")
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", "^": "carets", "~": "tildes", " ": "blanks"}
"""What parts cells, in words."""
_UNREADABLE_DELIMITERS = {"::": "double colons", ":": "colons", "||": "double bars", "  ": "several blanks"}
_IN_NAMES = (" ", "  ", ":")
"""Delimiters that names of columns may have in them as well."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How the text of a file is laid out (the section ``read:`` of a model file).

    Attributes
    ----------
    delimiter, quote
        What parts the cells of a line, and what stands around a cell that holds it.
    decimal, thousands
        How numbers are written; without `thousands` no number has groups of three digits.
    encoding
        Of the bytes, as Python names it; a mark at the start of UTF-8 is skipped.
    sheet
        Of an Excel file with several of them, the one that is read.
    """

    delimiter: str = ","
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    quote: str = '"'
    sheet: str | None = None


PLAIN = FileFormat()
"""Commas, points, UTF-8: what every request is written in, and a file whose model file says nothing."""


def is_missing_word(text: str) -> bool:
    """Return whether a text means missing in numbers, booleans and times.

    Examples
    --------
    >>> is_missing_word(" N/A"), is_missing_word("Null"), is_missing_word("0")
    (True, True, False)
    """
    return text.strip().casefold() in MISSING_WORDS


def plain_minus(text: str) -> str:
    """Write the minus of a number as the hyphen of ASCII, whichever of `MINUS_SIGNS` it is.

    Examples
    --------
    >>> plain_minus("\u22125"), plain_minus("1e\u20135")
    ('-5', '1e-5')
    """
    return text if text.isascii() else text.translate(_PLAIN_MINUS)


def minus_in_front(text: str) -> str:
    """Write a minus in front of a number that has brackets around it, or a minus behind it, as accountants write it.

    Examples
    --------
    >>> minus_in_front("($5)"), minus_in_front("1.5-"), minus_in_front("(-5)"), minus_in_front("7")
    ('-$5', '-1.5', '--5', '7')
    """
    negative = _NEGATIVE.fullmatch(text)
    return text if negative is None else "-" + (negative[1] or negative[2] or "").strip()


def is_accounting(text: str) -> bool:
    """Return whether a text looks like a negative number of accountants: to say so, never to read it.

    Examples
    --------
    >>> [is_accounting(text) for text in ("(1,234.50)", "5-", "($5)", "(a)", "-5", "()")]
    [True, True, True, False, False, False]
    """
    text = plain_minus(text.strip())
    return _NEGATIVE.fullmatch(text) is not None and _AMOUNT.fullmatch(minus_in_front(text)) is not None


def is_number_format(text: str) -> bool:
    """Return whether a text is a ``format`` of numbers: ``percent``, ``accounting``, or the sign or the three letters of a currency.

    Examples
    --------
    >>> [is_number_format(text) for text in ("percent", "accounting", "€", "US$", "CHF", "euro", "%", "")]
    [True, True, True, True, True, False, False, False]
    """
    is_sign = len(text) == 1 and unicodedata.category(text) == "Sc"
    return text in (PERCENT, ACCOUNTING) or is_sign or text in _CURRENCIES


def currency_of(text: str) -> str | None:
    """Return the currency in which a number is written; None where it is no number with one currency.

    Examples
    --------
    >>> [currency_of(text) for text in ("$5", "-1.234,50 €", "USD 7", "$(5)", "5", "5%", "$5 €", "A1")]
    ['$', '€', 'USD', '$', None, None, None, None]
    """
    amount = _AMOUNT.fullmatch(minus_in_front(plain_minus(text.strip()).replace("(", "").replace(")", "")))
    signs = {sign.strip() for sign in amount.groups()} - {""} if amount else set()
    return sign if len(signs) == 1 and is_number_format(sign := signs.pop()) and sign not in (PERCENT, ACCOUNTING) else None


def is_infinite_word(text: str) -> bool:
    """Return whether a text stands for an infinite number.

    Examples
    --------
    >>> is_infinite_word(" -Inf"), is_infinite_word("infinity"), is_infinite_word("1e999")
    (True, True, False)
    """
    return _INFINITE_WORD.fullmatch(plain_minus(text.strip())) is not None


def is_text_encoding(name: str) -> bool:
    """Return whether bytes can be read as text in the encoding of that name.

    Examples
    --------
    >>> is_text_encoding("latin-1"), is_text_encoding("rot13"), is_text_encoding("klingon")
    (True, False, False)
    """
    try:
        codecs.lookup(name)
        b"a".decode(name, "ignore")
    except (LookupError, ValueError):
        return False
    return True


def read_number(text: str, written: str | None = None, files: FileFormat = PLAIN) -> int | float | None:
    """Read a number in a text cell; None for a missing word.

    Parameters
    ----------
    written
        The ``format`` of the feature: ``percent`` lets a sign of percent follow, a currency its sign stand before or behind; with each of
        them, and with ``accounting``, the minus may be brackets, or stand behind.

    Raises
    ------
    ValueError
        It is no number.

    Examples
    --------
    >>> read_number(" 2"), read_number("1e3"), read_number("N/A"), read_number("12%", "percent")
    (2, 1000.0, None, 12)
    >>> read_number("1.234,5", files=FileFormat(decimal=",", thousands="."))
    1234.5
    >>> read_number("-$5", "$"), read_number("7 EUR", "EUR"), read_number("($5)", "$"), read_number("5-", "accounting")
    (-5, 7, -5, -5)
    >>> read_number("\u22125")
    -5
    """
    if files is PLAIN:  # the short way of nearly all
        if _WHOLE.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            return float(text)
    text = text.strip()
    if text.casefold() in MISSING_WORDS:
        return None
    text = plain_minus(text)
    if written is not None:
        text = minus_in_front(_without_sign(minus_in_front(text), written))
    if files.decimal != PLAIN.decimal or files.thousands is not None:
        text = _plain(text, files)
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    raise ValueError("no number")


def _without_sign(text: str, written: str) -> str:
    """Take away the sign of percent behind the digits, or that of a currency before or behind them, once."""
    sign = {PERCENT: "%", ACCOUNTING: ""}.get(written, written)
    digits = text.lstrip("+-")
    minus = text[: len(text) - len(digits)]
    if written not in (PERCENT, ACCOUNTING) and digits.startswith(sign):
        return minus + digits.removeprefix(sign).lstrip()
    return minus + digits.removesuffix(sign).rstrip()


def _plain(text: str, files: FileFormat) -> str:
    """Write a number with a point and without groups; ValueError where it is not written as the file says."""
    if files.decimal != "." and "." in text and files.thousands != ".":
        raise ValueError("no number")
    whole, mark, rest = text.partition(files.decimal)
    if files.thousands is not None and files.thousands in whole:
        groups = whole.lstrip("+-").split(files.thousands)
        if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
            raise ValueError("no number")
        whole = whole.replace(files.thousands, "")
    return whole + ("." if mark else "") + rest


def read_boolean(text: str) -> bool | None:
    """Read a boolean in a text cell; None for a missing word.

    Raises
    ------
    ValueError
        It is no boolean.

    Examples
    --------
    >>> read_boolean("Yes"), read_boolean("0"), read_boolean("?")
    (True, False, None)
    """
    word = text.strip().casefold()
    if word in MISSING_WORDS:
        return None
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    raise ValueError("no boolean")


def is_too_large(number: float) -> bool:
    """Return whether a whole number is beyond what a float64 tells from its neighbours; one written with a point is none.

    Examples
    --------
    >>> is_too_large(2**53), is_too_large(2**53 + 1), is_too_large(1e300)
    (False, True, False)
    """
    return type(number) is int and not -MOST_WHOLE <= number <= MOST_WHOLE


def number_of(decimal: Decimal) -> float:
    """Return the number that a decimal of a typed column stands for: a whole one keeps its digits.

    Examples
    --------
    >>> number_of(Decimal("9007199254740993.00")), number_of(Decimal("9.604"))
    (9007199254740993, 9.604)
    """
    is_whole = decimal.is_finite() and decimal == decimal.to_integral_value()
    return int(decimal) if is_whole else float(decimal)


def as_float(number: float | None) -> float:
    """Return a number as a float, NaN for none, infinity for what is larger than any float.

    Examples
    --------
    >>> as_float(None), as_float(10**400)
    (nan, inf)
    """
    if number is None:
        return math.nan
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def other_delimiter(names: Sequence[str], delimiter: str, wanted: Collection[str] | None) -> tuple[str, str] | None:
    """Return the delimiter, and how it is called, by which a header that was read as one cell is likely to be parted; None if by none.

    Parameters
    ----------
    wanted
        Columns of which some should be there; None where nobody knows any.

    Examples
    --------
    >>> other_delimiter(["a::b"], ",", None), other_delimiter(["x y"], ",", {"y"}), other_delimiter(["x y"], ",", None)
    (('::', 'double colons'), ('\x20', 'blanks'), None)
    """
    if len(names) != 1 or (wanted is not None and names[0] in wanted):
        return None
    for sign, what in (_UNREADABLE_DELIMITERS | DELIMITERS).items():
        parts = names[0].split(sign)
        if sign != delimiter and len(parts) > 1 and (sign not in _IN_NAMES or not {*map(str.strip, parts)}.isdisjoint(wanted or ())):
            return sign, what
    return None


def spelled_alike(counts: Mapping[str, int]) -> list[str]:
    """Say which texts differ only in case or in blanks around them, and how often each occurs; nothing is merged.

    Examples
    --------
    >>> spelled_alike({"Yes": 90, "yes ": 3, "no": 7})
    ["'Yes' (90 rows) and 'yes ' (3 rows) differ only in case or in blanks around them"]
    """
    alike: dict[str, list[str]] = {}
    for text in counts:
        alike.setdefault(text.strip().casefold(), []).append(text)
    groups = [sorted(texts, key=lambda text: (-counts[text], text)) for texts in alike.values() if len(texts) > 1]
    return [
        " and ".join(f"{_shortened(text)} ({counts[text]:,} {'row' if counts[text] == 1 else 'rows'})" for text in group[:_MOST_ALIKE])
        + (f" and {len(group) - _MOST_ALIKE} more" if len(group) > _MOST_ALIKE else "")
        + " differ only in case or in blanks around them"
        for group in groups
    ]


def _shortened(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]!r}…"


def has_decimal_comma(text: str) -> bool:
    """Return whether a text looks like a number with a decimal comma: to say so, never to read it.

    Examples
    --------
    >>> has_decimal_comma("0,25"), has_decimal_comma("1.234,5"), has_decimal_comma("a,b")
    (True, True, False)
    """
    return bool(_DECIMAL_COMMA.fullmatch(plain_minus(text.strip())))
