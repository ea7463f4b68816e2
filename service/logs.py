"""Log lines: one JSON object a line, without bodies, tokens or line breaks inside."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

_FIELDS = ("request_id", "route", "status", "duration_ms", "model", "model_version", "reason")
_LONGEST = 2000


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON.

    Examples
    --------
    >>> line = JsonFormatter().format(logging.makeLogRecord({"name": "service.app", "msg": "up", "levelname": "INFO"}))
    >>> json.loads(line)["msg"]
    'up'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; a traceback goes into it as one escaped string."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage()[:_LONGEST],
            "pid": record.process,
        }
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-_LONGEST:]
        return json.dumps(line, default=str)


def configuration(level: str) -> dict[str, Any]:
    """Give the logging configuration of a process (for ``logging.config.dictConfig`` and gunicorn's ``logconfig_dict``)."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "service.logs.JsonFormatter"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
        "root": {"level": level, "handlers": ["out"]},
        "loggers": {
            "gunicorn.error": {"level": level, "handlers": ["out"], "propagate": False, "qualname": "gunicorn.error"},
            "gunicorn.access": {"level": "WARNING", "handlers": ["out"], "propagate": False, "qualname": "gunicorn.access"},
        },
    }
