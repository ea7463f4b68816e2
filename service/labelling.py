"""From labels as they were sent to their statuses: ids are read here, the joining is the log's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from service.codecs.label_bodies import SentLabels
from service.models.served_model import Deployment
from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import LabelItem, LabelResult
from service.prediction_log.prediction_log import PredictionLog
from service.recording.spool import folder_ends
from service.telemetry.buffered import BufferedHistogram
from service.telemetry.metrics import ServiceMetrics


class Labelling:
    """Joins labels of one request.

    Parameters
    ----------
    patience_seconds
        How long the drain is given to bring in what a caller's id is about.

    Notes
    -----
    Our own id says whether its prediction is still on its way to the log; a caller's does not. So where a caller's id
    is not found, the drain is given a while to bring in what was acknowledged before; if it cannot, the status is
    ``pending``, else ``unknown``.
    """

    def __init__(
        self,
        *,
        minter: IdMinter,
        log: PredictionLog,
        spool_folder: Path,
        metrics: ServiceMetrics,
        clock: Callable[[], datetime],
        patience_seconds: float,
    ) -> None:
        self._minter = minter
        self._log = log
        self._spool_folder = spool_folder
        self._metrics = metrics
        self._clock = clock
        self._patience_seconds = patience_seconds

    def join(self, deployment: Deployment, sent: SentLabels) -> list[LabelResult]:
        """Store labels and return a result for each; committed when this returns.

        Raises
        ------
        DatabaseUnavailableError
            The log is out of reach; nothing was stored.
        """
        items = list(map(LabelItem, sent.labels, self._minter.parse_all(sent.ids), sent.own_ids))
        has_own_ids = sent.own_ids.count(None) < len(items)
        ends = folder_ends(self._spool_folder) if has_own_ids else {}
        results = self._store(deployment, items, is_drained=False)
        open_places = [place for place, item in enumerate(items) if item.own_id is not None and results[place].status == "unknown"]
        if open_places:
            is_drained = self._wait_for(ends)
            again = self._store(deployment, [items[place] for place in open_places], is_drained=is_drained)
            for place, result in zip(open_places, again, strict=True):
                is_open = result.status == "unknown" and not is_drained
                results[place] = LabelResult("pending") if is_open else result
        self._count(deployment.model, items, results)
        return results

    def _store(self, deployment: Deployment, items: Sequence[LabelItem], *, is_drained: bool) -> list[LabelResult]:
        return self._log.label(deployment.model, items, self._clock(), rules=deployment.label_rules, is_drained=is_drained)

    def _wait_for(self, ends: dict[str, int]) -> bool:
        deadline = time.monotonic() + self._patience_seconds
        while not all(self._is_past(spool, end) for spool, end in ends.items()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def _is_past(self, spool: str, end: int) -> bool:
        offset = self._log.offset(spool)
        return offset.closed or offset.offset >= end

    def _count(self, model: str, items: Sequence[LabelItem], results: Sequence[LabelResult]) -> None:
        now = self._clock().timestamp()
        counts = Counter([result.status for result in results])
        for status, count in counts.items():
            self._metrics.labels.labels(model, status).inc(count)
        if not counts["matched"]:
            return
        self._metrics.last_label.labels(model).set(now)
        matched = [item.id for item, result in zip(items, results, strict=True) if result.status == "matched"]
        delays = BufferedHistogram(self._metrics.label_delay.labels(model))
        for time_ms, count in Counter([identity.time_ms for identity in matched if identity is not None]).items():
            delays.observe(now - time_ms / 1000, count)
        delays.flush()
