"""The docs say what is: settings, verbs, targets, files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from monitoring.cli.main import VERBS, evergreen
from service.settings import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CLI = (ROOT / "docs" / "cli.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
MOVED = (ROOT / "docs" / "moved-imports.md").read_text()
CHAIN = re.findall(r"`([a-z_/]+\.py) → ([A-Za-z_.]+)`", ARCHITECTURE)
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
PROCESSES = "(?:all|training|service|monitoring)(?:, monitoring)?"
ROW = re.compile(r"^\| `(EVERGREEN_[A-Z_]+)` \| `([^`]*)` \|(?: (" + PROCESSES + r") \|)? (.+) \|$", re.MULTILINE)
READ = {
    package: set(re.findall(r'"(EVERGREEN_[A-Z_]+)"', (ROOT / package / "settings.py").read_text()))
    for package in ("training", "monitoring")
}
READ["service"] = {f"EVERGREEN_{variable.name}" for variable in VARIABLES}
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
CONTEXT = click.Context(evergreen, info_name="evergreen")


def test_the_settings_page_names_every_variable_once_and_no_other() -> None:
    documented = [row[0] for row in ROW.findall(SETTINGS)]

    assert sorted(documented) == sorted(READ["training"] | READ["service"] | READ["monitoring"])


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_the_settings_page_tells_default_and_meaning_as_the_code_does(variable: object) -> None:
    documented = {row[0]: (row[1], row[3]) for row in ROW.findall(SETTINGS)}

    assert documented[f"EVERGREEN_{variable.name}"] == (variable.default, variable.meaning)  # type: ignore[attr-defined]


def test_the_readme_repeats_the_settings_that_one_changes_first() -> None:
    known = {row[0]: row[1] for row in ROW.findall(SETTINGS)}

    repeated = {row[0]: row[1] for row in ROW.findall(README)}

    assert repeated.items() <= known.items()
    assert {"EVERGREEN_HOME", "EVERGREEN_BIND", "EVERGREEN_DATABASE_URL", "EVERGREEN_MONITOR_BIND"} <= set(repeated)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented_and_its_help_has_an_example(verb: str) -> None:
    command = evergreen.get_command(CONTEXT, verb)

    assert command is not None
    assert command.help is not None
    assert "Example: evergreen" in command.help
    assert f"`evergreen {verb}" in CLI


def test_no_verb_is_documented_that_is_not_there() -> None:
    documented = set(re.findall(r"`evergreen ([a-z][a-z-]*)", CLI))

    assert documented == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_speaks_json(verb: str) -> None:
    command = evergreen.get_command(CONTEXT, verb)
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]

    speaking = [any("--json" in option.opts for option in leaf.params) for leaf in leaves if leaf is not None]

    assert all(speaking)


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"`make ([a-z]+)`", README)) | set(re.findall(r"^\$ make ([a-z]+)", README, re.MULTILINE))

    assert named == {"run", "demo", "test", "check", "slow"}
    assert named <= targets


def test_the_tree_of_the_readme_is_the_tree() -> None:
    block = README.split("## The tree and its rule")[1].split("```")[1]

    named = re.findall(r"^([a-z0-9]+)/ ", block, re.MULTILINE)

    assert [name for name in named if not (ROOT / name).is_dir()] == []
    assert {"training", "service", "monitoring", "tests", "examples", "docs", "k8s"} == set(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("package", ["training", "service", "monitoring"])
def test_every_package_has_its_page(package: str) -> None:
    page = ROOT / "docs" / f"{package}.md"

    assert page.exists()


def test_the_architecture_page_says_of_every_room_what_the_room_says_of_itself() -> None:
    sentences = {
        f"{path.parent.relative_to(ROOT)}/": ast.get_docstring(ast.parse(path.read_text()))
        for package in ("training", "service", "monitoring")
        for path in (ROOT / package).glob("*/__init__.py")
    }

    assert dict(re.findall(r"^\| `([a-z_]+/[a-z_]+/)` \| (.+) \|$", ARCHITECTURE, re.MULTILINE)) == sentences


@pytest.mark.parametrize(("path", "name"), CHAIN, ids=[f"{path}-{name}" for path, name in CHAIN])
def test_every_step_of_the_architecture_page_is_there(path: str, name: str) -> None:
    assert name in definitions(ast.parse((ROOT / path).read_text()))


def test_the_architecture_page_has_the_ways_of_a_row_a_label_and_a_verdict() -> None:
    ways = re.findall(r"^## The way of a ([a-z]+)$", ARCHITECTURE, re.MULTILINE)

    assert ways == ["row", "label", "verdict"]
    assert len(CHAIN) > 30


def test_a_module_that_moved_is_where_the_page_says() -> None:
    rows = re.findall(r"^\| `[^`]+` \| (.*) \|$", MOVED, re.MULTILINE)
    targets = re.findall(r"`((?:training|service|monitoring)\.[a-z0-9_.]+)`", " ".join(rows))

    assert len(targets) > 100
    assert [name for name in targets if not (ROOT / (name.replace(".", "/") + ".py")).exists()] == []


def definitions(tree: ast.Module) -> set[str]:
    """Name the functions and classes of a module, methods with their class before them."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    top = [node for node in tree.body if isinstance(node, kinds)]
    methods = {f"{node.name}.{inner.name}" for node in top for inner in node.body if isinstance(inner, kinds)}
    return {node.name for node in top} | methods
