"""A chunked body, joined while it comes: each byte is looked at once and copied once.

The grammar is RFC 9112 7.1, and no laxer than any reader we know: what is taken here, gunicorn's own reader takes for the same
body with the same end.
"""

from __future__ import annotations

import re

from service.framing.head_grammar import FIELD_LINES, LOOSE_END, TOKEN, FramingError, bad_request

LONGEST_SIZE_LINE = 1024
LONGEST_TRAILERS, LONGEST_TRAILER, MOST_TRAILERS = 1 << 16, 8188, 100
FREE_FRAMING_BYTES = 1 << 18
"""What sizes, line ends and extensions may take beside a quarter of the data: each chunk costs time, whatever it carries."""

_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSIONS = rb"(?:[ \t]*+;[ \t]*+" + TOKEN + rb"++(?:[ \t]*+=[ \t]*+(?:" + TOKEN + rb"++|" + _QUOTED + rb"))?+)*+"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}+)" + _EXTENSIONS + rb"\r\n")
_SIZE_LINE_SO_FAR = re.compile(rb"(?:[0-9A-Fa-f]{1,16}+[ \t]*+(?:;[^\r\n]*+)?+\r?)?")
_TRAILERS = re.compile(FIELD_LINES + rb"*+\r\n")
_NOT_IN_TRAILERS = frozenset(
    b"HOST CONTENT-LENGTH TRANSFER-ENCODING TE TRAILER EXPECT AUTHORIZATION CONTENT-TYPE CONTENT-ENCODING CONTENT-RANGE".split()
)
"""RFC 9110 6.5.1: what frames, routes, permits or describes a request stands in its head."""


class ChunkDecoder:
    """Joins the chunks of a body as they come.

    Attributes
    ----------
    body
        What the chunks that are whole carry.
    is_whole
        Whether the last one and the trailers have come.
    is_too_large
        Whether the body goes, or says that it will go, beyond the limit; nothing more is taken then.

    Examples
    --------
    >>> decoder = ChunkDecoder(max_body_bytes=100)
    >>> decoder.advance(b"3\\r\\nabc\\r\\n2\\r\\nd", 0), decoder.is_whole
    (8, False)
    >>> decoder.advance(b"2\\r\\nde\\r\\n0\\r\\n\\r\\nGET", 0), decoder.is_whole, bytes(decoder.body)
    (12, True, b'abcde')
    """

    def __init__(self, max_body_bytes: int) -> None:
        self.body = bytearray()
        self.is_whole = False
        self.is_too_large = False
        self._max_body_bytes = max_body_bytes
        self._framing_bytes = 0
        self._trailers_seen: int | None = None

    def advance(self, buffer: bytes | bytearray, at: int) -> int:
        """Take what is whole from a place in the buffer on; return the place behind it, from which to go on next time.

        Raises
        ------
        FramingError
            It is malformed, or almost all frame and no body.
        """
        while self._trailers_seen is None:
            line = _SIZE_LINE.match(buffer, at)
            if line is None:
                self._check_size_line_so_far(buffer[at : at + LONGEST_SIZE_LINE + 1])
                return at
            begin = line.end()
            size = int(line[1], 16)
            if size == 0:
                self._count_framing(begin - at)
                self._trailers_seen, at = 0, begin
                break
            if len(self.body) + size > self._max_body_bytes:
                self.is_too_large = True
                return at
            after = begin + size
            if buffer[after : after + 2] != b"\r\n":
                if len(buffer) >= after + 2 or buffer[after : after + 1] not in (b"", b"\r"):
                    raise bad_request("a chunk is longer than its size")
                return at
            self.body += buffer[begin:after]
            self._count_framing(begin - at + 2)
            at = after + 2
        return self._take_trailers(buffer, at)

    def _check_size_line_so_far(self, line: bytes | bytearray) -> None:
        if len(line) > LONGEST_SIZE_LINE or not _SIZE_LINE_SO_FAR.fullmatch(line):
            raise bad_request(f"the size of a chunk is malformed: {bytes(line[:40])!r}")

    def _count_framing(self, n_bytes: int) -> None:
        if n_bytes > LONGEST_SIZE_LINE + 4:
            raise bad_request(f"the size of a chunk takes more than {LONGEST_SIZE_LINE} bytes")
        self._framing_bytes += n_bytes
        if self._framing_bytes > FREE_FRAMING_BYTES + len(self.body) // 4:
            raise bad_request(f"its chunks are too small: {self._framing_bytes} bytes of framing for {len(self.body)} of body")

    def _take_trailers(self, buffer: bytes | bytearray, at: int) -> int:
        seen = at + (self._trailers_seen or 0)
        if buffer[at : at + 2] == b"\r\n":
            end = at + 2
        elif (place := buffer.find(b"\r\n\r\n", max(at, seen - 3), at + LONGEST_TRAILERS)) >= 0:
            end = place + 4
        elif len(buffer) - at > LONGEST_TRAILERS:
            raise FramingError("431 Request Header Fields Too Large", f"the trailers are longer than {LONGEST_TRAILERS} bytes")
        elif LOOSE_END.search(buffer, max(at, seen - 1)):
            raise bad_request("a trailer does not end with CR LF")
        else:
            self._trailers_seen = len(buffer) - at
            return at
        _check_trailers(bytes(buffer[at:end]))
        self.is_whole = True
        return end


def _check_trailers(section: bytes) -> None:
    """Refuse trailers that are malformed or may not be any; what they say is not used."""
    if not _TRAILERS.fullmatch(section):
        raise bad_request("a trailer is malformed")
    lines = section.split(b"\r\n")[:-2]
    if len(lines) > MOST_TRAILERS or any(len(line) > LONGEST_TRAILER for line in lines):
        raise FramingError(
            "431 Request Header Fields Too Large", f"more than {MOST_TRAILERS} trailers, or one over {LONGEST_TRAILER} bytes"
        )
    forbidden = _NOT_IN_TRAILERS.intersection(line.partition(b":")[0].upper() for line in lines)
    if forbidden:
        raise bad_request(f"{min(forbidden).decode('ascii').title()} is no trailer")
