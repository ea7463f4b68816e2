"""The bytes of a request: decompressed within a bound, and what kind they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.wrappers import Request

from service.errors import BodyTooLargeError, UnreadableBodyError
from service.web.environ_keys import WHOLE_BODY

JSON, CSV = "application/json", "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
_TABLES = {CSV: CSV, ARROW: ARROW, PARQUET: PARQUET, "application/x-parquet": PARQUET, "application/parquet": PARQUET}
_ANY_ZLIB = 47
FIRST_PIECE_BYTES, MOST_PIECE_BYTES = 512, 1 << 20
FREE_STREAMS, LEAST_STREAM_BYTES = 1000, 64
"""Compressed streams one after the other: beyond some they must have so many bytes on average."""


def body_of(request: Request, max_bytes: int, max_decompressed_bytes: int | None = None) -> bytes:
    """Return the body of a request, gzip and deflate undone; decompressed it may be as large as sent, unless another bound is given.

    Raises
    ------
    BodyTooLargeError
        It is, or would become, larger than the limit.
    UnreadableBodyError
        It is not what ``Content-Encoding`` says.
    UnsupportedMediaType
        It is encoded in another way.
    """
    body = sent_bytes(request, max_bytes)
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not read here; send gzip, deflate or neither")
    return inflate(body, max_decompressed_bytes or max_bytes)


def sent_bytes(request: Request, max_bytes: int | None = None) -> bytes:
    """Return the body of a request as it came; one without a length is never cut at the limit, but refused beyond it.

    Raises
    ------
    BodyTooLargeError
        It is larger than the limit (by default the application's).
    """
    whole: bytes | None = request.environ.get(WHOLE_BODY)
    if whole is not None:  # our worker has read it, and knows the limit
        return whole
    limit = request.max_content_length if max_bytes is None else max_bytes
    body = request.get_data(cache=False)
    if limit is None or len(body) < limit:
        return body
    if len(body) > limit or (request.content_length is None and request.environ["wsgi.input"].read(1)):
        raise BodyTooLargeError(f"the body has more than {limit} bytes; that is the limit")
    return body


def inflate(body: bytes, max_bytes: int, make_stream: Callable[[int], Any] = zlib.decompressobj) -> bytes:
    """Decompress gzip or deflate (with or without zlib's header), stopping at the limit.

    Parameters
    ----------
    make_stream
        As `zlib.decompressobj`, of a window's size.

    Examples
    --------
    >>> inflate(zlib.compress(b"abc"), 10)
    b'abc'
    >>> inflate(zlib.compress(b"0" * 10_000_000), 1000)
    Traceback (most recent call last):
    service.errors.BodyTooLargeError: the body has more than 1000 bytes when decompressed; that is the limit
    """
    try:
        return _inflate(body, max_bytes, lambda: make_stream(_ANY_ZLIB))
    except zlib.error:
        try:
            return _inflate(body, max_bytes, lambda: make_stream(-zlib.MAX_WBITS))
        except zlib.error:
            raise UnreadableBodyError("the body is not compressed as its Content-Encoding says") from None


def _inflate(body: bytes, max_bytes: int, make_stream: Callable[[], Any]) -> bytes:
    """Decompress one stream after the other.

    A stream hands back what it did not take: it is fed a piece at a time, small ones first, so that many short streams do not each
    copy all that follows.
    """
    parts: list[bytes] = []
    room = max_bytes + 1
    whole, place, n_streams = memoryview(body), 0, 0
    while place < len(whole):
        n_streams += 1
        if n_streams > FREE_STREAMS and n_streams * LEAST_STREAM_BYTES > len(whole):
            raise UnreadableBodyError(f"the compressed body has streams of less than {LEAST_STREAM_BYTES} bytes; send it as one")
        stream = make_stream()
        size = FIRST_PIECE_BYTES
        while not stream.eof:
            piece = whole[place : place + size]
            if not piece:
                raise UnreadableBodyError("the compressed body is cut off")
            parts.append(stream.decompress(piece, room))
            room -= len(parts[-1])
            if room <= 0:
                raise BodyTooLargeError(f"the body has more than {max_bytes} bytes when decompressed; that is the limit")
            place += len(piece) - len(stream.unused_data)
            size = min(2 * size, MOST_PIECE_BYTES)
    return b"".join(parts)


def kind_of(request: Request) -> str:
    """Return the content type of a body by one name; JSON when the caller says nothing."""
    if request.environ.get("CONTENT_TYPE") == JSON:
        return JSON
    return _TABLES.get(request.mimetype, request.mimetype) or JSON
