"""How the text of a file is laid out: its encoding, what parts its cells, what stands around them; told from its bytes."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from training.dataset.files import first_bytes, is_typed, pieces
from training.dataset.locations import Location, parts_of
from training.dataset.refusals import Refusals
from training.proposing.yaml_text import flow, scalar
from training.schema.spellings import DELIMITERS, PLAIN, FileFormat

_WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_ODD = re.compile(rb"[A-Za-z\x80-\xff']*[\x80-\xff][A-Za-z\x80-\xff']*")
_LINES = 200
_CODE_PAGES = ("cp1252", "cp1250", "cp1251", "latin-1")
_OF_DOS = ("cp850", "cp437")
"""Asked only where the words are none in any other: most of their letters are letters of those, too."""
_JAPANESE = "cp932"
_WESTERN, _CENTRAL = "cp1252", "cp1250"
_SHOWN_LETTERS = 30
_TIMES = 10
"""One reading is told where the other has so many times as many words that no language has."""
_LEAST_CENTRAL = 2
"""Western files are many more: a single word does not make one Central European."""
_VOWEL = "[aeiouyáéíóúýäëöüâîô]"
_CONSONANT = "[bcdfghjklmnpqrstvwxz]"
_STRANGE = {
    _WESTERN: re.compile(
        rf"è{_VOWEL}|ø[aiouyáíóúý]|ñ(?!{_VOWEL})|æ[aeiou]|[aeiouy]æ|ã[b-df-hj-mp-rt-z]|[aeou]ò|[ìù]\w|[ºª¹³¼¾]\w|\w¿|œ[bcklprwz]"
    ),
    _CENTRAL: re.compile(
        rf"{_CONSONANT}[čćď]{_CONSONANT}|{_CONSONANT}ř[bdfgjklmnpr]|ď{_CONSONANT}|[ńś]{_VOWEL}|ă[oe]|őe|{_CONSONANT}ň$|\bŕ|ŕ\b|\bĺ|ĺ\b|ĺ{_VOWEL}|{_VOWEL}ĺ"
    ),
}
"""What hardly any language that is written in a code page has, in lower case, but what the other's letters look like when read by it."""
_NOT_THERE = re.compile(r"[^\W\d_][‚„‹“†‡‰•ˆ˜]|[†‡‰•ˆ˜”›][^\W\d_]")
"""Signs behind or before a letter where nobody writes them: in code pages of Windows they have the bytes of letters of DOS."""
_MOST_WORDS = 10_000
_LEAST_COMMON = 0.9
_FIRST_RARE = 0xA0
"""The first byte of common letters of Shift JIS is below it, of rare ones and of those of half the width above."""
_RUN = re.compile(r"[^\W\d_]+")
_MOST_MIXED = 0.2
"""Of Japanese words so many may have Latin letters in them; of others that are read as Japanese nearly all do."""
_TWO_NAMELESS = 2
"""As many names are empty where the delimiter is two of the signs, as of aligned columns."""


class Layout(NamedTuple):
    """How a file is read.

    Attributes
    ----------
    choices
        Where two readings remain, the lines of which a person chooses one.
    is_typed
        Whether its columns have types of their own.
    sample
        Where the encoding is a guess, a word beyond ASCII as it is read by it.
    """

    files: FileFormat
    choices: tuple[str, ...] = ()
    is_typed: bool = False
    sample: str = ""


def layout_of(path: Location, columns: Iterable[str]) -> Layout:
    """Return how the files of a table are laid out.

    Parameters
    ----------
    columns
        Names that are in its header.
    """
    with Refusals(path):
        parts = parts_of(path)
    if is_typed(parts[0]):
        return Layout(PLAIN, is_typed=True)
    begin = first_bytes(parts[0])
    encoding, others = _encoding(parts, begin)
    text = begin.decode("utf-8-sig" if encoding == "utf-8" else encoding, "replace")
    quote = _quote(text)
    files = FileFormat(_delimiter(text, quote, set(columns)), encoding=encoding, quote=quote)
    lines = (f"read: {flow({**layout_keys(files), 'encoding': name})}   # reads {scalar(read)}" for read, name in others.items())
    is_told = encoding not in ("utf-8", *_WIDE.values()) and not others
    return Layout(files, tuple(lines), sample=_first_odd_word(parts, encoding) if is_told else "")


def layout_keys(files: FileFormat) -> dict[str, str]:
    """Return the keys of ``read:`` that say how a file is laid out; none for the plain way."""
    return {key: scalar(getattr(files, key)) for key in ("delimiter", "encoding", "quote") if getattr(files, key) != getattr(PLAIN, key)}


def _encoding(parts: Sequence[Location], begin: bytes) -> tuple[str, dict[str, str]]:
    wide = _WIDE.get(begin[:2])
    if wide is not None:
        return wide, {}
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for part in parts:
            for piece in pieces(part):
                decoder.decode(piece)
    except UnicodeDecodeError:
        return (_JAPANESE, {}) if is_japanese(piece for part in parts for piece in pieces(part)) else _code_page(_odd_words(parts))
    return "utf-8", {}


def is_japanese(pieces_of_text: Iterable[bytes]) -> bool:
    """Return whether bytes are Japanese text in Shift JIS, as Windows writes it: all can be read, as its common letters, in words of them.

    Latin letters of a code page are read as rare letters, or as small ones of half the width, or stand between Latin letters.

    Examples
    --------
    >>> [is_japanese([text.encode(name)]) for text, name in (("東京都,北区", "cp932"), ("élève,été", "cp1252"), ("Köln,Müller", "cp850"))]
    [True, False, False]
    """
    decoder = codecs.getincrementaldecoder(_JAPANESE)()
    n_common = n_odd = n_mixed = n_words = 0
    try:
        for piece in pieces_of_text:
            text = decoder.decode(piece)
            odd = [char for char in text if not char.isascii()]
            n_odd += len(odd)
            n_common += sum(char.encode(_JAPANESE)[0] < _FIRST_RARE for char in odd)
            words = [word for word in _RUN.findall(text) if not word.isascii()]
            n_words += len(words)
            n_mixed += sum(any(char.isascii() for char in word) for word in words)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return 0 < n_odd * _LEAST_COMMON <= n_common and n_mixed <= _MOST_MIXED * n_words


def _first_odd_word(parts: Sequence[Location], encoding: str) -> str:
    words = _decoded(_odd_words(parts)[:1], encoding)
    return words[0][:_SHOWN_LETTERS] if words else ""


def _odd_words(parts: Sequence[Location]) -> list[bytes]:
    """Return the different words that are not plain ASCII, in their order, the first thousands."""
    words: dict[bytes, None] = {}
    rest = b""
    for piece in (piece for part in parts for piece in (*pieces(part), b"\n")):
        text = rest + piece
        end = text.rfind(b"\n") + 1
        words |= dict.fromkeys(_ODD.findall(text[:end]))
        rest = text[end:]
        if len(words) > _MOST_WORDS:
            break
    return list(words | dict.fromkeys(_ODD.findall(rest)))


def _code_page(words: Sequence[bytes]) -> tuple[str, dict[str, str]]:
    """Return the code page of words beyond ASCII; where it may be another as well, also a word that reads differently, by its reading.

    Examples
    --------
    >>> [_code_page([text.encode(name)])[0] for text, name in (("Genève", "cp1252"), ("Łódź", "cp1250"), ("Москва", "cp1251"))]
    ['cp1252', 'cp1250', 'cp1251']
    >>> _code_page(["Köln".encode("cp850"), "Señor".encode("cp850")])
    ('cp850', {})
    >>> _code_page([b"Gy\\xf5r"])
    ('cp1252', {'Gyõr': 'cp1252', 'Győr': 'cp1250'})
    """
    read = {name: texts for name in _CODE_PAGES if (texts := _decoded(words, name)) is not None}
    plausible = {name: texts for name, texts in read.items() if all(map(is_word, texts))}
    if not plausible:
        of_dos = {name: texts for name in _OF_DOS if (texts := _decoded(words, name)) is not None}
        plausible = {name: texts for name, texts in of_dos.items() if all(map(is_word, texts))} or read
    different: dict[tuple[str, ...], str] = {}
    for name, texts in plausible.items():
        different.setdefault(tuple(texts), name)
    if len(different) == 1:
        return next(iter(plausible)), {}
    if set(different.values()) == {_WESTERN, _CENTRAL} and (one := _european(plausible)) is not None:
        return one, {}
    place = next((place for place, seen in enumerate(zip(*different, strict=True)) if len(set(seen)) > 1), 0)
    readings = {texts[place][:_SHOWN_LETTERS]: name for texts, name in different.items()}
    return next(iter(different.values())), readings


def _european(read: dict[str, list[str]]) -> str | None:
    """Return whether words are Western or Central European, None where not nearly all of them say the same."""
    western, central = (sum(_STRANGE[name].search(text.lower()) is not None for text in read[name]) for name in (_WESTERN, _CENTRAL))
    if central and central >= _TIMES * western:
        return _WESTERN
    return _CENTRAL if western >= max(_LEAST_CENTRAL, _TIMES * central) else None


def _decoded(words: Sequence[bytes], encoding: str) -> list[str] | None:
    try:
        return [word.decode(encoding) for word in words]
    except UnicodeDecodeError:
        return None


def is_word(text: str) -> bool:
    """Return whether letters beyond ASCII make a word: of one script, without symbols, and in Latin not of such letters alone.

    Examples
    --------
    >>> [is_word(text) for text in ("Köln", "Kцln", "Москва", "Ìîñêâà", "Łódź", "£ódŸ", "été", "l’eau", "K”ln", "“Köln”")]
    [True, False, True, False, True, False, True, True, False, True]
    """
    letters = [char for char in text if char.isalpha()]
    scripts = {unicodedata.name(char, "").partition(" ")[0] for char in letters if not char.isascii()}
    scripts |= {"LATIN"} if any(char.isascii() for char in letters) else set()
    has_symbol = any(unicodedata.category(char)[0] in "CS" for char in text if not char.isascii())
    is_odd_alone = len(letters) > 2 and scripts == {"LATIN"} and not any(char.isascii() for char in letters)
    is_strange = (has_symbol and letters) or _NOT_THERE.search(text) is not None or any(map(_is_control, text))
    return len(scripts) < 2 and not is_odd_alone and not is_strange


def _is_control(char: str) -> bool:
    return unicodedata.category(char) == "Cc"


def _quote(text: str) -> str:
    """Return the single quote where it stands around every name of the header."""
    line = text.partition("\n")[0].rstrip("\r")
    names = next((line.split(delimiter) for delimiter in DELIMITERS if delimiter in line), [line])
    is_single = '"' not in line and all(len(name) > 1 and name.strip()[:1] == name.strip()[-1:] == "'" for name in names)
    return "'" if is_single else PLAIN.quote


def _delimiter(text: str, quote: str, columns: set[str]) -> str:
    """Return the delimiter whose header has the wanted names, or by which all lines have the same number of cells."""
    whole = text[: text.rfind("\n") + 1] or text
    widths: dict[str, list[int]] = {}
    for delimiter in DELIMITERS:
        try:
            rows = [
                row
                for row, _ in zip(
                    csv.reader(io.StringIO(whole, newline=""), delimiter=delimiter, quotechar=quote), range(_LINES), strict=False
                )
                if row
            ]
        except csv.Error:
            continue
        if rows and rows[0].count("") < _TWO_NAMELESS and columns <= set(rows[0]) and (columns or len(rows[0]) > 1):
            widths[delimiter] = [len(row) for row in rows]
    fitting = [delimiter for delimiter, cells in widths.items() if len(set(cells)) == 1 and cells[0] > 1]
    if fitting:
        return fitting[0]
    widths.pop(" ", None)  # which names and texts have in them as well
    if widths:
        return max(widths, key=lambda delimiter: widths[delimiter][0])
    return PLAIN.delimiter if not columns else _delimiter(text, quote, set())
