"""Tables for people, JSON for programs."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest

from monitoring.admin.terminal import Screen, TrainingBar


def test_a_program_gets_one_json_document_with_everything() -> None:
    stream = io.StringIO()
    screen = Screen(as_json=True, stream=stream)

    screen.rows("versions", [{"version": "a", "at": datetime(2026, 1, 2, tzinfo=UTC), "score": float("nan")}], ["version"])

    assert json.loads(stream.getvalue()) == [{"version": "a", "at": "2026-01-02T00:00:00+00:00", "score": None}]


def test_a_person_gets_the_chosen_columns() -> None:
    stream = io.StringIO()
    screen = Screen(as_json=False, stream=stream)

    screen.rows("versions", [{"version": "a", "digest": "dddd"}], ["version"])

    assert "version" in stream.getvalue()
    assert "dddd" not in stream.getvalue()


def test_nothing_is_said_to_be_nothing() -> None:
    stream = io.StringIO()

    Screen(as_json=False, stream=stream).rows("ledger", [])

    assert stream.getvalue() == "ledger: nothing yet\n"


def test_brackets_in_values_are_no_markup() -> None:
    stream = io.StringIO()

    Screen(as_json=False, stream=stream).facts("x", {"why": "[red]not red[/red]"})

    assert "[red]not red[/red]" in stream.getvalue()


def test_notes_do_not_disturb_json(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=True)

    screen.note("on the way")
    screen.text("for people", {"done": True})

    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"done": True}
    assert "on the way" in captured.err


def test_a_training_bar_goes_through_its_stages() -> None:
    stream = io.StringIO()
    bar = TrainingBar(Screen(as_json=False, stream=stream))

    bar.start("search", 2)
    bar.advance("linear")
    bar.advance("forest")
    bar.done()
    bar.start("fit", None)
    bar.done()

    assert "search" in stream.getvalue()
    assert "2/2" in stream.getvalue()
    assert "fit" in stream.getvalue()
