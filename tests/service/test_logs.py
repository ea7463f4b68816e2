"""Log lines."""

from __future__ import annotations

import json
import logging

from service.logs import JsonFormatter


def test_a_line_break_in_a_value_stays_inside_its_line() -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "model %s", "args": ('a\n{"level": "CRITICAL"}',), "levelname": "INFO"})

    line = JsonFormatter().format(record)

    assert "\n" not in line
    assert json.loads(line)["level"] == "INFO"


def test_a_long_message_is_cut() -> None:
    assert len(JsonFormatter().format(logging.makeLogRecord({"msg": "x" * 10**6}))) < 2500
