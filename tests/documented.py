"""What the pages show to be run: their fenced blocks, and the commands of Evergreen in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_ENDS = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "<", "(", ")"})


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page: the heading it stands under, its language (may be empty), its text."""

    section: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    headings = [(match.start(), match[1]) for match in _HEADING.finditer(text)]
    return [
        Block(max(((start, name) for start, name in headings if start < match.start()), default=(0, ""))[1], match[1], match[2])
        for match in _FENCE.finditer(text)
    ]


def commands(line: str) -> list[list[str]]:
    """Return the words of each command on a line of shell, without redirections and comments.

    Examples
    --------
    >>> commands("$ make run && evergreen train model.yaml > log   # the first version")
    [['make', 'run'], ['evergreen', 'train', 'model.yaml']]
    """
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parted: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if word in _ENDS:
            redirected = word in {">", ">>", "<"}
            parted.append([]) if not redirected else None
        elif redirected:
            redirected = False
        else:
            parted[-1].append(word)
    return [words for words in parted if words]


def ours(words: list[str]) -> tuple[str, list[str]] | None:
    """Return what a command runs of Evergreen, as a module and its arguments; in a container, too; None when it is another program.

    Examples
    --------
    >>> ours(["docker", "run", "-v", "home:/home", "evergreen:0.1.0", "monitoring.cli", "status"])
    ('monitoring.cli', ['status'])
    >>> ours([".venv/bin/evergreen", "up"]), ours(["python", "-m", "training", "model.yaml"]), ours(["curl", "evergreen"])
    (('monitoring.cli', ['up']), ('training', ['model.yaml']), None)
    """
    if words[0].rpartition("/")[2] == "evergreen":
        return "monitoring.cli", words[1:]
    for at, (before, word) in enumerate(pairwise(words), start=1):
        if word in {"service", "monitoring", "monitoring.cli", "training"} and (before == "-m" or before.startswith("evergreen:")):
            return word, words[at + 1 :]
    return None
