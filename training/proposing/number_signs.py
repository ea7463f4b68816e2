"""The one way in which the numbers of a file are written, agreed on by all columns; or the ways of which a person must choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from training.proposing.facts import PLAIN_SIGNS, SIGNS, Facts, Signs
from training.proposing.yaml_text import flow, scalar

_COMMON_WITH_DECIMAL_COMMAS = scalar(";")


class Chosen(NamedTuple):
    """The signs, and where another reading fits all cells as well the lines of which a person chooses one."""

    signs: Signs
    choices: tuple[str, ...] = ()


def choose_signs(columns: Sequence[Facts], layout: Mapping[str, str]) -> Chosen:
    """Return how the numbers of some text columns are written.

    A point before decimals is what most files have: where nothing speaks against it, a file whose cells are not parted by semicolons is
    read so. In one with semicolons a cell that can be read in one way only tells it for all: a file has one sign.

    Parameters
    ----------
    layout
        The other keys of ``read:``.
    """
    numeric = [facts for facts in columns if facts.is_text and facts.numbers and facts.levels.counts and not facts.has_leading_zeros]
    if not numeric:
        return Chosen(PLAIN_SIGNS)
    fitting = {signs: sum(signs in facts.numbers for facts in numeric) for signs in SIGNS}
    most = max(fitting.values())
    best = [signs for signs in SIGNS if fitting[signs] == most]
    readings: dict[tuple[object, ...], Signs] = {}
    for signs in best:
        values = tuple(facts.numbers[signs].values if signs in facts.numbers else None for facts in numeric)
        readings.setdefault(values, signs)
    remaining = list(readings.values())
    certain = _decimal_signs(columns)
    if layout.get("delimiter") == _COMMON_WITH_DECIMAL_COMMAS:
        remaining = [signs for signs in remaining if signs.decimal in certain] or remaining
    elif remaining[0] == PLAIN_SIGNS and certain != {","}:
        return Chosen(PLAIN_SIGNS)
    if len(remaining) == 1:
        return Chosen(remaining[0])
    sample = next((facts for facts in numeric if len({facts.numbers[s].values for s in remaining if s in facts.numbers}) > 1), numeric[0])
    return Chosen(remaining[0], tuple(f"{_line(signs, layout)}   # {sample.name} has {scalar(sample.sample_group)}" for signs in remaining))


def _decimal_signs(columns: Sequence[Facts]) -> set[str]:
    """Return the signs that stand before decimals in some cell of the file: also in a column of numbers with a word among them.

    A column that has anything like ``1.2.3`` holds no numbers, but versions or lists.
    """
    mostly_numbers = [
        facts
        for facts in columns
        if facts.is_text and not facts.decimals[None] and 2 * (facts.n_numbers + facts.decimals[","]) >= facts.n_known
    ]
    return {sign for sign in (".", ",") if any(facts.decimals[sign] for facts in mostly_numbers)}


def read_keys(signs: Signs) -> dict[str, str]:
    """Return the keys of ``read:`` that say how numbers are written; none for the plain way."""
    keys = {} if signs.decimal == PLAIN_SIGNS.decimal else {"decimal": scalar(signs.decimal)}
    return keys if signs.thousands is None else {**keys, "thousands": scalar(signs.thousands)}


def _line(signs: Signs, layout: Mapping[str, str]) -> str:
    return f"read: {flow({**layout, **(read_keys(signs) or {'decimal': scalar(signs.decimal)})})}"
