"""The key file, followed like an alias: a key that is taken out of it is refused within two seconds, by every worker."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from service.errors import SettingsError
from service.web.api_keys import ApiKeys, Key, keys_in, rate_counts
from service.web.last_keys import keep_keys

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class KeyFile:
    """Keeps the keys of a worker at what the file says.

    A file that is half-written, wrong or gone changes nothing: the last good keys stay, and one log line says so. Taking the file
    away does not open the service; that takes a restart. A file that appears gives keys to a service that ran without.

    Parameters
    ----------
    folder
        Where the requests of keys with a rate are counted together with the other workers, and the last good keys are kept for
        those that start later.
    """

    def __init__(self, path: Path, keys: list[Key] | None, folder: Path) -> None:
        self.api_keys = ApiKeys(keys, rate_counts(keys, folder))
        self._path = path
        self._folder = folder
        self._keys = keys
        self._seen: bytes | None = None
        self._is_refused = False
        self._stopping = threading.Event()

    def start(self) -> None:
        """Follow the file from a thread."""
        threading.Thread(target=self._run, name="keys", daemon=True).start()

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()

    def look(self) -> None:
        """Look at the file once, and take what it says if it is new and good."""
        try:
            content = self._path.read_bytes()
            if content != self._seen:
                self._take(keys_in(content, self._path.name))
                self._seen, self._is_refused = content, False
        except FileNotFoundError:
            if self._keys is not None:
                self._refuse("it is gone")
        except OSError as error:
            self._refuse(f"it cannot be read ({error.strerror})")
        except SettingsError as error:
            self._refuse(str(error))

    def _take(self, keys: list[Key]) -> None:
        if keys == self._keys:
            return
        keep_keys(keys, self._folder)
        self.api_keys.replace(keys, rate_counts(keys, self._folder))
        before, now = {key.id for key in self._keys or ()}, {key.id for key in keys}
        self._keys = keys
        logger.info("the key file changed: %d keys, new %s, gone %s", len(keys), sorted(now - before), sorted(before - now))

    def _refuse(self, reason: str) -> None:
        if not self._is_refused:
            logger.error("the key file %s is not followed, what held before it stays: %s", self._path.name, reason)
        self._is_refused = True

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                logger.exception("looking at the key file failed")
