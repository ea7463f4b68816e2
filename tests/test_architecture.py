"""The house rules that machines can keep: what may import what, what happens on import, how long a module may be."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("training", "service", "monitoring")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]
COMPOSITION_ROOTS = {"__main__.py", "app.py", "cli.py", "gunicorn.conf.py"}
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


@cache
def imported(*names: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", WATCH_IMPORTS, str(ROOT), ",".join(names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
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
    report = imported(*module_names(package))

    assert report["watched"] == []
    assert report["threads"] == 1


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("training.run", {"flask", "werkzeug", "gunicorn", "apscheduler", "click", "prometheus_client", "service", "monitoring"}),
        ("training.registry", {"flask", "sklearn", "service", "monitoring"}),
        ("service.app", {"apscheduler", "gunicorn", "monitoring"}),
        ("service.prediction_log", {"flask", "apscheduler", "monitoring"}),
        ("monitoring.loop", {"flask", "click", "apscheduler", "gunicorn"}),
        ("monitoring.cli", {"sklearn", "pandas", "flask", "gunicorn", "apscheduler"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_process_imports_no_more_than_its_part(module: str, forbidden: set[str]) -> None:
    loaded = {name.partition(".")[0] for name in imported(module)["modules"]}

    assert loaded & forbidden == set()


def test_only_the_scheduler_knows_apscheduler() -> None:
    knowing = [name for name, path in zip(NAMES, SOURCES, strict=True) if "apscheduler" in imports_of(path)]

    assert set(knowing) <= {"monitoring/scheduler.py"}


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_only_composition_roots_read_the_environment(path: Path) -> None:
    reads = [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv"}
    ]

    assert reads == [] or path.name in COMPOSITION_ROOTS


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_module_is_one_noun_of_at_most_300_lines(path: Path) -> None:
    lines = path.read_text().splitlines()

    assert len(lines) <= 300
    assert path.stem not in HOMELESS


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_function_has_at_most_60_lines(path: Path) -> None:
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    long = {node.name: body_lines(node) for node in functions if body_lines(node) > 60}

    assert long == {}


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(tree_of(path))

    assert docstring


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    before = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}

    order = tuple(TopologicalSorter(before).static_order())

    assert set(order) == graph.modules


def test_no_test_folder_is_a_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports_of(path: Path) -> set[str]:
    plain = {alias.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | froms}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or first.lineno) - first.lineno + 1
