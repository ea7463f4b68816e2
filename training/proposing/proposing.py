"""A table becomes the text of a model file that `train` accepts, commented for the person who will correct it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from training.dataset.csv_files import refuse_other_delimiter
from training.dataset.report import LEAST_ROWS
from training.errors import DataError, DataProblem
from training.model_file.model_spec import parse_spec
from training.progress import Progress, Silent
from training.proposing.facts import Facts, Signs
from training.proposing.features import Proposal, propose_feature, remark_on_alike
from training.proposing.layout import layout_keys, layout_of
from training.proposing.number_signs import choose_signs
from training.proposing.scanning import UNSUSPECTED, look, scan
from training.proposing.target import propose_target
from training.proposing.time import Time, offer_times, propose_time
from training.proposing.writing import Reading, Writing, remark_on_sent

_MOST_NAMES = 8


class Proposed(NamedTuple):
    """A model file, and what to say of it.

    Attributes
    ----------
    notes
        In sentences, what was seen that a person should know.
    choices
        Where two readings of the table remain, the lines of which one is to be pasted; until then `train` refuses the file.
    """

    text: str
    notes: tuple[str, ...]
    choices: tuple[str, ...]


def propose(
    table: Path | str,
    target: str,
    time: str | None = None,
    *,
    only: Sequence[str] | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Proposed:
    """Return a commented model file for a table.

    Parameters
    ----------
    table
        CSV, JSON lines, Excel or Parquet; a pattern such as ``parts/*.csv``, or a folder, for all files of a table.
    target, time
        The column to predict, and the one that orders the rows (None: any order, and arrival time when serving).
    only
        The columns that are features; None for all that can be.
    folder
        Where the file will lie, to name the table from there; None for the working directory.

    Raises
    ------
    DataError
        The file cannot be read, has no rows or no such column, or a target or time that nothing can be trained with.
    """
    path = Path(table)
    wanted = [column for column in (target, time, *(only or ())) if column is not None]
    reading = _read(path, wanted, progress or Silent())
    facts = reading.seen.facts
    refuse_other_delimiter(path, list(facts), reading.layout.files, wanted)
    _refuse_other_shape(reading, path)
    _refuse_absent(wanted, reading, path)
    goal = propose_target(facts[target], reading.signs)
    when = propose_time(facts[time], reading.signs) if time is not None else offer_times(facts, _others(facts, target), reading.signs)
    if problems := [*goal.problems, *when.problems]:
        raise DataError(problems, str(path))
    looked_at = [
        _time_column(facts[name], reading.signs, when)
        if name == time
        else propose_feature(facts[name], reading.signs, is_wanted=bool(only))
        for name in only or _others(facts, target)
    ]
    columns = [column for column in looked_at if column is not None]
    remarks = remark_on_sent(columns, facts, reading.signs) if reading.layout.is_typed else []
    remarks += [f"{column.name}: {alike}" for column in columns for alike in remark_on_alike(column, facts[column.name])]
    remarks += [f"{target}: {remark}" for remark in (*goal.alike, *([goal.few] if goal.few else []))]
    n_labelled = facts[target].n_rows - facts[target].n_empty
    if n_labelled < LEAST_ROWS:
        remarks.append(f"{n_labelled} labelled rows are too few to learn from; {LEAST_ROWS} are the least")
    _refuse_nothing_left(columns, target, path)
    choices = (*reading.layout.choices, *reading.choices, *when.choices, *(line for column in columns for line in column.choices))
    writing = Writing(path, folder or Path(), reading, (target, time), goal, when, columns)
    seen = UNSUSPECTED if choices else look(reading.seen, parse_spec(writing.text(UNSUSPECTED)), str(path))
    return Proposed(writing.text(seen), (*writing.notes(seen), *remarks), choices)


def _read(path: Path, wanted: Iterable[str], progress: Progress) -> Reading:
    layout = layout_of(path, wanted)
    seen = scan(path, layout.files, progress)
    chosen = choose_signs(list(seen.facts.values()), layout_keys(layout.files))
    files = replace(layout.files, decimal=chosen.signs.decimal, thousands=chosen.signs.thousands)
    return Reading(layout._replace(files=files), chosen.signs, chosen.choices, seen)


def _others(facts: Iterable[str], target: str) -> list[str]:
    return [name for name in facts if name != target]


def _refuse_other_shape(reading: Reading, path: Path) -> None:
    """Raise DataError for one object in which the table stands, as by its columns or under ``data``."""
    nested = [name for name, facts in reading.seen.facts.items() if facts.other is not None]
    if reading.seen.n_rows == 1 and nested and reading.layout.is_typed:
        wanted = "one object for each row (as pandas writes them by to_json(orient='records', lines=True))"
        raise DataError([DataProblem(0, nested[0], "the only row, which holds lists or objects", wanted)], str(path))


def _refuse_absent(wanted: Iterable[str], reading: Reading, path: Path) -> None:
    names, problems = list(reading.seen.facts), []
    first = reading.seen.sample.iloc[0].tolist() if reading.seen.n_rows else []
    for name in wanted:
        if name in names:
            continue
        folded = {known.casefold().strip(): known for known in reversed(names)}
        near = get_close_matches(name.casefold().strip(), folded, n=1)
        listed = ", ".join(names[:_MOST_NAMES]) + (f", ... ({len(names)} columns)" if len(names) > _MOST_NAMES else "")
        problems.append(
            DataProblem(
                None,
                name,
                "no such column",
                f"one of {listed}"
                + (f"; did you mean {folded[near[0]]!r}?" if near else "")
                + ("; the first row has it: is there a title above the names?" if name in first else ""),
            )
        )
    if problems:
        raise DataError(problems, str(path))


def _refuse_nothing_left(columns: Sequence[Proposal], target: str, path: Path) -> None:
    if not any(column.keys for column in columns):
        reasons = "; ".join(f"{column.name}: {column.remarks[0]}" for column in columns[:_MOST_NAMES]) or "there is no other column"
        raise DataError([DataProblem(None, target, f"nothing to predict it from ({reasons})", "a column that can be a feature")], str(path))


def _time_column(facts: Facts, signs: Signs, when: Time) -> Proposal | None:
    """Return the time as a feature as well, where it can be one."""
    if not when.is_feature:
        return None
    proposal = propose_feature(facts, signs, is_time=True, is_wanted=True)
    if proposal.kind == "datetime" and proposal.keys is not None:
        proposal.keys["derive"] = proposal.keys["derive"].replace(", month", "")
        return proposal
    return None if proposal.keys else proposal
