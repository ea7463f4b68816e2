"""The table of faults is whole: every row of the matrix and every finding, each with tests that are there, filled by what they measured."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.fault_table import PAGE, figures_of, filled, rows

TESTS = Path(__file__).parent
TABLE = rows(PAGE.read_text())
MATRIX = {str(number) for number in range(1, 22)}
FINDINGS = {"B1", "B2", *(f"M{number}" for number in range(1, 13)), *(f"m{number}" for number in range(10))}
REPORT = [
    '{"fault": "1", "acknowledged": 1000, "found": 1000, "silence": 0.5}',
    '{"fault": "1", "acknowledged": 234, "found": 233, "silence": 0.25}',
    '{"fault": "8a", "acknowledged": 0, "found": 0, "silence": null}',
]


@cache
def names_of_tests() -> set[str]:
    """Return the names of all tests, without ``test_``."""
    return {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"^def test_(\w+)\(", path.read_text(), re.MULTILINE)}


def measured() -> set[str]:
    """Return the faults that tests note figures of, or have among their parameters."""
    texts = [ast.walk(ast.parse(path.read_text())) for path in (TESTS / "end_to_end").glob("test_*.py") if "note(" in path.read_text()]
    return {node.value for tree in texts for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_row_of_the_matrix_and_every_finding_stands_in_the_table_once() -> None:
    keys = [row[0] for row in TABLE]

    stands = {part.rstrip("abcde") if part[0] == "M" else part for key in keys for part in key.split(", ")}

    assert len(keys) == len(set(keys))
    assert stands >= MATRIX | FINDINGS


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_every_row_is_shown_by_tests_that_are_there(row: list[str]) -> None:
    named = [name.strip().strip("`") for name in row[6].split(",")]

    assert named != [""]
    assert [name for name in named if name not in names_of_tests()] == []


def test_a_row_with_figures_has_a_test_that_measures_them() -> None:
    with_figures = {row[0] for row in TABLE if row[3:6] != ["–"] * 3}

    assert with_figures <= measured()


def test_figures_of_one_fault_are_brought_together_and_stand_in_its_row() -> None:
    page = filled(PAGE.read_text(), figures_of(REPORT))

    after = {row[0]: row for row in rows(page)}
    assert after["1"][3:6] == ["1,234", "1,233", "0.50 s"]
    assert after["8a"][3:6] == ["–", "–", "–"]
    assert [row[:3] + row[6:] for row in rows(page)] == [row[:3] + row[6:] for row in TABLE]


def test_figures_without_a_row_are_refused() -> None:
    with pytest.raises(LookupError, match="no row of the table is called 99"):
        filled(PAGE.read_text(), figures_of(['{"fault": "99", "acknowledged": 1, "found": 1, "silence": 1.0}']))
