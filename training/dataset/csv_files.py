"""CSV files: the text of every cell, as the model file says it is written; a file that is something else is told by its first bytes."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from training.dataset.locations import Location
from training.dataset.refusals import WANTED, refuse_twice, refused
from training.dataset.unpacking import open_unpacked, packing_of
from training.errors import DataError, DataProblem
from training.schema.spellings import DELIMITERS, FileFormat, other_delimiter

_BLOCK = 16 << 20
_QUOTES_PART = 1 << 20
_BYTE_ORDERS = {
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_MAGIC = {
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save the sheet as CSV"),
    b"PAR1": ("compressed Parquet, which is compressed in itself", "unpack it"),
    b"%PDF": ("a PDF", "export the table as CSV"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
    b"ARROW1": ("an Arrow file", "save it as Parquet"),
    b"\xff\xff\xff\xff": ("an Arrow stream", "save it as Parquet"),
    b"Obj\x01": ("an Avro file", "save it as Parquet"),
    b"\x89HDF": ("an HDF5 file", "save the table as Parquet"),
    b"\x93NUMPY": ("an array of NumPy", "save it as CSV, with names"),
    b"$FL2@(#)": ("an SPSS file", "export the table as CSV"),
    **{bytes([0x80, protocol]): ("a pickle, as pandas and joblib write them", "save the table as Parquet") for protocol in range(2, 6)},
}
_HTML = re.compile(rb"\s*<(!doctype html|html|head|body|table|stata_dta|\?xml)", re.IGNORECASE)


def refuse_other_files(path: Location, begin: bytes, files: FileFormat) -> None:
    """Raise UnreadableTableError for what begins as no CSV does."""
    if not begin.strip():
        raise refused(path, "an empty file")
    if (packing := packing_of(begin)) is not None:
        raise refused(path, f"a file compressed twice ({packing.name} inside)", f"{WANTED}: unpack it once")
    for magic, (what, advice) in _MAGIC.items():
        if begin.startswith(magic):
            raise refused(path, what, f"{WANTED}: {advice}")
    _refuse_other_encodings(path, begin, files)
    if _HTML.match(begin):
        raise refused(path, "a page of HTML or XML, such as one to log in", WANTED)
    try:
        codecs.getincrementaldecoder(files.encoding)().decode(begin)
    except UnicodeDecodeError as error:
        got = f"bytes that are not {files.encoding} (at byte {error.start})"
        raise refused(
            path, got, f"{files.encoding}; write read: {{encoding: latin-1}} or the one it has, or save it as {files.encoding}"
        ) from error


def _refuse_other_encodings(path: Location, begin: bytes, files: FileFormat) -> None:
    name, has_mark = codecs.lookup(files.encoding).name, begin[:2] in _BYTE_ORDERS
    is_wide = name.startswith(("utf-16", "utf-32"))
    if begin.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) and not name.startswith("utf-32"):
        raise refused(path, "UTF-32", "UTF-8: save it as that")
    if has_mark and not is_wide:
        raise refused(path, "UTF-16", f"{files.encoding}; write read: {{encoding: utf-16}}, or save it as UTF-8")
    if has_mark and name in ("utf-16-le", "utf-16-be"):
        raise refused(path, "UTF-16 with a mark", f"{name} without one; write read: {{encoding: utf-16}}")
    if b"\0" in begin and not is_wide:
        raise refused(path, "a file with zero bytes, which is no text (or UTF-16 without a mark: write read: {encoding: utf-16-le})")
    if is_wide and b"\0" not in begin:
        raise refused(
            path, "a text without zero bytes", f"{files.encoding}, which has some; leave read: {{encoding:}} out, or write another"
        )
    if name == "utf-16" and not has_mark:
        order = "be" if begin.startswith(b"\0") else "le"
        raise refused(path, "UTF-16 without a mark", f"one with a mark; write read: {{encoding: utf-16-{order}}}")
    if begin.startswith(codecs.BOM_UTF8) and not is_wide and not name.startswith("utf-8"):
        raise refused(path, "UTF-8 with a mark", f"{files.encoding}; write read: {{encoding: utf-8}}")


def read_csv(path: Location, files: FileFormat, wanted: Collection[str] | None) -> tuple[list[str], pa.Table]:
    """Return the names of all columns, and the cells of the wanted ones."""
    names = csv_header(path, files)
    refuse_twice(str(path), names)
    refuse_other_delimiter(path, names, files, wanted)
    _refuse_other_quotes(path, names, files)
    chosen = [name for name in names if wanted is None or name in wanted]
    odd: list[tuple[int | None, int]] = []

    def note(row: Any) -> str:
        odd.append((row.number, row.actual_columns))
        return "skip"

    parse = pa.csv.ParseOptions(delimiter=files.delimiter, quote_char=files.quote, newlines_in_values=True, invalid_row_handler=note)
    read = _parsed(path, files, parse, chosen or names[:1], use_threads=True)
    if odd:
        odd.clear()  # threads know no numbers of rows
        _parsed(path, files, parse, names[:1], use_threads=False)
        raise _wrong_widths(path, odd, len(names))
    return names, read


def csv_batches(path: Location, files: FileFormat) -> Iterator[pa.RecordBatch]:
    """Yield the cells of all columns in parts of bounded size."""
    names = csv_header(path, files)
    refuse_twice(str(path), names)
    _refuse_other_quotes(path, names, files)
    odd: list[tuple[int, int]] = []

    def note(row: Any) -> str:
        odd.append((row.number, row.actual_columns))
        return "skip"

    parse = pa.csv.ParseOptions(delimiter=files.delimiter, quote_char=files.quote, newlines_in_values=True, invalid_row_handler=note)
    with (
        open_unpacked(path) as content,
        pa.csv.open_csv(content, _read_options(files, use_threads=False), parse, _texts(names)) as batches,
    ):
        yield from batches
    if odd:
        raise _wrong_widths(path, odd, len(names))


def _wrong_widths(path: Location, odd: Sequence[tuple[int | None, int]], wanted: int) -> DataError:
    cause, shown = "", odd[: DataError.SHOWN]
    if len(odd) > DataError.SHOWN and len({width for _, width in odd}) == 1 and odd[0][1] > wanted:
        what = "a delimiter ends each row" if odd[0][1] == wanted + 1 else "lines stand above the names: a title, comments, sep=;"
        cause, shown = f"; {len(odd):,} rows have as many, likely because {what}", odd[:1]
    problems = [
        DataProblem(max((number or 2) - 2, 0), "", f"{width} cells", f"{wanted}, as the header has{cause}") for number, width in shown
    ]
    return DataError(problems, str(path), len(odd))


def _parsed(path: Location, files: FileFormat, parse: Any, chosen: list[str], *, use_threads: bool) -> pa.Table:
    with open_unpacked(path) as content:
        return pa.csv.read_csv(content, _read_options(files, use_threads=use_threads), parse, _texts(chosen))


def _read_options(files: FileFormat, *, use_threads: bool) -> Any:
    encoding = "utf-8" if files.encoding == "utf-8-sig" else files.encoding
    return pa.csv.ReadOptions(encoding=encoding, block_size=_BLOCK, use_threads=use_threads)


def _texts(chosen: list[str]) -> Any:
    return pa.csv.ConvertOptions(column_types=dict.fromkeys(chosen, pa.string()), strings_can_be_null=False, include_columns=chosen)


def csv_header(path: Location, files: FileFormat) -> list[str]:
    """Return the names of the columns."""
    with _strict_rows(path, files) as lines:
        return next((line for line in lines if line), [])


@contextmanager
def _text(path: Location, files: FileFormat, errors: str = "strict") -> Iterator[io.TextIOWrapper]:
    encoding = "utf-8-sig" if files.encoding.lower() in ("utf-8", "utf8") else files.encoding
    with open_unpacked(path) as content, io.TextIOWrapper(content, encoding=encoding, errors=errors, newline="") as text:
        yield text


@contextmanager
def _strict_rows(path: Location, files: FileFormat) -> Iterator[Iterator[list[str]]]:
    """Read rows by the csv module, which is slow and, other than Arrow, raises where text stands behind a closing quote."""
    with _text(path, files) as text:
        yield csv.reader(_lines(path, text), delimiter=files.delimiter, quotechar=files.quote, strict=True)


def _refuse_other_quotes(path: Location, names: list[str], files: FileFormat) -> None:
    """Refuse quotes inside of quotes that are not written twice, in whatever row: Arrow would read other texts than are meant."""
    if len(names) < 2:
        return
    with _text(path, files, errors="replace") as text:  # that bytes are of another encoding is said by who reads them
        broken = broken_quote(text, files.delimiter, files.quote)
    if broken is not None:
        twice = files.quote * 2
        wanted = f"quotes inside of quotes written twice ({twice}), not with a backslash{_in_the_first_broken_row(path, files)}"
        raise refused(path, broken, wanted)


def _in_the_first_broken_row(path: Location, files: FileFormat) -> str:
    """Say where quotes are broken; nothing where the csv module does not come so far, for a cell is too long."""
    n_rows = 0
    try:
        with _strict_rows(path, files) as rows:
            for _ in filter(None, rows):
                n_rows += 1
    except csv.Error as error:
        return f" (row {n_rows - 1:,})" if "field larger" not in str(error) else ""
    return ""


def _lines(path: Location, text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_BLOCK):
        if len(line) == _BLOCK:
            raise refused(path, f"a header of more than {_BLOCK:,} letters")
        yield line


def refuse_other_delimiter(path: Location, names: Sequence[str], files: FileFormat, wanted: Collection[str] | None) -> None:
    """Raise UnreadableTableError where all names stand in one cell, unless that is the name of a wanted column."""
    if (other := other_delimiter(names, files.delimiter, wanted)) is None:
        return
    delimiter, what = other
    written = DELIMITERS.get(files.delimiter, repr(files.delimiter))
    shown = '"\\t"' if delimiter == "\t" else f"'{delimiter}'"
    advice = f"write read: {{delimiter: {shown}}}, or save" if delimiter in DELIMITERS else "save"
    raise refused(path, f"cells separated by {what}", f"{written}; {advice} it with {written}")


def broken_quote(text: io.TextIOBase, delimiter: str, quote: str) -> str | None:
    """Return in words which quote is not as it should be; None when all are.

    Examples
    --------
    >>> [broken_quote(io.StringIO(text), ",", '"') for text in ('a,"b ""c"" d"', 'a,5" pipe', 'a,"b \\\\"c\\\\" d"', 'a,"b')]
    [None, None, 'text behind a closing quote', 'a quote that is never closed']
    """
    quotes = _Quotes(delimiter, quote)
    if any(map(quotes.break_in, _quote_parts(text, quote))):
        return "text behind a closing quote"
    return "a quote that is never closed" if quotes.is_open else None


def _quote_parts(text: io.TextIOBase, quote: str) -> Iterator[bytes]:
    """Yield the bytes of parts that have quotes; each begins and ends with another letter, so that all quotes have their neighbours."""
    rest = "\n"
    while piece := text.read(_QUOTES_PART):
        if quote not in piece and quote not in rest:
            rest = piece[-1]
            continue
        rest += piece
        end = len(rest.rstrip(quote))
        yield rest[:end].encode()
        rest = rest[end - 1 :]
    yield (rest + "\n").encode()


class _Quotes:
    """Follows whether a quote is open, from each run of quotes to the next.

    A run of an odd number opens a cell behind a delimiter or a line's end, and closes an open one; inside of a cell that does not begin
    with a quote it is text. A run of an even number is an empty cell, or quotes of a text written twice.
    """

    def __init__(self, delimiter: str, quote: str) -> None:
        self.is_open = False
        self._quote = ord(quote)
        self._is_edge = np.zeros(256, dtype=bool)
        self._is_edge[[*b"\r\n", *delimiter.encode()]] = True

    def break_in(self, part: bytes) -> bool:
        """Take in a part, and return whether a cell goes on behind its closing quote."""
        letters = np.frombuffer(part, dtype=np.uint8)
        places = np.flatnonzero(letters == self._quote)
        if not len(places):
            return False
        starts = places[np.diff(places, prepend=-2) > 1]
        ends = places[np.diff(places, append=len(letters) + 1) > 1]
        is_odd = (ends - starts) % 2 == 0
        begins, goes_on = self._is_edge[letters[starts - 1]], ~self._is_edge[letters[ends + 1]]
        was_open = self._open_before(is_odd & begins, is_odd & ~begins)
        return bool((goes_on & np.where(was_open, is_odd, begins & ~is_odd)).any())

    def _open_before(self, turns: npt.NDArray[np.bool_], closes: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return before which runs a quote is open, where some runs turn that over and some end it in any case."""
        n_turns = np.concatenate([[int(self.is_open)], int(self.is_open) + np.cumsum(turns)])
        n_at_close = np.maximum.accumulate(np.concatenate([[0], np.where(closes, n_turns[1:], 0)]))
        is_open: npt.NDArray[np.bool_] = (n_turns - n_at_close) % 2 == 1
        self.is_open = bool(is_open[-1])
        return is_open[:-1]
