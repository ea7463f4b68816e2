"""Which version of each model is loaded and answers; a moved champion is verified, loaded, tested, then swapped in.

The registry is the mailbox: every worker looks at the aliases and swaps in its own time. Routing (canary, A/B, shadow) will
stand between `Deployments.current` and the deployment it gives.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from service.batching import Lane
from service.deployment import Deployment, deploy
from service.errors import ModelNotReadyError, UnknownModelError
from service.metrics import DeploymentFacts, ServiceMetrics
from service.notes import ChampionNote, read_notes, write_note
from service.row_fields import MAX_LETTERS
from service.versions import VersionBook, VersionFacts, facts_of
from training.artifact import REFERENCE, SPEC, LoadedArtifact, load_cached, load_verified
from training.errors import ArtifactError, DatabaseUnavailableError, EvergreenError, RegistryError
from training.profile import Reference
from training.registry import Registry
from training.registry_tables import AliasRecord
from training.settings import Home
from training.spec import parse_spec
from training.verification import verify_into_cache

logger = logging.getLogger(__name__)

CHAMPION = "champion"
RETRY_SECONDS = 30.0
QUICK_SECONDS = 0.003
FEWEST_BYTES_A_ROW = 100


class Deployments:
    """Keeps one deployment a model and follows the champion alias.

    Parameters
    ----------
    only
        The models to serve; None for all that have a champion.
    clock
        Gives machine time.
    lane
        Where dear models predict, one call at a time: one a process.
    max_letters
        The longest text value of a row.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        home: Home,
        signing_key: bytes,
        metrics: ServiceMetrics,
        clock: Callable[[], datetime],
        only: tuple[str, ...] | None = None,
        lane: Lane | None = None,
        max_letters: int = MAX_LETTERS,
    ) -> None:
        self._max_letters = max_letters
        self.lane = lane or Lane()
        self._registry = registry
        self._home = home
        self._key = signing_key
        self._metrics = metrics
        self._clock = clock
        self._only = only
        self._current: dict[str, Deployment] = {}
        self._refused: dict[str, tuple[int, float]] = {}
        self._refusals: dict[str, str] = {}
        self._reasons: dict[str, str] = dict.fromkeys(only or (), "it has no champion yet")
        self._registry_is_up = True
        self._has_looked = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.book = VersionBook(self._find_facts)

    def current(self, model: str) -> Deployment:
        """Give the deployment that answers for a model.

        Raises
        ------
        UnknownModelError
            Nothing is known of such a model.
        ModelNotReadyError
            It has no champion that could be loaded; the message says why.
        """
        deployment = self._current.get(model)
        if deployment is not None:
            return deployment
        if model in self._reasons:
            raise ModelNotReadyError(f"model {model} is not ready: {self._reasons[model]}")
        if not self._has_looked:
            raise ModelNotReadyError("the service has not looked for models yet")
        raise UnknownModelError(f"there is no model {model!r} here")

    def is_quick(self, model: str | None, n_bytes: int) -> bool:
        """Whether a model (None: any of them) answers a body of this size so soon that it holds up nobody.

        A pipeline that is not compiled may do anything, also wait, so it never is.
        """
        deployments = self.all() if model is None else [self._current[model]] if model in self._current else []
        n_rows = 1 + n_bytes // FEWEST_BYTES_A_ROW
        return all(it.artifact.compiled is not None and not it.is_dear and it.seconds(n_rows) <= QUICK_SECONDS for it in deployments)

    def all(self) -> list[Deployment]:
        """List the deployments by model name."""
        return [self._current[name] for name in sorted(self._current)]

    def only_one(self) -> str | None:
        """Give the name of the model when there is but one, ready or not."""
        names = {*self._current, *self._reasons}
        return names.pop() if len(names) == 1 else None

    def why_not_ready(self) -> str | None:
        """Say why the service may not take traffic yet; None when every expected model answers."""
        missing = self.unready()
        if missing:
            return "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        if self._current:
            return None
        return "no model has a champion yet" if self._registry_is_up else "the registry is out of reach and no champion was noted here"

    def unready(self) -> dict[str, str]:
        """Say of each expected model that does not answer why not."""
        return {name: reason for name, reason in sorted(self._reasons.items()) if name not in self._current}

    def why_degraded(self) -> str | None:
        """Say which champions were refused while another version answers in their place; None when there is none."""
        refusals = sorted(self._refusals.items())
        return "; ".join(f"{name}: {reason}" for name, reason in refusals) or None

    def is_degraded(self) -> bool:
        """Whether the registry is out of reach, or some version is served from the local note or in a refused champion's place."""
        return not self._registry_is_up or any(deployment.is_degraded for deployment in self._current.values())

    def facts(self) -> list[DeploymentFacts]:
        """Give what a scrape says about the deployments."""
        return [
            DeploymentFacts(
                model=deployment.model,
                version=deployment.version,
                algorithm=deployment.artifact.manifest.algorithm,
                sklearn=str(deployment.artifact.manifest.libraries.get("scikit-learn", "")),
                loaded_seconds=deployment.loaded_at.timestamp(),
                trained_seconds=deployment.artifact.manifest.created.timestamp(),
                degraded=deployment.is_degraded,
            )
            for deployment in self.all()
        ]

    # ---- following the registry --------------------------------------------------------------------------------

    def start(self, poll_seconds: float) -> None:
        """Load what there is now, then follow the registry from a thread."""
        self.refresh()
        self._thread = threading.Thread(target=self._follow, args=(poll_seconds,), name="deployments", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following; what is loaded goes on answering."""
        self._stopping.set()

    def refresh(self) -> None:
        """Look at the aliases once and swap where a champion moved."""
        with self._lock:
            try:
                champions = [alias for alias in self._registry.aliases() if alias.alias == CHAMPION and self._serves(alias.model)]
                self._registry_is_up = True
            except DatabaseUnavailableError as error:
                self._note_outage(error)
                champions = []
            for alias in champions:
                self._follow_alias(alias)
            self._has_looked = True

    def _follow(self, poll_seconds: float) -> None:
        while not self._stopping.wait(poll_seconds):
            try:
                self.refresh()
            except Exception:
                logger.exception("looking for moved champions failed")

    def _serves(self, model: str) -> bool:
        return self._only is None or model in self._only

    def _note_outage(self, error: DatabaseUnavailableError) -> None:
        if self._registry_is_up:
            logger.warning("the registry is out of reach, the loaded versions go on answering: %s", error)
        self._registry_is_up = False
        if not self._current:
            for note in read_notes(self._home.champions):
                if self._serves(note.model):
                    self._load_noted(note)

    def _follow_alias(self, alias: AliasRecord) -> None:
        current = self._current.get(alias.model)
        if current is not None and (current.version, current.move) == (alias.version, alias.move) and not current.is_degraded:
            return
        if current is not None and current.version == alias.version:
            self._refused.pop(alias.model, None)
            self._refusals.pop(alias.model, None)
            self._current[alias.model] = replace(current, move=alias.move, is_degraded=False)
            return
        move, retry_at = self._refused.get(alias.model, (-1, 0.0))
        if move == alias.move and time.monotonic() < retry_at:
            return
        self._swap(alias)

    def _swap(self, alias: AliasRecord) -> None:
        started = time.perf_counter()
        try:
            record = self._registry.version(alias.model, alias.version)
            source = self._home.artifacts / record.path
            artifact = load_verified(source, self._home.cache, self._key, expected_digest=record.digest)
            deployment = self._tested(alias.model, alias.version, alias.move, artifact)
        except DatabaseUnavailableError as error:
            self._note_outage(error)
            return
        except EvergreenError as error:
            self._refuse(alias, error)
            return
        before = self._current.get(alias.model)
        self._take(deployment)
        write_note(self._home.champions, ChampionNote(alias.model, alias.version, artifact.digest))
        self._refused.pop(alias.model, None)
        self._refusals.pop(alias.model, None)
        seconds = time.perf_counter() - started
        self._metrics.swaps.labels(alias.model, "swapped").inc()
        self._metrics.swap_seconds.labels(alias.model).observe(seconds)
        was = before.version if before else "nothing"
        logger.info("%s answers now, before it %s (%.3f s)", alias.version, was, seconds, extra={"model": alias.model})

    def _tested(self, model: str, version: str, move: int, artifact: LoadedArtifact, *, is_degraded: bool = False) -> Deployment:
        deployment = deploy(
            artifact,
            model=model,
            version=version,
            move=move,
            loaded_at=self._clock(),
            lane=self.lane,
            max_letters=self._max_letters,
            is_degraded=is_degraded,
        )
        bound = deployment.spec.watching.clock_bound
        self.book.put(model, version, facts_of(artifact.manifest, artifact.reference, bound))
        return deployment

    def _take(self, deployment: Deployment) -> None:
        """Make a deployment the one that answers: one assignment, so every request sees the old one or the new one."""
        self._current[deployment.model] = deployment
        self._reasons.pop(deployment.model, None)

    def _refuse(self, alias: AliasRecord, error: EvergreenError) -> None:
        self._refused[alias.model] = (alias.move, time.monotonic() + RETRY_SECONDS)
        self._metrics.swaps.labels(alias.model, "refused").inc()
        if isinstance(error, ArtifactError):
            self._metrics.verification_failures.labels(type(error).__name__.removesuffix("Error")).inc()
        logger.error("champion %s refused: %s", alias.version, error, extra={"model": alias.model})
        reason = self._refusals[alias.model] = f"champion {alias.version} was refused: {error}"
        if alias.model in self._current:
            self._current[alias.model] = replace(self._current[alias.model], is_degraded=True)
        else:
            self._reasons[alias.model] = reason
            for note in read_notes(self._home.champions):
                if note.model == alias.model and note.version != alias.version:
                    self._load_noted(note)

    def _load_noted(self, note: ChampionNote) -> None:
        """Serve the champion that was verified here before, as degraded."""
        try:
            artifact = load_cached(self._home.cache / note.digest, self._key)
            self._take(self._tested(note.model, note.version, -1, artifact, is_degraded=True))
            logger.warning("%s is served from the local note", note.version, extra={"model": note.model})
        except EvergreenError as error:
            self._reasons[note.model] = f"the noted champion {note.version} was refused: {error}"

    def _find_facts(self, model: str, version: str) -> VersionFacts | None:
        try:
            record = self._registry.version(model, version)
            manifest, folder = verify_into_cache(self._home.artifacts / record.path, self._home.cache, self._key, record.digest)
        except (ArtifactError, RegistryError) as error:
            logger.error("nothing is known of version %s: %s", version, error, extra={"model": model})
            return None
        reference = Reference.from_json((folder / REFERENCE).read_bytes())
        return facts_of(manifest, reference, parse_spec((folder / SPEC).read_text()).watching.clock_bound)
