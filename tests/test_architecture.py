"""The house rules that machines can keep: what may import what, what happens on import, how long a module may be."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import monitoring
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("architecture")  # each file is parsed once, and each import watched once

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("training", "service", "monitoring")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
COMPOSITION_ROOTS = {
    f"{package}/{name}"
    for package in PACKAGES
    for name in ("__main__.py", "app.py", "gunicorn.conf.py", "cli/main.py", "local/alive.py", "local/sample_requests.py")
} | {
    "training/artifacts/answer_in_child.py",  # the four are started as processes of their own
    "training/artifacts/replay_in_child.py",
    "training/evaluation/own_metric.py",
    "service/models/trial.py",
    "training/own_code.py",  # puts back what a user's code did to it, and spells out the folder of that code for children
}
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}
ROOMS = sorted(path.parent for package in PACKAGES for path in (ROOT / package).glob("*/__init__.py"))
CODE = sorted(path for folder in (*PACKAGES, "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))
TEXTS = (
    [path for path in CODE if path != Path(__file__)]
    + sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "moved-imports.md")
    + [ROOT / "README.md", ROOT / "Makefile"]
)
PRIVATE_WORDS = {
    "door",
    "doors",
    "culprit",
    "culprits",
    "borrowed",
    "byhand",
    "tallies",
    "folding",
    "marks",
    "upkeep",
    "lane",
    "lanes",
    "dear",
    "dryness",
    "housekeeping",
    "keyring",
    "seat",
    "seats",
    "sight",
    "sparing",
    "truth",
    "truths",
    "truthful",
}
WEAK_BEGINNINGS = ("Give ", "Gives ", "Returns ", "Tell ", "Tells ")
HOMELESS = {"utils", "util", "common", "helpers", "core", "base", "misc", "manager"}

# Imports one module (or all) in a fresh process and reports what happened meanwhile, as far as our own lines did it.
WATCH_IMPORTS = """
import importlib, json, os, pkgutil, sys, threading
root, names, watched = sys.argv[1], sys.argv[2].split(","), []
ours = tuple(os.path.join(root, p) + os.sep for p in ("training", "service", "monitoring"))

def culprit():
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return None
        if name.startswith(ours):
            return f"{os.path.relpath(name, root)}:{frame.f_lineno}"
        if os.path.basename(name) not in ("os.py", "_collections_abc.py", "pathlib.py", "subprocess.py", "threading.py", "<string>"):
            return None
        frame = frame.f_back
    return None

def hook(event, arguments):
    if event in ("open", "socket.bind", "socket.connect", "subprocess.Popen", "os.mkdir", "sqlite3.connect"):
        where = culprit()
        if where:
            watched.append(f"{event} {arguments[:1]!r} at {where}")

def recording(name):
    original = getattr(os._Environ, name)
    def method(self, *arguments):
        where = culprit()
        if where:
            watched.append(f"environment {arguments!r} at {where}")
        return original(self, *arguments)
    return method

for name in ("__getitem__", "__iter__"):
    setattr(os._Environ, name, recording(name))
sys.addaudithook(hook)
for name in names:
    importlib.import_module(name)
print(json.dumps({"watched": watched, "threads": threading.active_count(), "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module", autouse=True)
def _forget_trees() -> Iterator[None]:
    """Forget what was parsed: millions of objects, through which every later collection of garbage would go."""
    yield
    tree_of.cache_clear()
    nodes_of.cache_clear()


@cache
def imported(*names: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", WATCH_IMPORTS, str(ROOT), ",".join(names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def module_names(package: str) -> list[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / package).rglob("*.py"))
    dotted = (".".join(path.parts).removesuffix(".__init__") for path in paths if path.name not in {"__main__", "gunicorn.conf"})
    return sorted(dotted)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_happens_on_import(package: str) -> None:
    report = imported(*(name for each in PACKAGES for name in module_names(each)))

    assert [event for event in report["watched"] if f" at {package}/" in event] == []
    assert report["threads"] == 1


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("training.run", {"flask", "werkzeug", "gunicorn", "apscheduler", "click", "prometheus_client", "service", "monitoring", "optuna"}),
        ("training.registry.registry", {"flask", "sklearn", "service", "monitoring", "optuna"}),
        ("service.app", {"apscheduler", "gunicorn", "monitoring", "optuna"}),
        ("service.prediction_log.prediction_log", {"flask", "apscheduler", "monitoring", "optuna"}),
        ("monitoring.loop.tick", {"flask", "click", "apscheduler", "gunicorn", "optuna"}),
        ("monitoring.cli.main", {"sklearn", "pandas", "flask", "gunicorn", "apscheduler", "optuna"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_process_imports_no_more_than_its_part(module: str, forbidden: set[str]) -> None:
    loaded = {name.partition(".")[0] for name in imported(module)["modules"]}

    assert loaded & forbidden == set()


def test_only_the_scheduler_knows_apscheduler() -> None:
    knowing = [place(path) for path in SOURCES if "apscheduler" in imports_of(path)]

    assert set(knowing) <= {"monitoring/loop/scheduler.py"}


def test_only_composition_roots_read_the_environment() -> None:
    reading = [
        f"{place(path)}:{node.lineno}"
        for path in SOURCES
        if place(path) not in COMPOSITION_ROOTS
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv"}
    ]

    assert reading == []


def test_a_module_is_one_noun_of_at_most_400_lines_that_says_what_it_is() -> None:
    assert [place(path) for path in SOURCES if len(path.read_text().splitlines()) > 400] == []
    assert [place(path) for path in SOURCES if path.stem in HOMELESS] == []
    assert [place(path) for path in SOURCES if not ast.get_docstring(tree_of(path))] == []


def test_a_function_has_at_most_60_lines() -> None:
    long = [f"{place(path)} {node.name}" for path in SOURCES for node in functions_of(path) if body_lines(node) > 60]

    assert long == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_says_in_one_sentence_what_lives_there_and_holds_at_most_12_modules(room: Path) -> None:
    sentence = ast.get_docstring(tree_of(room / "__init__.py")) or ""

    assert sentence.count(".") >= 1
    assert "\n" not in sentence
    assert len(tree_of(room / "__init__.py").body) == 1
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= 12


def test_a_function_takes_at_most_7_parameters_or_says_why() -> None:
    wide = [
        f"{place(path)} {node.name}: {n_parameters(node)}"
        for path in SOURCES
        for node in functions_of(path)
        if n_parameters(node) > 7 and f"# {n_parameters(node)} parameters: " not in path.read_text().splitlines()[node.lineno - 1]
    ]

    assert wide == []


def test_docstrings_have_one_style() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [
        (place(path), ast.get_docstring(node) or "") for path in SOURCES for node in nodes_of(path) if isinstance(node, documented)
    ]

    typed = [(module, line) for module, docstring in docstrings for line in typed_names(docstring)]
    giving = [
        (module, docstring) for module, docstring in docstrings if docstring.startswith(("Give ", "Gives ", "Returns ", "Tell ", "Tells "))
    ]
    roles = [(module, role) for module, docstring in docstrings for role in re.findall(r":(?:meth|func|class|data|attr|mod):`", docstring)]

    assert typed == []
    assert giving == []
    assert roles == []


def test_words_are_those_of_the_field() -> None:
    words = {
        place(path): {word for name in re.findall(r"[A-Za-z]+", path.read_text().replace("marks=", "")) for word in words_of(name)}
        for path in TEXTS
    }

    assert {path: private for path, used in words.items() if (private := used & PRIVATE_WORDS)} == {}


def test_what_is_pickled_is_no_payload() -> None:
    assert [place(path) for path in CODE if place(path).startswith("training/") and "payload" in words_of(path.read_text())] == []


def test_a_name_says_the_thing_and_not_the_tense() -> None:
    assert [place(path) for path in CODE if names_in(path) & {"said", "told", "found"}] == []


def test_an_import_names_the_module_that_defines_what_it_wants() -> None:
    elsewhere = [
        f"{place(path)}: {node.module}.{alias.name}"
        for path in CODE
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.module in MODULES
        for alias in node.names
        if f"{node.module}.{alias.name}" not in MODULES and alias.name not in defined_in(MODULES[node.module])
    ]

    assert elsewhere == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    before = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}

    order = tuple(TopologicalSorter(before).static_order())

    assert set(order) == graph.modules


def test_tests_mirror_the_rooms() -> None:
    folders = {place(path.parent) for package in PACKAGES for path in (ROOT / "tests" / package).rglob("test_*.py")}

    assert folders == {f"tests/{place(room)}" for room in ROOMS} | {f"tests/{package}" for package in PACKAGES}


def test_no_test_folder_is_a_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in nodes_of(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """List what a module consists of, as far as a rule asks for it: no expressions but names and attributes."""
    asked = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Import, ast.ImportFrom, ast.Name, ast.Attribute, ast.arg)
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, asked)]


def imports_of(path: Path) -> set[str]:
    plain = {alias.name for node in nodes_of(path) if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module for node in nodes_of(path) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | froms}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or first.lineno) - first.lineno + 1


@cache
def defined_in(path: Path) -> set[str]:
    """Collect what a module defines at its top: classes, functions, constants; of `monitoring` also what notebooks import from it.

    That is loaded when it is asked for (`__getattr__`), since every process of ours imports the package.
    """
    if path == ROOT / "monitoring" / "__init__.py":
        return set(monitoring.__all__)
    body = [inner for node in tree_of(path).body for inner in (node.body + node.orelse if isinstance(node, ast.If | ast.Try) else [node])]
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    constants = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return constants | {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def n_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the parameters of a function, the object itself left out."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def typed_names(docstring: str) -> list[str]:
    """List the lines `name : type` of a numpydoc docstring, and types that are returned: they stand in the signature."""
    sections = re.split(r"^(\w[\w ]+)\n-{3,}$", docstring, flags=re.MULTILINE)
    listing = [body for title, body in zip(sections[1::2], sections[2::2], strict=True) if title in {"Parameters", "Attributes"}]
    returns = re.findall(r"^Returns\n-{7}\n( .*|.*\n +\S.*)", docstring, re.MULTILINE)
    return [line for body in listing for line in body.splitlines() if re.match(r"[\w*]+(, [\w*]+)* : ", line)] + returns


def words_of(name: str) -> list[str]:
    """Part a name such as `makeOne` or `MakeOne` into its words, in small letters."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def names_in(path: Path) -> set[str]:
    """Collect what a module names: variables, arguments, functions."""
    nodes = nodes_of(path)
    variables = {node.id for node in nodes if isinstance(node, ast.Name)}
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    return variables | arguments | {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
