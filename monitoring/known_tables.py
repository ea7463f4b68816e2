"""Which versions of its tables this Evergreen knows, of every component."""

from __future__ import annotations

from monitoring.journal import tables as journal
from service.prediction_log import tables as log
from training.registry import tables as registry

KNOWN_TABLES = {registry.COMPONENT: registry.VERSION, log.COMPONENT: log.SCHEMA_VERSION, journal.COMPONENT: journal.VERSION}
