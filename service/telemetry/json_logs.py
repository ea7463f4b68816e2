"""Log lines: one JSON object a line, without bodies, tokens or line breaks inside, and never longer than 2 KB.

While a request is handled, every line carries its ids, whoever writes it: `note_request` keeps them for the thread.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_FIELDS = ("route", "status", "duration_ms", "model", "model_version", "reason")
_IDS = ("request_id", "trace_id", "span_id")
_LONGEST = 2000
_LONGEST_FIELD = 100
_ROOM_OF_MESSAGE = 500  # beside a traceback

_request: ContextVar[tuple[str, str, str] | None] = ContextVar("evergreen_request", default=None)


def note_request(request_id: str, trace_id: str, span_id: str) -> None:
    """Say which request this thread handles from now on, until the next one or `forget_request`."""
    _request.set((request_id, trace_id, span_id))


def forget_request() -> None:
    """Say that this thread handles no request any more."""
    _request.set(None)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON.

    Examples
    --------
    >>> line = JsonFormatter().format(logging.makeLogRecord({"name": "service.app", "msg": "up", "levelname": "INFO"}))
    >>> json.loads(line)["msg"]
    'up'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback goes into it as one escaped string, its end rather than its beginning."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": _fitting(record.name, _LONGEST_FIELD),
            "pid": record.process,
        }
        line |= dict(zip(_IDS, _request.get() or (), strict=False))
        line |= {name: _short(getattr(record, name)) for name in (*_IDS, *_FIELDS) if hasattr(record, name)}
        message = record.getMessage()
        if record.exc_info:
            line["msg"] = _fitting(message, _ROOM_OF_MESSAGE)
            room = _LONGEST - len(json.dumps(line)) - len(', "exception": ')
            line["exception"] = _fitting(self.formatException(record.exc_info), room, is_end_kept=True)
        else:
            line["msg"] = _fitting(message, _LONGEST - len(json.dumps(line)) - len(', "msg": '))
        return json.dumps(line)


def configuration(level: str) -> dict[str, Any]:
    """Return the logging configuration of a process (for ``logging.config.dictConfig`` and gunicorn's ``logconfig_dict``)."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "service.telemetry.json_logs.JsonFormatter"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
        "root": {"level": level, "handlers": ["out"]},
        "loggers": {
            "gunicorn.error": {"level": level, "handlers": ["out"], "propagate": False, "qualname": "gunicorn.error"},
            "gunicorn.access": {"level": "WARNING", "handlers": ["out"], "propagate": False, "qualname": "gunicorn.access"},
        },
    }


def _short(value: Any) -> Any:
    """Make of a field what JSON knows and what leaves room for the others."""
    return value if value is None or isinstance(value, bool | int | float) else _fitting(str(value), _LONGEST_FIELD)


def _fitting(text: str, room: int, *, is_end_kept: bool = False) -> str:
    """Cut a text so that it fits the room as JSON, in which one letter may take twelve."""
    room = max(room, len('""'))
    text = text[-room:] if is_end_kept else text[:room]
    while (length := len(json.dumps(text))) > room:
        n_letters = min(len(text) - 1, len(text) * room // length)
        text = text[len(text) - n_letters :] if is_end_kept else text[:n_letters]
    return text
