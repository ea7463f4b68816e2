"""Log lines."""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.telemetry.json_logs import JsonFormatter, forget_request, note_request

LONGEST = 2048


def line_of(**parts: Any) -> str:
    return JsonFormatter().format(logging.makeLogRecord({"name": "x", "levelname": "INFO", **parts}))


def raised(message: str) -> Any:
    """The traceback of an error at the end of many calls."""

    def call(depth: int) -> None:
        if depth == 0:
            raise ValueError(message)
        call(depth - 1)

    try:
        call(50)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("field", ["msg", "model", "reason", "request_id", "route"])
@pytest.mark.parametrize("break_", ["\n", "\r\n", "\u2028", "\x85", "\x1b[2J", "\0"], ids=ascii)
def test_nothing_in_a_value_ends_its_line_or_reaches_a_terminal(field: str, break_: str) -> None:
    injected = f'a{break_}{{"level": "CRITICAL"}}'

    line = line_of(**{field: injected})

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["level"] == "INFO"
    assert json.loads(line)[field] == injected


@settings(max_examples=50)
@given(st.text(), st.dictionaries(st.sampled_from(["model", "reason", "route", "request_id"]), st.text(min_size=50)), st.booleans())
def test_every_line_is_json_of_two_kilobytes_at_most(message: str, fields: dict[str, str], is_error: bool) -> None:
    line = line_of(msg="%s", args=(message * 500,), **fields, exc_info=raised(message) if is_error else None)

    assert len(line.encode()) <= LONGEST
    assert json.loads(line)["level"] == "INFO"


@pytest.mark.parametrize("letter", ["x", "\n", "é", "\U0001f600"])
def test_the_longest_of_everything_fits_a_line(letter: str) -> None:
    long = letter * 100_000
    fields = dict.fromkeys(
        ["request_id", "trace_id", "span_id", "route", "status", "duration_ms", "model", "model_version", "reason"], long
    )

    assert len(line_of(msg=long, exc_info=raised(long), **{**fields, "name": long})) <= LONGEST


def test_the_end_of_a_traceback_is_kept_where_the_error_stands() -> None:
    content = json.loads(line_of(msg="a request failed", exc_info=raised("the cause")))

    assert content["exception"].endswith("ValueError: the cause")
    assert content["msg"] == "a request failed"


def test_a_line_carries_the_ids_of_the_request_that_its_thread_handles() -> None:
    note_request("r-1", "t" * 32, "s" * 16)
    during = json.loads(line_of(msg="something"))
    elsewhere: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: elsewhere.append(json.loads(line_of(msg="the drain"))))
    thread.start()
    thread.join()
    forget_request()
    after = json.loads(line_of(msg="something else"))

    assert (during["request_id"], during["trace_id"], during["span_id"]) == ("r-1", "t" * 32, "s" * 16)
    assert "request_id" not in elsewhere[0]
    assert "request_id" not in after


def test_what_a_line_says_of_its_request_itself_comes_first() -> None:
    note_request("r-1", "t" * 32, "s" * 16)

    content = json.loads(line_of(msg="late", request_id="r-0"))
    forget_request()

    assert content["request_id"] == "r-0"
