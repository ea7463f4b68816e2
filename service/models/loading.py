"""From a version in the registry to a deployment: verified, loaded, tested on its golden rows."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from weakref import WeakValueDictionary

from service.models.batching import Batcher
from service.models.last_champion import LastChampion
from service.models.load_attempts import LoadAttempts
from service.models.served_model import Deployment, deploy
from service.models.trial import Tried, try_in_child
from service.models.watched_loads import PATIENCE, Attempt, Patience, WatchedLoads
from service.recording.version_facts import VersionCache, VersionFacts, facts_of
from training.artifacts.artifact import LoadedArtifact, load_cached, load_verified
from training.artifacts.draft import REFERENCE, SPEC
from training.artifacts.verification import verify_fitted, verify_version
from training.errors import DatabaseUnavailableError, MissingArtifactError, RegistryError
from training.model_file.keys import NAME
from training.model_file.model_spec import parse_spec
from training.profiles.reference import Reference
from training.registry.reach import is_of_another_key
from training.registry.registry import Registry
from training.registry.tables import AliasRecord
from training.schema.feature import MAX_LETTERS
from training.settings import Home

logger = logging.getLogger(__name__)


class VersionLoader:
    """Loads versions for one process; what answers in several of them, as members, is loaded once for all that are in use.

    Parameters
    ----------
    clock
        Returns machine time.
    batcher
        Where expensive models predict, one call at a time: one a process.
    max_letters
        The longest text value of a row.
    patience
        How long a version that is loaded is waited for.

    Attributes
    ----------
    versions
        How rows of each version are counted, also of versions that were never loaded here.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        home: Home,
        signing_key: bytes,
        clock: Callable[[], datetime],
        batcher: Batcher | None = None,
        max_letters: int = MAX_LETTERS,
        patience: Patience = PATIENCE,
    ) -> None:
        self._registry = registry
        self._home = home
        self._key = signing_key
        self._clock = clock
        self._patience = patience
        self._batcher = batcher or Batcher()
        self._max_letters = max_letters
        self._attempts = LoadAttempts(home.loading)
        self._loads = WatchedLoads(patience, self._note_hang)
        self._lock = threading.Lock()
        self._loaded: WeakValueDictionary[str, LoadedArtifact] = WeakValueDictionary()
        self.versions = VersionCache(self._find_facts)

    def load(self, alias: AliasRecord) -> Deployment | None:
        """Load the version an alias names; None while that goes on, and then it is to be asked for again.

        Raises
        ------
        DatabaseUnavailableError
            The registry is out of reach.
        EvergreenError
            The version may not be trusted, does not answer as it did when it was made, hangs, or workers died on it.
        BaseException
            Whatever its pickle or its golden rows raise.
        """
        if not re.fullmatch(NAME, alias.model):
            raise RegistryError("no request can name this model: wanted letters a to z, digits, '.', '_' and '-', at most 64")
        record = self._registry.version(alias.model, alias.version)
        if not (self._home.artifacts / record.path).exists():
            raise MissingArtifactError(
                f"the registry names it, and it is not in this home: {self._home.artifacts / record.path} is missing; "
                "is this the home that the monitor works in?"
            )
        if is_of_another_key(self._key, self._home, self._registry, record):
            raise MissingArtifactError(
                f"the registry names it, and it was signed with another key than {self._home.signing_key}: "
                "is this the home that the monitor works in?"
            )

        def try_apart() -> str | None:
            _, copy = verify_version(self._home.artifacts / record.path, self._home.cache, self._key, record.digest)
            return self._try_in_child(Tried(alias.model, alias.version, copy.name))

        def load() -> Deployment:
            """Verify the champion, load it, and say how it went."""
            with self._attempts.noted(alias.model, alias.version, alias.move, try_apart):
                artifact = load_verified(
                    self._home.artifacts / record.path,
                    self._home.cache,
                    self._key,
                    expected_digest=record.digest,
                    known=self._known(),
                )
                return self._tested(alias.model, alias.version, alias.move, artifact)

        return self._loads.ask(Attempt(alias.model, alias.version, alias.move), load)

    def load_last(self, last: LastChampion, move: int | None = None) -> Deployment | None:
        """Load the champion that was verified here before, from the cache and without the registry; it is degraded.

        None while that goes on.

        Parameters
        ----------
        move
            The last move of the model's alias, where it is known.

        Raises
        ------
        BaseException
            As for `load`.
        """

        def try_apart() -> str | None:
            return self._try_in_child(Tried(last.model, last.version, last.digest))

        def load() -> Deployment:
            """Verify the champion, load it, and say how it went."""
            with self._attempts.noted(last.model, last.version, move, try_apart):
                artifact = load_cached(self._home.cache / last.digest, self._key, known=self._known())
                return replace(self._tested(last.model, last.version, -1, artifact), is_degraded=True)

        return self._loads.ask(Attempt(last.model, last.version, None), load)

    def stop(self) -> None:
        """Let this process leave in peace, whatever it is loading."""
        self._attempts.forget_process(os.getpid())

    def _try_in_child(self, version: Tried) -> str | None:
        [reason] = try_in_child(self._home, [version], timeout_seconds=self._patience.longest_seconds)
        if reason is None:
            logger.warning(
                "%s, on which workers died, was loaded well by a process of its own", version.version, extra={"model": version.model}
            )
        return reason

    def _note_hang(self, attempt: Attempt) -> None:
        self._attempts.note_death(os.getpid(), attempt.model)

    def _tested(self, model: str, version: str, move: int, artifact: LoadedArtifact) -> Deployment:
        deployment = deploy(
            artifact,
            model=model,
            version=version,
            move=move,
            loaded_at=self._clock(),
            batcher=self._batcher,
            max_letters=self._max_letters,
        )
        with self._lock:
            self._loaded.update({each.digest: each for each in artifact.members or (artifact,)})
        self.versions.put(model, version, facts_of(artifact.manifest, artifact.reference, deployment.spec))
        return deployment

    def _known(self) -> dict[str, LoadedArtifact]:
        """Return by digest what is loaded here and in use."""
        with self._lock:
            return dict(self._loaded.items())

    def _find_facts(self, model: str, version: str) -> VersionFacts | None:
        try:
            record = self._registry.version(model, version)
            path = self._home.artifacts / record.path
            manifest, folder, fitted = verify_fitted(path, self._home.cache, self._key, record.digest)
            reference = Reference.from_json((fitted / REFERENCE).read_bytes())
            return facts_of(manifest, reference, parse_spec((folder / SPEC).read_text(), stored=True))
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - rows of one version that cannot be counted hold up nobody's way to the log
            logger.error("nothing is known of version %s: %s", version, error, extra={"model": model})
            return None
