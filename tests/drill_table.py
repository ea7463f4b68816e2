"""The table of drills in docs/monitoring.md with the seconds that `make drills` measured.

``python -m tests.drill_table REPORT`` prints it, ``--into docs/monitoring.md`` writes it there. The page holds the rows; what a report has
nothing of stays as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "monitoring.md"
HEADING = "| alert | what is done | told after | its end after | spared meanwhile |"


def rows(page: str) -> list[list[str]]:
    """Return the cells of the table's rows."""
    _, _, below = page.partition(HEADING + "\n")
    lines = below.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def cells(measured: Mapping[str, Any]) -> list[str]:
    """Return what a drill measured as it stands in the table.

    Examples
    --------
    >>> cells({"alert": "EvergreenBlind", "fires": 4.21, "ends": 15.0, "spared": ["EvergreenModelOverdue"]})
    ['4 s', '15 s', '`EvergreenModelOverdue`']
    >>> cells({"alert": "EvergreenBlind", "fires": 4.21, "ends": 15.0, "spared": []})[2]
    'nothing'
    """
    return [f"{measured['fires']:.0f} s", f"{measured['ends']:.0f} s", ", ".join(f"`{name}`" for name in measured["spared"]) or "nothing"]


def filled(page: str, lines: list[str]) -> str:
    """Return the page with the figures of a report in the rows of its alerts.

    Raises
    ------
    LookupError
        There are figures of an alert that has no row.
    """
    measured = {each["alert"]: each for each in map(json.loads, lines)}
    if strange := measured.keys() - {row[0].strip("`") for row in rows(page)}:
        raise LookupError(f"no row of the table is called {', '.join(sorted(strange))}")
    made = [[*row[:2], *cells(measured[name])] if (name := row[0].strip("`")) in measured else row for row in rows(page)]
    above, heading, below = page.partition(HEADING + "\n")
    table, end, rest = below.partition("\n\n")
    return above + heading + "\n".join([table.splitlines()[0], *(f"| {' | '.join(row)} |" for row in made)]) + end + rest


def main() -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(prog="python -m tests.drill_table", description=__doc__)
    parser.add_argument("report", type=Path, help="what EVERGREEN_DRILL_REPORT named while the drills ran")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    page = filled((options.into or PAGE).read_text(), options.report.read_text().splitlines())
    if options.into:
        options.into.write_text(page)
    else:
        sys.stdout.write("\n".join(" | ".join(row) for row in rows(page)) + "\n")


if __name__ == "__main__":
    main()
