"""From labels as they were sent to their statuses: ids are read here, the joining is the log's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from service.deployment import Deployment
from service.ids import IdMinter
from service.label_log import LabelItem, LabelResult
from service.metrics import ServiceMetrics
from service.payloads import LabelPayload
from service.prediction_log import PredictionLog
from service.spool import folder_ends

PATIENCE_SECONDS = 1.0


class Labelling:
    """Joins labels of one request.

    Notes
    -----
    Our own id says whether its prediction is still on its way to the log; a caller's does not. So where a caller's id
    is not found, the drain is given a second to bring in what was acknowledged before; if it cannot, the status is
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
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._minter = minter
        self._log = log
        self._spool_folder = spool_folder
        self._metrics = metrics
        self._clock = clock
        self._patience_seconds = patience_seconds

    def join(self, deployment: Deployment, payloads: Sequence[LabelPayload]) -> list[LabelResult]:
        """Store labels and give a status for each; committed when this returns.

        Raises
        ------
        DatabaseUnavailableError
            The log is out of reach; nothing was stored.
        """
        items = [self._item(payload) for payload in payloads]
        has_own_ids = any(item.own_id is not None for item in items)
        ends = folder_ends(self._spool_folder) if has_own_ids else {}
        results = self._store(deployment, items)
        open_places = [place for place, item in enumerate(items) if item.own_id is not None and results[place].status == "unknown"]
        if open_places:
            is_drained = self._wait_for(ends)
            again = self._store(deployment, [items[place] for place in open_places])
            for place, result in zip(open_places, again, strict=True):
                is_open = result.status == "unknown" and not is_drained
                results[place] = LabelResult("pending") if is_open else result
        self._note(deployment.model, items, results)
        return results

    def _item(self, payload: LabelPayload) -> LabelItem:
        identity = self._minter.parse(payload.id) if payload.id is not None else None
        return LabelItem(payload.label, identity, payload.own_id)

    def _store(self, deployment: Deployment, items: Sequence[LabelItem]) -> list[LabelResult]:
        return self._log.label(deployment.model, items, self._clock(), rules=deployment.label_rules)

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

    def _note(self, model: str, items: Sequence[LabelItem], results: Sequence[LabelResult]) -> None:
        now = self._clock().timestamp()
        delays = self._metrics.label_delay.labels(model)
        for item, result in zip(items, results, strict=True):
            self._metrics.labels.labels(model, result.status).inc()
            if result.status == "matched" and item.id is not None:
                delays.observe(now - item.id.time_ms / 1000)
        if any(result.status == "matched" for result in results):
            self._metrics.last_label.labels(model).set(now)
