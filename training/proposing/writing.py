"""The text of a model file, put together of what is proposed, and what is told about it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from training.evaluation.losses import DEFAULT_METRIC, METRICS
from training.model_file.bounds import MOST_LETTERS
from training.proposing.facts import PLAIN_SIGNS, Facts, Signs
from training.proposing.features import Proposal
from training.proposing.layout import Layout, layout_keys
from training.proposing.number_signs import read_keys
from training.proposing.scanning import Scan, Suspicions
from training.proposing.target import Target
from training.proposing.time import Time
from training.proposing.yaml_text import flow, scalar
from training.schema.spellings import DELIMITERS

_MOST_NAMES = 8
_COMMENT_AT = 32
_NUMBERS = ("numeric", "integer")
_POLICIES = """
labels:
  delay: 1d            # how long after a prediction its label is known: a duration, or '168 rows'
segments: []            # categorical features by whose values performance is reported apart
training:{split}
  budget: all            # the whole search; '12 fits' is shorter, 1m may choose otherwise on a slower machine
  window: all            # learn from the last 180d only, say
  members: 6            # so many models answer together, at most: at first one more every second look; 1: a better one replaces it
watching:
  every: 7d            # look this often, in the time of the data
  window: 14d            # at the rows of this span
retraining:
  act: auto            # notify: decide and tell, but change nothing
  on_performance: true            # retrain when live scores are worse than at training
"""


class Reading(NamedTuple):
    """How the table is read, and all that was seen of it."""

    layout: Layout
    signs: Signs
    choices: tuple[str, ...]
    seen: Scan


class Writing:
    """The parts of a model file, put together."""

    def __init__(
        self,
        path: Path,
        folder: Path,
        reading: Reading,
        names: tuple[str, str | None],
        goal: Target,
        when: Time,
        columns: Sequence[Proposal],
    ) -> None:
        self._path, self._folder, self._reading, self._names = path, folder, reading, names
        self._goal, self._when, self._columns = goal, when, columns

    def text(self, seen: Suspicions) -> str:
        """Return the file; without comments on columns where there are too many for a model file."""
        whole = self._text(seen, with_comments=True)
        return whole if len(whole) <= MOST_LETTERS else self._text(seen, with_comments=False)

    def _text(self, seen: Suspicions, *, with_comments: bool) -> str:
        features = [line for column in self._columns if (line := _feature(column, seen, with_comments=with_comments))]
        lines = [*self._head(), "schema:", *self._goal.lines(self._names[0]), *self._time()]
        lines += ["  extra: ignore            # error: refuse requests with columns not listed here", "  features:", *features]
        return "\n".join(lines) + "\n" + _POLICIES.replace("{split}", self._split(seen))

    def _head(self) -> list[str]:
        name = next(filter(None, map(_name, (self._path.absolute(), self._path.absolute().parent))), "model")
        others = ", ".join(name for name, metric in METRICS.items() if self._goal.task in metric.tasks)
        data = os.path.relpath(self._path, self._folder) if not self._path.is_absolute() else str(self._path)
        return [
            f"# Proposed from all {self._reading.seen.n_rows:,} rows: read it, correct what is wrong, then `evergreen train` it.",
            f"model: {scalar(name)}",
            f"data: {scalar(Path(data).as_posix())}",
            *self._read(),
            f"metric: {DEFAULT_METRIC[self._goal.task]}            # models are chosen and judged by it; there are {others}",
            "",
        ]

    def _read(self) -> list[str]:
        keys = self._read_keys()
        choices = (*self._reading.layout.choices, *self._reading.choices)
        if choices:
            keys |= {"encoding": "choose"} if self._reading.layout.choices else {}
            keys |= {"decimal": "choose"} if self._reading.choices else {}
            return [
                "# Two readings fit all cells: take over what one of these lines says.",
                *(f"#   {line}" for line in choices),
                f"read: {flow(keys)}",
            ]
        return [f"read: {flow(keys)}            # how the text of files is written"] if keys else []

    def _read_keys(self) -> dict[str, str]:
        keys = layout_keys(self._reading.layout.files)
        return keys if self._reading.choices else keys | read_keys(self._reading.signs)

    def _time(self) -> list[str]:
        when = self._when
        if when.choices:
            return [
                "  # Two readings fit all cells: put one of these lines in the place of the last.",
                *(f"  # {line.strip()}" for line in when.choices),
                when.line or "",
            ]
        if when.line is not None:
            return [when.line]
        if not when.offers:
            return ["  # time: {column: ...}            # none named: rows have no order, and a request counts when it comes"]
        return [
            f"  # {line}            # {'or this' if place else 'if this is when a row was; then delete split: random below'}"
            for place, line in enumerate(when.offers)
        ]

    def _split(self, seen: Suspicions) -> str:
        if self._names[1] is not None:
            return ""
        order = f" (in the file they are sorted by {self._names[0]})" if seen.is_sorted else ""
        return f"\n  split: random            # rows have no time: figures are of rows drawn at random{order}; delete this line with a time"

    def notes(self, seen: Suspicions) -> tuple[str, ...]:
        """Return what to tell the person who asked."""
        files, out = self._reading.layout.files, []
        if (keys := self._read_keys()) and not self._reading.layout.choices:
            words = {
                "delimiter": DELIMITERS.get(files.delimiter, files.delimiter),
                "decimal": "decimal commas",
                "thousands": f"{scalar(files.thousands)} between thousands",
                "encoding": f"encoding {files.encoding}" + (f" (as in {sample})" if (sample := self._reading.layout.sample) else ""),
            }
            read = ", ".join(words.get(key, f"{key} {value}") for key, value in keys.items())
            out.append(f"the table is read with {read}; requests are always comma, point and UTF-8")
        dropped = [column.name for column in self._columns if column.keys is None]
        if dropped:
            out.append(
                f"left out, with the reason in the file: {', '.join(dropped[:_MOST_NAMES])}"
                + (", ..." if len(dropped) > _MOST_NAMES else "")
            )
        out += [
            f"{name} predicts {self._names[0]} alone ({score:.3f}): is it known before the outcome?" for name, score in seen.leaks.items()
        ]
        if seen.is_sorted:
            out.append(f"the rows are sorted by {self._names[0]}")
        if self._names[1] is None and self._when.offers:
            out.append(f"no --time was given; it may be: {self._when.offers[0]}")
        if self._reading.seen.step > 1:
            out.append(f"leaks and order were looked for in {len(self._reading.seen.sample):,} of {self._reading.seen.n_rows:,} rows")
        return tuple(out)


def remark_on_sent(columns: Iterable[Proposal], facts: Mapping[str, Facts], signs: Signs) -> list[str]:
    """Add to the columns of a typed table what JSON requests send for them, and return that in sentences.

    The cells of a CSV are all text, and CSV requests are read as they are: there is nothing to say of them.
    """
    as_numbers, as_booleans, as_texts = [], [], []
    for column in columns:
        seen = facts[column.name]
        if column.kind in _NUMBERS and seen.is_text:
            column.remarks.append("written as text; JSON requests send numbers")
            as_numbers.append(column.name)
        elif column.kind == "boolean" and seen.is_text:
            column.remarks.append("written as text; JSON requests send true or false")
            as_booleans.append(column.name)
        elif column.kind == "categorical" and (seen.n_numbers or seen.is_boolean):
            column.remarks.append("some look like numbers; JSON requests send text")
            as_texts.append(column.name)
    as_in_file = "requests in JSON {}, those in CSV, Arrow and Parquet may send what the file has"
    return [
        *_sentence(as_numbers, "numbers written as text", (as_in_file if signs == PLAIN_SIGNS else "requests {}").format("send numbers")),
        *_sentence(as_booleans, "true and false written as text", as_in_file.format("send true or false")),
        *_sentence(as_texts, "categories that look like numbers", as_in_file.format("send text")),
    ]


def _sentence(names: list[str], what: str, sent: str) -> list[str]:
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    return [f"{what}: {shown}; {sent}"] if names else []


def _name(path: Path) -> str:
    """Return the name of a model after its file, the common beginning of its files, or their folder; empty where that has no letters."""
    beginning = re.split(r"[.*?\[]", path.name.lower())[0]
    return re.sub(r"[^a-z0-9._-]", "-", beginning).strip("._-")[:64]


def _feature(column: Proposal, seen: Suspicions, *, with_comments: bool) -> str:
    name = scalar(column.name)
    if column.keys is None:
        return f"    # {name} is left out: {column.remarks[0]}" if with_comments else ""
    remarks = list(column.remarks)
    if column.name in seen.leaks:
        remarks.insert(0, f"predicts the target alone ({seen.leaks[column.name]:.3f}): is it known before the outcome?")
    keys = column.keys["kind"] if len(column.keys) == 1 else flow(column.keys)
    if column.name in seen.moving:
        remarks.append(seen.moving[column.name])
    line = f"    {name}: {keys}"
    line = f"{line:<{_COMMENT_AT}}   # {'; '.join(remarks)}" if remarks and with_comments else line
    if not column.choices:
        return line
    return "\n".join(
        [
            "    # Two readings fit all cells: put one of these lines in the place of the last.",
            *(f"    # {c}" for c in column.choices),
            line,
        ]
    )
