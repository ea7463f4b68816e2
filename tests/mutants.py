"""`make mutants`: are the rules tested, or only run? Mutations of the pure rooms, drawn by seed; at least 90 % must fail a test.

mutmut makes and runs the mutants (`[tool.mutmut]` in pyproject.toml names rooms and tests); this draws some of them, so that a run
takes minutes, and counts. A survivor that no test can tell from the original stands in `equivalent_mutants.txt`, with the reason.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
NO_TEST, KILLED_BY = 33, (1, 3, 24, -24, 36, 152, 255, 37)  # mutmut's exit codes: a test failed, or it ran for ever
LEAST_KILLED = 0.9


def main() -> int:
    """Draw, run, count; return 1 when too many survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=400, help="how many mutants to draw")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    mutmut("run", "none")  # makes all mutants and runs none: no name fits
    drawn = sorted(random.Random(options.seed).sample(sorted(exit_codes()), options.number))
    if mutmut("run", *drawn) != 0:
        print("the tests do not pass without a mutation, see above", file=sys.stderr)
        return 1
    codes = exit_codes()
    survivors = [name for name in drawn if codes[name] not in KILLED_BY]
    known = equivalents()
    open_ones = [name for name in survivors if change_of(name) not in known]
    for name in open_ones:
        print(f"{'no test' if codes[name] == NO_TEST else 'survived'}: {name}\n    {change_of(name)}")
    judged = options.number - (len(survivors) - len(open_ones))
    killed = options.number - len(survivors)
    equal = options.number - judged
    print(f"{killed} of {judged} mutants killed ({killed / judged:.1%}); {equal} more are equivalent; seed {options.seed}")
    return 0 if killed >= LEAST_KILLED * judged else 1


def mutmut(*arguments: str) -> int:
    """Run mutmut in the repository; its progress is thrown away, its last words are not."""
    done = subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0 and arguments[1:] != ("none",):
        print(done.stdout[-4000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
    return done.returncode


def exit_codes() -> dict[str, int | None]:
    """Return the exit code of the tests by the name of the mutant; None where it was not run."""
    return {
        name: code
        for path in sorted((ROOT / "mutants").rglob("*.meta"))
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items()
    }


def change_of(name: str) -> str:
    """Return what a mutant changes, in one line: `module: - old + new`."""
    shown = subprocess.run([sys.executable, "-m", "mutmut", "show", name], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    return f"{name.partition('.x')[0]}: " + " ".join(f"{line[0]} {line[1:].strip()}" for line in lines)


def equivalents() -> set[str]:
    """Return the changes that make no difference, as the file lists them: a reason after `#`, then the changes it holds for."""
    return {line.strip() for line in EQUIVALENT.read_text().splitlines() if line.strip() and not line.startswith("#")}


if __name__ == "__main__":
    sys.exit(main())
