"""The keys that were good last, kept for workers that start while the key file is damaged or gone."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from service.errors import SettingsError
from service.web.api_keys import Key, load_keys

logger = logging.getLogger(__name__)

KEPT = "last_keys.json"


def load_or_last(path: Path | None, folder: Path | None) -> list[Key] | None:
    """Read the key file and keep what it says; while it cannot be read, what it said last stays in force.

    Parameters
    ----------
    path
        The key file; None when there is none.
    folder
        Private to the workers of one master, and emptied when that starts: keys of an earlier run are never in it. None
        outside of gunicorn, where nothing is kept.

    Returns
    -------
    None where there are no keys. A file that goes away takes no keys along: else its loss would let everybody in.

    Raises
    ------
    SettingsError
        The file cannot be used, and no worker of this master has ever read a good one.
    """
    try:
        keys = None if path is None else load_keys(path)
    except SettingsError as error:
        last = _kept(folder)
        if last is None:
            raise
        logger.error("%s; the keys that were good last stay in force", error)
        return last
    if keys is None:
        last = _kept(folder)
        if last is not None:
            logger.error("the key file is gone; the keys that were good last stay in force")
        return last
    keep_keys(keys, folder)
    return keys


def keep_keys(keys: Sequence[Key], folder: Path | None) -> None:
    """Keep the keys of a good file, as hashes like there; a disk that refuses costs only what is kept.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> keep_keys([Key("ci", "0" * 64, frozenset({"read"}), frozenset({"*"}))], folder)
    >>> [key.id for key in load_or_last(None, folder)]
    ['ci']
    """
    if folder is None:
        return
    content = {
        "keys": [
            {"id": key.id, "sha256": key.sha256, "scopes": sorted(key.scopes), "models": sorted(key.models)}
            | ({} if key.rate is None else {"rate": key.rate.per_second, "burst": key.rate.burst})
            for key in keys
        ]
    }
    draft = folder / f".{KEPT}.{secrets.token_hex(4)}"
    with suppress(OSError):
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
        draft.replace(folder / KEPT)


def forget_keys(folder: Path) -> None:
    """Remove what an earlier run kept."""
    (folder / KEPT).unlink(missing_ok=True)


def _kept(folder: Path | None) -> list[Key] | None:
    path = None if folder is None else folder / KEPT
    return None if path is None or not path.exists() else load_keys(path)
