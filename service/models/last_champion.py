"""The last verified champion of each model, kept in a file for a start without the registry."""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LastChampion:
    """Which version answered here last, and the digest under which it lies in the cache."""

    model: str
    version: str
    digest: str


def write_last_champion(folder: Path, champion: LastChampion) -> None:
    """Write the file of a champion; a disk that refuses costs only the file."""
    target = folder / f"{champion.model}.json"
    draft = folder / f".{champion.model}.{secrets.token_hex(4)}"
    with suppress(OSError):
        draft.write_text(json.dumps(asdict(champion)))
        os.replace(draft, target)


def read_last_champions(folder: Path) -> list[LastChampion]:
    """Read all files by model name; damaged ones are left out.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_last_champion(folder, LastChampion("bikes", "v1", "0" * 64))
    >>> [champion.version for champion in read_last_champions(folder)]
    ['v1']
    """
    champions = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            champion = LastChampion(**json.loads(path.read_text()))
            if champion.model == path.stem and _DIGEST.fullmatch(champion.digest):
                champions.append(champion)
    return champions
