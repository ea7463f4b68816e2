"""`evergreen label-requests`: a file with an empty column `label`, which `evergreen label` reads once it is filled in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from monitoring.cli.main import run
from tests.conftest import Once
from tests.monitoring.world import make_world, weather

Verb = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def verb(tmp_path: Path, once: Once, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Call a verb over a log of forty rows without labels; gives its code, what it printed, standard error."""
    world = make_world(tmp_path, history_days=20, once=once)
    world.log(weather(1, 20, 1))
    world.close()

    def calling(*arguments: str | Path) -> tuple[int, Any, str]:
        code = run([*map(str, arguments), "--json"], {"EVERGREEN_HOME": str(tmp_path / "home")})
        printed = capsys.readouterr()
        return code, json.loads(printed.out or "null"), printed.err

    return calling


def test_a_file_that_is_filled_in_is_sent_back_as_labels(verb: Verb, tmp_path: Path) -> None:
    code, facts, _ = verb("label-requests", "-k", "10", "--out", tmp_path / "week-10.csv")
    table = pd.read_csv(tmp_path / "week-10.csv")
    table.drop(columns="id").assign(label="yes").to_csv(tmp_path / "filled.csv", index=False)
    sent = verb("label", "--file", tmp_path / "filled.csv")

    listed = verb("label-requests")[1]

    assert (code, facts["key"], facts["eligible"], facts["drawn"], facts["probability"]) == (0, "week-10", 40, 10, 0.25)
    assert (len(table), table["label"].isna().all(), table["id"].is_unique) == (10, True, True)
    assert {"id", "label", "time", "prediction", "version"} < set(table.columns)
    assert (sent[0], sent[1]) == (0, {"model": "rain", "labels": 10, "matched": 10})
    assert [(each["key"], each["answered"], each["open"]) for each in listed] == [("week-10", 10, 0)]


def test_a_file_is_never_written_over_and_a_request_never_drawn_anew(verb: Verb, tmp_path: Path) -> None:
    verb("label-requests", "-k", "10", "--out", tmp_path / "first.csv")

    again = verb("label-requests", "-k", "10", "--out", tmp_path / "first.csv")
    other = verb("label-requests", "-k", "9", "--out", tmp_path / "second.csv", "--key", "first")
    same = verb("label-requests", "-k", "10", "--out", tmp_path / "second.csv", "--key", "first")

    assert (again[0], other[0], same[0]) == (1, 1, 0)
    assert "is there already, and may be filled in" in again[2]
    assert "was drawn with k = 10, from (the default) to (the default); got k = 9" in other[2]
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "second.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-k", "0", "--out", "new.csv"], 1, "-k 0: want a number from 1 to 10000"),
        (["-k", "5", "--out", "week 10.csv"], 1, "'week 10' is no key of a label request"),
        (["-k", "5", "--out", "new.csv", "--from", "soon"], 1, "'soon' is no model time"),
        (["-k", "5", "--out", "new.csv", "--from", "5", "--to", "6"], 1, "rain has no prediction from 5 to 6"),
        (["-k", "5", "--out", "nowhere/new.csv"], 1, "there is no folder nowhere"),
        (["-k", "5"], 2, "say -k and --out"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)

    ended, _, error = verb("label-requests", *arguments)

    assert (ended, words in error) == (code, True), error
    assert not (tmp_path / "new.csv").exists()
