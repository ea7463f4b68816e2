"""The table of faults in docs/promises.md with the figures that the fault tests measured.

``python -m tests.fault_table REPORT`` prints it, ``--into docs/promises.md`` writes it there. The page holds the rows; what a report has
nothing of stays as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "promises.md"
HEADING = "| | fault | what was done | acknowledged | found | longest silence | shown by |"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the tests of one fault measured, all together."""

    acknowledged: int
    logged: int
    silence: float | None

    def cells(self) -> list[str]:
        """Return them as they stand in the table.

        Examples
        --------
        >>> Figures(1200, 1200, 0.1234).cells()
        ['1,200', '1,200', '0.12 s']
        >>> Figures(0, 0, None).cells()
        ['–', '–', '–']
        """
        counts = [f"{self.acknowledged:,}", f"{self.logged:,}"] if self.acknowledged else ["–", "–"]
        return [*counts, "–" if self.silence is None else f"{self.silence:.2f} s"]


def figures_of(lines: list[str]) -> dict[str, Figures]:
    """Bring the lines of a report together: counts are added up, of silences the longest counts."""
    measured: dict[str, Figures] = {}
    for line in map(json.loads, lines):
        before = measured.get(line["fault"], Figures(0, 0, None))
        silences = [each for each in (before.silence, line["silence"]) if each is not None]
        measured[line["fault"]] = Figures(
            before.acknowledged + line["acknowledged"], before.logged + line["found"], max(silences, default=None)
        )
    return measured


def rows(page: str) -> list[list[str]]:
    """Return the cells of the table's rows."""
    _, _, below = page.partition(HEADING + "\n")
    lines = below.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def filled(page: str, measured: dict[str, Figures]) -> str:
    """Return the page with these figures in the rows of their faults.

    Raises
    ------
    LookupError
        There are figures of a fault that has no row.
    """
    if strange := measured.keys() - {row[0] for row in rows(page)}:
        raise LookupError(f"no row of the table is called {', '.join(sorted(strange))}")
    above, heading, below = page.partition(HEADING + "\n")
    table, end, rest = below.partition("\n\n")
    return above + heading + "\n".join(_filled(table.splitlines(), measured)) + end + rest


def _filled(lines: list[str], measured: dict[str, Figures]) -> Iterator[str]:
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if figures := measured.get(cells[0]):
            cells[3:6] = figures.cells()
            yield f"| {' | '.join(cells)} |"
        else:
            yield line


def main() -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_table", description=__doc__)
    parser.add_argument("report", type=Path, help="what EVERGREEN_FAULT_REPORT named while the tests ran")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    page = filled((options.into or PAGE).read_text(), figures_of(options.report.read_text().splitlines()))
    if options.into:
        options.into.write_text(page)
    else:
        sys.stdout.write("\n".join(" | ".join(row[:6]) for row in rows(page)) + "\n")


if __name__ == "__main__":
    main()
