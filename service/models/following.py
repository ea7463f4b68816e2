"""The registry is the mailbox: every worker looks at the aliases, and swaps a moved champion in when it has time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from service.models.deployments import Deployments
from service.models.last_champion import LastChampion, read_last_champions, write_last_champion
from service.models.loading import VersionLoader
from service.models.reasons import reason_of
from service.models.served_model import Deployment
from service.telemetry.metrics import ServiceMetrics
from training.errors import ArtifactError, DatabaseUnavailableError, EvergreenError, MissingArtifactError
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry
from training.registry.tables import AliasRecord

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
LOOK_SECONDS = 0.5
LONGEST_LOOK_SECONDS = 120.0  # without a model that was loaded, refused, or left to its thread


class RegistryFollower:
    """Keeps the deployments at the champions of the registry.

    Parameters
    ----------
    champions_folder
        Where the last champion of each model is noted, for a start without the registry.
    only
        The models to serve; None for all that have a champion.
    check
        Raises EvergreenError where the database must not be used, as one of a newer Evergreen; asked before each look.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        loader: VersionLoader,
        deployments: Deployments,
        champions_folder: Path,
        metrics: ServiceMetrics,
        only: tuple[str, ...] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._deployments = deployments
        self._champions_folder = champions_folder
        self._metrics = metrics
        self._only = only
        self._check = check
        self._retries: dict[str, tuple[int, float]] = {}
        self._logged: dict[str, str] = {}
        self._began: dict[str, tuple[int, float]] = {}
        self._late: set[str] = set()
        self._progressed = 0.0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._has_looked = threading.Event()

    def start(self, poll_seconds: float, *, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Follow the registry from a thread; return when that has looked at all there is now: what takes long is loaded further.

        Parameters
        ----------
        is_wanted
            Asked every half second; when it says no, there is no more waiting.

        Raises
        ------
        DatabaseUnavailableError
            The registry does not answer, and does not fail either.
        """
        self._progressed = time.monotonic()
        threading.Thread(target=self._run, args=(poll_seconds,), name="following", daemon=True).start()
        while not self._has_looked.wait(LOOK_SECONDS) and is_wanted():
            if time.monotonic() - self._progressed > LONGEST_LOOK_SECONDS:
                raise DatabaseUnavailableError(f"the registry has not answered for {LONGEST_LOOK_SECONDS:g} s")

    def stop(self) -> None:
        """Stop following; what is loaded goes on answering."""
        self._stopping.set()
        self._loader.stop()

    def refresh(self) -> None:
        """Look at the aliases once and swap where a champion moved; what a model raises is that model's trouble."""
        with self._lock:
            for alias in self._champions():
                if self._stopping.is_set():
                    return
                try:
                    self._follow(alias)
                except Exception:
                    logger.exception("following a champion failed", extra={"model": alias.model})
                self._progressed = time.monotonic()
            self._deployments.has_looked = True

    def _run(self, poll_seconds: float) -> None:
        failure = None
        while True:
            try:
                self.refresh()
                failure = None
            except Exception as error:
                if failure != str(error):
                    logger.exception("looking for moved champions failed")
                failure = str(error)
            self._has_looked.set()
            if self._stopping.wait(poll_seconds):
                return

    def _champions(self) -> list[AliasRecord]:
        try:
            self._check()
            aliases = self._registry.aliases()
        except DatabaseUnavailableError as error:
            self._go_on_without(error)
            return []
        except EvergreenError as error:
            if self._deployments.registry_problem != str(error):
                logger.error("the registry cannot be used: %s", error)
            self._deployments.registry_problem = str(error)
            return []
        self._deployments.is_registry_up = True
        self._deployments.registry_problem = None
        return [alias for alias in aliases if alias.alias == CHAMPION and self._serves(alias.model)]

    def _serves(self, model: str) -> bool:
        return self._only is None or model in self._only

    def _go_on_without(self, error: DatabaseUnavailableError) -> None:
        if self._deployments.is_registry_up:
            logger.warning("the registry is out of reach, the loaded versions go on answering: %s", error)
        self._deployments.is_registry_up = False
        is_empty = not self._deployments.all()
        if is_empty or self._late:
            for last in read_last_champions(self._champions_folder):
                if self._serves(last.model) and (is_empty or last.model in self._late):
                    self._serve_last(last, None)

    def _follow(self, alias: AliasRecord) -> None:
        current = self._deployments.find(alias.model)
        if current is not None and current.version == alias.version:
            if current.is_degraded or current.move != alias.move:
                self._retries.pop(alias.model, None)
                self._take(replace(current, move=alias.move, is_degraded=False))
            return
        move, retry_at = self._retries.get(alias.model, (-1, 0.0))
        if move != alias.move or time.monotonic() >= retry_at:
            try:
                self._swap(alias)
            except DatabaseUnavailableError as error:
                self._go_on_without(error)
            except BaseException as error:  # noqa: BLE001 - its pickle and its golden rows may raise anything
                self._refuse(alias, error)

    def _swap(self, alias: AliasRecord) -> None:
        move, started = self._began.pop(alias.model, (-1, 0.0))
        if move != alias.move:
            started = time.perf_counter()
        deployment = self._loader.load(alias)
        if deployment is None:
            self._began[alias.model] = alias.move, started
            self._wait_for(alias)
            return
        before = self._deployments.find(alias.model)
        self._take(deployment)
        self._retries.pop(alias.model, None)
        write_last_champion(self._champions_folder, LastChampion(alias.model, alias.version, deployment.artifact.digest))
        seconds = time.perf_counter() - started
        self._metrics.swaps.labels(alias.model, "swapped").inc()
        self._metrics.swap_seconds.labels(alias.model).observe(seconds)
        was = before.version if before else "nothing"
        logger.info("%s answers now, before it %s (%.3f s)", alias.version, was, seconds, extra={"model": alias.model})

    def _wait_for(self, alias: AliasRecord) -> None:
        reason = f"champion {alias.version} is still being loaded"
        if self._logged.get(alias.model) != reason:
            self._logged[alias.model] = reason
            logger.warning("%s; the other models are followed meanwhile", reason, extra={"model": alias.model})
        if self._deployments.find(alias.model) is None:
            self._deployments.miss(alias.model, reason)

    def _take(self, deployment: Deployment) -> None:
        self._deployments.put(deployment)
        self._metrics.move.labels(deployment.model).set(deployment.move)
        self._metrics.expect_labels(deployment.model)
        if not deployment.is_degraded:
            self._logged.pop(deployment.model, None)

    def _refuse(self, alias: AliasRecord, error: BaseException) -> None:
        self._retries[alias.model] = (alias.move, time.monotonic() + RETRY_SECONDS)
        self._metrics.swaps.labels(alias.model, "refused").inc()
        if isinstance(error, ArtifactError):
            self._metrics.verification_failures.labels(type(error).__name__.removesuffix("Error")).inc()
        reason = f"champion {alias.version} was refused: {reason_of(error)}"
        if self._logged.get(alias.model) != reason:
            self._logged[alias.model] = reason
            logger.error("%s", reason, extra={"model": alias.model}, exc_info=None if isinstance(error, EvergreenError) else error)
        self._deployments.refuse(alias.model, reason, is_away=isinstance(error, MissingArtifactError))
        if self._deployments.find(alias.model) is None:
            for last in read_last_champions(self._champions_folder):
                if last.model == alias.model and last.version != alias.version:
                    self._serve_last(last, alias.move)

    def _serve_last(self, last: LastChampion, move: int | None) -> None:
        self._late.discard(last.model)
        try:
            deployment = self._loader.load_last(last, move)
            if deployment is None:
                self._late.add(last.model)
                self._deployments.miss(last.model, f"the noted champion {last.version} is still being loaded")
                return
            self._take(deployment)
            logger.warning("%s is served from the local note", last.version, extra={"model": last.model})
        except BaseException as error:  # noqa: BLE001 - as in `_follow`
            self._deployments.miss(last.model, f"the noted champion {last.version} was refused: {reason_of(error)}")
