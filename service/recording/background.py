"""What a worker does once a second beside predicting: write down counts of refused values and metrics, return free memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from service.prediction_log.prediction_log import PredictionLog
from service.recording.rejected_rows import Rejects
from service.recording.version_facts import VersionCache
from service.telemetry.memory import give_back
from training.clock import to_us
from training.errors import DatabaseUnavailableError

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0


class BackgroundWriter:
    """Write counts of refused values to the log, and what was counted in memory to the metrics files.

    Parameters
    ----------
    flush
        Writes buffered metrics to their files.
    clock
        Returns machine time.
    """

    def __init__(
        self, *, rejects: Rejects, log: PredictionLog, versions: VersionCache, flush: Callable[[], None], clock: Callable[[], datetime]
    ) -> None:
        self._rejects = rejects
        self._log = log
        self._versions = versions
        self._flush = flush
        self._clock = clock
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="background", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread, and write what there is."""
        self._stopping.set()
        self._try()

    def run_once(self) -> None:
        """Write what was gathered.

        Raises
        ------
        DatabaseUnavailableError
            The log is out of reach; the numbers are kept.
        """
        self._flush()
        give_back()
        for model, counts in self._rejects.take().items():
            try:
                self._log.add_rejects(model, self._bucket_of_now(model), counts)
            except DatabaseUnavailableError:
                self._rejects.add(model, counts)
                raise

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            self._try()

    def _try(self) -> None:
        try:
            self.run_once()
        except DatabaseUnavailableError:
            return  # the drain logs it
        except Exception:
            logger.exception("the numbers of refused values could not be written")

    def _bucket_of_now(self, model: str) -> int:
        watermark = self._log.watermark(model)
        now_us = to_us(self._clock()) if watermark is None else watermark
        width = self._versions.bucket_us(model)
        return now_us // width * width
