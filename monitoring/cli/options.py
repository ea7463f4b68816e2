"""What verbs share: the workbench, the screen, and the options `--json` and `--model`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from monitoring.admin.terminal import Screen
from monitoring.errors import InputError

Command = Callable[..., Any]


class InputFile(click.ParamType):
    """A file that is read: one that is not there, or cannot be read, is one sentence with its name."""

    name = "file"

    def convert(self, value: str | Path, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        """Return the path; raises InputError when there is nothing to read at it."""
        path = Path(value)
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise InputError(f"there is no file {path}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder; a file is wanted")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path} may not be read: Permission denied")
        return path


class InputTable(InputFile):
    """A file that is read, or a pattern or a folder for all files of one table."""

    name = "table"

    def convert(self, value: str | Path, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        """Return the path; whether files match a pattern, and what is in a folder, is told by who reads it."""
        path = Path(value)
        return path if path.is_dir() or (has_magic(str(path)) and not path.exists()) else super().convert(value, parameter, context)


def one_table(paths: Sequence[Path]) -> Path:
    """Return a table, or the pattern that just these files match, as a shell makes them of a pattern that is not quoted.

    Raises
    ------
    InputError
        No pattern matches them and nothing else.
    """
    from training.dataset.locations import parts_of  # what only this verb needs

    if len({*paths}) == 1:
        return paths[0]
    names = [path.name for path in paths]
    first, last = _common_beginning(names), _common_beginning([name[::-1] for name in names])[::-1]
    folder = paths[0].parent
    for pattern in (folder / f"*{''.join(paths[0].suffixes)}", folder / f"{first}*{last}"):
        if not has_magic(f"{folder}{first}{last}") and all(path.is_file() for path in paths) and {*parts_of(pattern)} == {*paths}:
            return pattern
    listed = ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
    raise InputError(
        f"{len(names)} tables, {listed}, and no pattern that they alone match: name one in quotes, such as 'parts/*.csv', or their folder"
    )


def _common_beginning(texts: Sequence[str]) -> str:
    columns = zip(*texts, strict=False)
    return "".join(letters[0] for letters in takewhile(lambda letters: len({*letters}) == 1, columns))


INPUT_FILE = InputFile()
INPUT_TABLE = InputTable()


def screen_option(command: Command) -> Command:
    """Add `--json` and hand the verb a `screen`."""

    def make(context: click.Context, parameter: click.Parameter, as_json: bool) -> Screen:
        return Screen(as_json=as_json)

    return click.option("--json", "screen", is_flag=True, callback=make, help="Print JSON for programs.")(command)


def model_option(command: Command) -> Command:
    """Add `--model`, which may be left out while there is only one."""
    return click.option("--model", "-m", metavar="NAME", help="Which model; not needed while there is one.")(command)


def why_option(command: Command) -> Command:
    """Add `--why`, which goes into the ledger."""
    return click.option("--why", default="by hand", show_default=True, help="The reason, for the ledger.")(command)


def wait_option(seconds: float) -> Callable[[Command], Command]:
    """Add `--wait`: how long to wait for the monitor."""
    return click.option("--wait", metavar="SECONDS", default=seconds, show_default=True, help="How long to wait for the answer.")
