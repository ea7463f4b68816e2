"""Prediction ids: when, in which spool file, where in it, of how many rows, and a keyed tag.

An id is ``<prefix>-<row>``. The prefix is 23 bytes in lower-case base32hex (37 letters, so ids sort by time)::

    time_ms 48 bits | spool 40 bits | seq 32 bits | n_rows 24 bits | tag 40 bits

The tag is keyed, so a label that names an id is known as *minted here, not drained yet* or as *made up*.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

PREFIX_LETTERS = 37
SPOOL_BYTES = 5
MAX_ROWS_PER_ID = 2**24 - 1
_TAG_BYTES = 5
_BODY_BYTES = 18
_LETTERS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]  # ten bits at once: base64.b32hexencode takes 7 us
_SHIFTS = range(180, -1, -10)
_SHAPE = re.compile(r"([0-9a-v]{37})-(0|[1-9][0-9]{0,7})", re.ASCII)


class PredictionId(NamedTuple):
    """What a prediction id says about its row."""

    prefix: str
    row: int
    time_ms: int
    spool: str
    seq: int
    n_rows: int


class _Request(NamedTuple):
    """What a prefix says."""

    time_ms: int
    spool: str
    seq: int
    n_rows: int


class IdMinter:
    """Mint and read prediction ids under one key.

    Parameters
    ----------
    key
        Secret bytes shared by all workers of one home (1 to 64 bytes are used).

    Examples
    --------
    >>> minter = IdMinter(b"secret")
    >>> prefix = minter.mint(1_700_000_000_000, spool="00000000aa", seq=3, n_rows=2)
    >>> minter.parse(f"{prefix}-1").seq
    3
    >>> minter.parse(f"{prefix}-2") is None  # there were only two rows
    True
    >>> IdMinter(b"other").parse(f"{prefix}-1") is None
    True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key[:64]

    def mint(self, time_ms: int, *, spool: str, seq: int, n_rows: int) -> str:
        """Make the prefix shared by all rows of one request."""
        body = time_ms.to_bytes(6, "big") + bytes.fromhex(spool) + seq.to_bytes(4, "big") + n_rows.to_bytes(3, "big")
        number = int.from_bytes(body + self._tag(body), "big") << 6
        return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])[:PREFIX_LETTERS]

    def parse(self, text: str) -> PredictionId | None:
        """Read an id; None when it was not minted under this key or its row does not exist."""
        return self.parse_all([text])[0]

    def parse_all(self, texts: Iterable[str | None]) -> list[PredictionId | None]:
        """Read many ids, each as `parse` does; None stays None. The rows of one request share a prefix, which is read once."""
        requests: dict[str, _Request | None] = {}
        identities: list[PredictionId | None] = []
        for text in texts:
            shape = None if text is None else _SHAPE.fullmatch(text)
            if shape is None:
                identities.append(None)
                continue
            prefix, row = shape[1], int(shape[2])
            request = requests[prefix] if prefix in requests else requests.setdefault(prefix, self._request(prefix))
            is_there = request is not None and row < request.n_rows
            identities.append(PredictionId(prefix, row, *request) if is_there else None)  # type: ignore[misc]
        return identities

    def _request(self, prefix: str) -> _Request | None:
        number = int(prefix, 32)  # 37 letters of 5 bits: 23 bytes and a bit that is never set
        raw = (number >> 1).to_bytes(_BODY_BYTES + _TAG_BYTES, "big")
        body, tag = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
        if number & 1 or not hmac.compare_digest(tag, self._tag(body)):
            return None
        from_bytes = int.from_bytes
        return _Request(from_bytes(body[:6], "big"), body[6:11].hex(), from_bytes(body[11:15], "big"), from_bytes(body[15:], "big"))

    def _tag(self, body: bytes) -> bytes:
        return blake2b(body, key=self._key, digest_size=_TAG_BYTES).digest()
