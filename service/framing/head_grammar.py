"""The form of a request's head (RFC 9112), and the refusal of whatever has not that form."""

from __future__ import annotations

import re

LONGEST_HEAD = 128 << 10
LONGEST_LINE = 16 << 10
LONGEST_METHOD = 32

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
FIELD_LINES = rb"(?:" + TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)"
"""RFC 9112 5: no blank before the colon, no continued line, no control character, every line ends with CR LF."""

LOOSE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
"""A line feed without its carriage return, or the other way round."""

_REQUEST_LINE = rb"(?:\r\n)?" + TOKEN + rb"++ [\x21-\x7e]++ HTTP/([0-9])\.([0-9])\r\n"
_FIRST_LINE = re.compile(_REQUEST_LINE)
HEAD = re.compile(_REQUEST_LINE + FIELD_LINES + rb"*+\r\n")
_BEGINNING = re.compile(rb"(?:\r\n?|(?:\r\n)?" + TOKEN + rb"{1,32}+(?: [\x21-\x7e]*+.*+)?)", re.DOTALL)


class FramingError(Exception):
    """The head, or the framing of the body, is not HTTP/1.1; `status` is the status line to answer."""

    def __init__(self, status: str, text: str) -> None:
        self.status = status
        super().__init__(text)


def bad_request(text: str) -> FramingError:
    """Return the error that most of what is no HTTP is answered with."""
    return FramingError("400 Bad Request", f"the request is not HTTP we read: {text}")


class HeadScanner:
    """Watches for the end of a head that comes in pieces, and refuses at once what cannot become one.

    Each byte is looked at once, whatever the pieces.

    Examples
    --------
    >>> scanner = HeadScanner()
    >>> scanner.end(b"GET / HT"), scanner.end(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    (None, 27)
    """

    def __init__(self) -> None:
        self._seen = 0
        self._has_first_line = False

    def end(self, buffer: bytes | bytearray) -> int | None:
        """Return where the head that begins a buffer ends; None while more must come.

        Raises
        ------
        FramingError
            It is too long, or not HTTP however it goes on: a TLS hello, another protocol's greeting, a bare line feed.
        """
        end = buffer.find(b"\r\n\r\n", max(0, self._seen - 3), LONGEST_HEAD)
        if end >= 0:
            return end + 4
        if len(buffer) > LONGEST_HEAD:
            raise FramingError("431 Request Header Fields Too Large", f"the head of the request is longer than {LONGEST_HEAD} bytes")
        if LOOSE_END.search(buffer, max(0, self._seen - 1)):
            raise bad_request("a line does not end with CR LF")
        if not self._has_first_line:
            self._look_at_first_line(buffer)
        self._seen = len(buffer)
        return None

    def _look_at_first_line(self, buffer: bytes | bytearray) -> None:
        if self._seen <= LONGEST_METHOD and not _BEGINNING.fullmatch(buffer[: 2 * LONGEST_METHOD]):
            raise bad_request("it does not begin with a method")
        begin = 2  # an empty line before it is passed over
        if buffer.find(b"\r\n", max(begin, self._seen - 1)) >= 0:
            if not _FIRST_LINE.match(buffer):
                raise bad_request("the first line is no request line")
            self._has_first_line = True
        elif len(buffer) > LONGEST_LINE:
            raise FramingError("414 URI Too Long", f"the first line is longer than {LONGEST_LINE} bytes")
