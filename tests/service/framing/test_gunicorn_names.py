"""What the worker uses of gunicorn stands in one list, and is looked for before the start."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from gunicorn.http import message
from gunicorn.http import unreader as unreaders

import service
from service.framing import gunicorn_names

SOURCES = sorted(Path(next(iter(service.__path__))).rglob("*.py"))


def imported(source: Path) -> set[tuple[str, str]]:
    """What a module imports from gunicorn: module and name."""
    nodes = [node for node in ast.walk(ast.parse(source.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    return {(node.module, alias.name) for node in nodes for alias in node.names if node.module and node.module.startswith("gunicorn")}


def test_every_name_that_is_imported_from_gunicorn_is_listed() -> None:
    used = {f"{module}.{name}" for source in SOURCES for module, name in imported(source)}

    listed = {*gunicorn_names.USED, *(f"{module}.{name}" for module, names in gunicorn_names.USED.items() for name in names)}
    assert used
    assert used <= listed


def test_the_gunicorn_that_is_installed_has_them_all() -> None:
    assert gunicorn_names.complaint() is None


def test_a_gunicorn_without_one_of_them_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(unreaders, "IterUnreader")
    monkeypatch.setattr(message.Message, "__init__", lambda self: setattr(self, "headers", []))

    assert gunicorn_names.missing() == [
        *("gunicorn.http.unreader.IterUnreader", "gunicorn.http.unreader.IterUnreader.read"),
        *(f"gunicorn.http.message.Message.{name}" for name in ("headers", "version", "body", "_expected_100_continue")),
    ]
    assert "gunicorn.http.unreader.IterUnreader" in (gunicorn_names.complaint() or "")


def test_a_module_that_is_gone_is_missing_with_all_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_names, "USED", {"gunicorn.nowhere": ("Thing",), "nowhere": ("Thing",)})
    monkeypatch.setattr(gunicorn_names, "SET", {"gunicorn.nowhere.Thing.__init__": ("name",)})

    assert gunicorn_names.missing() == ["gunicorn.nowhere.Thing", "nowhere.Thing", "gunicorn.nowhere.Thing.name"]
