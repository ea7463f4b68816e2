"""The last verified champion of each model, noted locally for a start without the registry."""

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
class ChampionNote:
    """Which version answered here last, and the digest under which it lies in the cache."""

    model: str
    version: str
    digest: str


def write_note(folder: Path, note: ChampionNote) -> None:
    """Note a champion; a disk that refuses costs only the note."""
    target = folder / f"{note.model}.json"
    draft = folder / f".{note.model}.{secrets.token_hex(4)}"
    with suppress(OSError):
        draft.write_text(json.dumps(asdict(note)))
        os.replace(draft, target)


def read_notes(folder: Path) -> list[ChampionNote]:
    """Read all notes by model name; damaged ones are left out.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_note(folder, ChampionNote("bikes", "v1", "0" * 64))
    >>> [note.version for note in read_notes(folder)]
    ['v1']
    """
    notes = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            note = ChampionNote(**json.loads(path.read_text()))
            if note.model == path.stem and _DIGEST.fullmatch(note.digest):
                notes.append(note)
    return notes
