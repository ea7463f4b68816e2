"""What people see in a terminal: tables, progress, and the same as JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from training.own_code import output_to_stderr

Row = Mapping[str, Any]
NOTE_LETTERS = 24
SHORT_LETTERS = 32
PIPE_COLUMNS = 200


class Screen:
    """Show results: tables on a terminal, or one JSON document a command when `as_json`.

    Parameters
    ----------
    as_json
        Print JSON to standard output and nothing else there; notes go to standard error.
    stream
        Where results go; standard output by default.
    """

    def __init__(self, *, as_json: bool, stream: TextIO | None = None) -> None:
        self.as_json = as_json
        self.console = _console(stream or sys.stdout)
        self.notes = _console(sys.stderr if as_json else (stream or sys.stdout))

    def aside(self) -> AbstractContextManager[None]:
        """Let what a user's code prints go to standard error where a program reads standard output."""
        return output_to_stderr() if self.as_json else nullcontext()

    def rows(self, title: str, rows: Sequence[Row], columns: Sequence[str] | None = None, empty: str = "nothing yet") -> None:
        """Show a table of `rows`; `columns` chooses and orders what people see, JSON has everything."""
        if self.as_json:
            self._print_json(list(rows))
            return
        if not rows:
            self.console.print(f"{title}: {empty}", markup=False)
            return
        self.console.print(table(title, rows, columns or list(rows[0])))

    def facts(self, title: str, facts: Row, hidden: Sequence[str] = ()) -> None:
        """Show one thing: a name and a value a line; `hidden` keys are for JSON only."""
        if self.as_json:
            self._print_json(facts)
            return
        grid = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
        for name, value in facts.items():
            if name not in hidden:
                grid.add_row(f"[bold]{name}[/bold]", _cell(value))
        self.console.print(grid)

    def text(self, text: str, value: Any) -> None:
        """Show a text to people, `value` to programs."""
        if self.as_json:
            self._print_json(value)
        else:
            self.console.print(text, markup=False)

    def note(self, text: str) -> None:
        """Print something on the way that is no result."""
        self.notes.print(text, markup=False)

    def _print_json(self, value: Any) -> None:
        click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2, sort_keys=False), file=self.console.file)


class TrainingBar:
    """The progress of a training run as a bar a stage (see `training.progress.Progress`)."""

    def __init__(self, screen: Screen) -> None:
        self._console = screen.notes
        self._bar: Progress | None = None

    def start(self, stage: str, total: int | None = None) -> None:
        """Begin a stage of `total` steps (None: not known)."""
        self.done()
        look = (SpinnerColumn(), TextColumn("{task.description:<34}"), BarColumn(bar_width=12), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*look, TextColumn("{task.fields[note]}", markup=False), console=self._console)
        self._bar.start()
        self._bar.add_task(stage, total=total, note="")

    def advance(self, note: str = "") -> None:
        """Finish a step and say what it was."""
        if self._bar is not None:
            self._bar.update(TaskID(0), advance=1, note=note if len(note) <= NOTE_LETTERS else note[: NOTE_LETTERS - 1] + "…")

    def done(self) -> None:
        """Finish the stage and leave its bar standing."""
        if self._bar is not None:
            task = self._bar.tasks[0]
            whole = max(task.total or task.completed, 1)
            self._bar.update(TaskID(0), total=whole, completed=whole)
            self._bar.stop()
            self._bar = None


def table(title: str, rows: Sequence[Row], columns: Sequence[str]) -> Table:
    """Lay out `rows` as a rich table; numbers to the right."""
    result = Table(title=title or None, title_justify="left")
    for name in columns:
        numeric = all(isinstance(row.get(name), int | float) or row.get(name) is None for row in rows)
        short = all(len(_cell(row.get(name))) <= SHORT_LETTERS for row in rows)
        result.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold", no_wrap=short)
    for row in rows:
        result.add_row(*(_cell(row.get(name)) for name in columns))
    return result


def plain(value: Any) -> Any:
    """Turn values into what JSON knows: times as ISO 8601, durations in seconds, NaN as null.

    Examples
    --------
    >>> from datetime import UTC
    >>> plain({"at": datetime(2026, 1, 1, tzinfo=UTC), "score": float("nan"), "took": timedelta(minutes=1)})
    {'at': '2026-01-01T00:00:00+00:00', 'score': None, 'took': 60.0}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def _console(stream: TextIO) -> Console:
    """Make a console as wide as the terminal, or wide enough for a file."""
    return Console(file=stream, highlight=False, soft_wrap=True, width=None if stream.isatty() else PIPE_COLUMNS)


def _cell(value: Any) -> str:
    """Write a value for people, safe from rich's markup."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S") if value.second else value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return str(value).replace("[", "\\[")
