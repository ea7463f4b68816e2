"""W3C trace context: the trace that a request belongs to, and our own span in it. Nothing is exported; the ids are recorded.

References
----------
W3C, Trace Context, Level 1 (2021), section 3.2: the ``traceparent`` header.
"""

from __future__ import annotations

import os
import re
from random import Random
from typing import NamedTuple

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED = 1

# Ids need to differ, not to be secret: one system call a process instead of one a request. Forked children start anew.
_random = Random()
os.register_at_fork(after_in_child=_random.seed)


class Trace(NamedTuple):
    """Our span in a trace."""

    trace_id: str
    span_id: str
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """The header for whoever comes after us: the caller, who reads it in the answer."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


def begin(traceparent: str | None) -> Trace:
    """Continue the trace of a request with a span of our own, or start one where there is none that can be read.

    Parameters
    ----------
    traceparent
        The header as it came. Version 00 is read strictly; of a later one, its first four parts.

    Examples
    --------
    >>> begin("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").trace_id
    '0af7651916cd43dd8448eb211c80319c'
    >>> begin("00-00000000000000000000000000000000-b7ad6b7169203331-01").is_sampled
    False
    """
    read = None if traceparent is None else _read(traceparent)
    trace_id, is_sampled = (_new(128), False) if read is None else read
    return Trace(trace_id, _new(64), is_sampled)


def new_request_id() -> str:
    """Make an id for a request that came without.

    Examples
    --------
    >>> len(new_request_id())
    16
    """
    return _new(64)


def _read(header: str) -> tuple[str, bool] | None:
    match = _HEADER.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return trace_id, bool(int(flags, 16) & _SAMPLED)


def _new(bits: int) -> str:
    number = _random.getrandbits(bits) or 1  # nought would be no id
    return f"{number:0{bits // 4}x}"
