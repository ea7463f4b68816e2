"""Trace context: read strictly, continued, or begun anew."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry.trace_context import begin, new_request_id

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "is_sampled"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-01", True, id="sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", False, id="not sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-ff", True, id="flags of the future"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01", True, id="version of the future"),
        pytest.param(f"cc-{TRACE}-{SPAN}-02-what.the-future=will-be", False, id="version of the future with more"),
    ],
)
def test_a_trace_is_continued_with_a_span_of_our_own(header: str, is_sampled: bool) -> None:
    trace = begin(header)

    assert (trace.trace_id, trace.is_sampled) == (TRACE, is_sampled)
    assert trace.span_id != SPAN
    assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-{'01' if is_sampled else '00'}"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param(f"00-{TRACE}-{SPAN}", id="no flags"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-", id="more in version 00"),
        pytest.param(f"00-{TRACE}-{SPAN}-01\n", id="line break"),
        pytest.param(f" 00-{TRACE}-{SPAN}-01", id="space"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01.more", id="more without a dash"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", id="version ff"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", id="upper case"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="no span"),
        pytest.param(f"00-{TRACE[:-1]}٣-{SPAN}-01", id="other digits"),
        pytest.param(f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01", id="sent twice"),
    ],
)
def test_what_is_no_trace_begins_a_new_one(header: str | None) -> None:
    trace = begin(header)

    assert trace.trace_id not in (TRACE, "0" * 32)
    assert not trace.is_sampled
    assert begin(trace.traceparent).trace_id == trace.trace_id


@given(st.text(max_size=80))
def test_any_header_gives_ids_that_can_be_passed_on(header: str) -> None:
    trace = begin(header)

    assert begin(trace.traceparent).trace_id == trace.trace_id


def test_ids_differ() -> None:
    assert len({begin(None).trace_id for _ in range(1000)} | {new_request_id() for _ in range(1000)}) == 2000


def test_workers_that_were_forked_make_other_ids_than_their_parent() -> None:
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(send, begin(None).trace_id.encode())
        os._exit(0)
    os.waitpid(child, 0)

    theirs = os.read(receive, 32).decode()

    assert len(theirs) == 32
    assert theirs != begin(None).trace_id
