"""What has not arrived, for a scrape: read from the outbox when it is asked for, by the monitor that leads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.journal.outbox import StoredOutbox
from training.errors import EvergreenError

logger = logging.getLogger(__name__)
BACKLOG = {
    "messages_waiting": "Messages that have not arrived, those that wait for the digest of their hour among them.",
    "messages_oldest_seconds": "How long the oldest of them has waited; 0 without any.",
}


class BacklogMetrics(Collector):
    """Adds to a scrape what waits, by destination.

    Parameters
    ----------
    leads
        Whether this monitor leads.
    now_us
        Machine time.
    """

    def __init__(self, outbox: StoredOutbox, destinations: Sequence[str], leads: Callable[[], bool], now_us: Callable[[], int]) -> None:
        self._outbox = outbox
        self._destinations = destinations
        self._leads = leads
        self._now_us = now_us

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the families at the time of the scrape."""
        if not self._leads():
            return []
        try:
            backlog = {one.destination: one for one in self._outbox.backlog()}
        except EvergreenError as error:
            logger.warning("a scrape goes without the messages: %s", error)
            return []
        waiting, oldest = (GaugeMetricFamily(f"evergreen_{name}", meaning, labels=["destination"]) for name, meaning in BACKLOG.items())
        now_us = self._now_us()
        for name in sorted({*self._destinations, *backlog}):
            one = backlog.get(name)
            waiting.add_metric([name], 0 if one is None else one.waiting)
            oldest.add_metric([name], 0.0 if one is None else max(0, now_us - one.oldest_us) / 1e6)
        return [waiting, oldest]
