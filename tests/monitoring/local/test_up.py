"""What `evergreen up` makes of its files, and what it shows to paste: computed elsewhere, sent nowhere, never in the way of serving."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.admin.onboarding import train_file
from monitoring.admin.served_only import NOTE, noted, why_not_served
from monitoring.admin.terminal import Screen
from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from monitoring.local.up import child_environment, disk_watch, prepare, samples_of
from training.errors import ContractChangedError

URL = "http://127.0.0.1:9"
SCREEN = Screen(as_json=False)


@pytest.fixture
def bench(trained_home: Path) -> Iterator[Workbench]:
    bench = Workbench({**os.environ, "EVERGREEN_HOME": str(trained_home)})
    yield bench
    bench.close()


@pytest.fixture
def edited(bikes_file: Path, tmp_path: Path) -> Path:
    """A copy of the example's model file, to be changed; its data is not there."""
    path = tmp_path / "edited.yaml"
    path.write_text(bikes_file.read_text())
    return path


def test_a_sample_is_answered_by_the_champion_and_leaves_nothing_in_the_log(bench: Workbench) -> None:
    predict, labels = samples_of(bench, "bikes", URL, SCREEN)

    assert predict.url == f"{URL}/models/bikes/predict"
    assert set(predict.body["rows"][0]) >= {"district", "weather"}
    assert predict.answer is not None
    assert predict.answer["predictions"][0]["label"] == "false"
    assert sum(predict.answer["predictions"][0]["probabilities"].values()) == pytest.approx(1.0)
    assert (labels.body["labels"][0]["label"], labels.answer) == (False, None)
    assert bench.log.size("bikes").rows == 0


def test_a_champion_that_cannot_be_loaded_gives_no_sample(bench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    model = next(bench.home.artifacts.glob("bikes/*/model.joblib"))
    model.write_bytes(b"something else")

    samples = samples_of(bench, "bikes", URL, Screen(as_json=False))

    assert samples == []
    assert "no sample: model.joblib" in capsys.readouterr().out


def test_an_unchanged_file_is_served_without_a_word(bench: Workbench, edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited.write_text("# a comment\n" + edited.read_text())

    specs = prepare(bench, [edited], Screen(as_json=False))

    assert [spec.model for spec in specs] == ["bikes"]
    assert capsys.readouterr().out == ""


def test_keys_that_changed_are_named_and_hold(bench: Workbench, edited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited.write_text(edited.read_text().replace("every: 7d", "every: 8d").replace("delay: 1d", "delay: 2d"))

    prepare(bench, [edited], Screen(as_json=False))

    assert capsys.readouterr().out == "bikes: changed since it was registered: labels.delay, watching.every\n"
    assert bench.spec("bikes").watching.every.days == 8


def test_another_contract_is_refused_until_a_version_was_trained_for_it(bench: Workbench, edited: Path, bikes_file: Path) -> None:
    edited.write_text(edited.read_text().replace("minimum: 1, maximum: 100", "minimum: 1, maximum: 99"))
    before = bench.registry.get_model("bikes")

    with pytest.raises(ContractChangedError, match=f"changes the contract of bikes .*evergreen train {edited}"):
        prepare(bench, [edited], SCREEN)
    unchanged = bench.registry.get_model("bikes")
    edited.write_text(edited.read_text().replace("data: ", f"data: {bikes_file.parent}/"))
    train_file(bench, edited, None)

    assert unchanged == before
    assert [spec.model for spec in prepare(bench, [edited], SCREEN)] == ["bikes"]


def test_without_files_nothing_narrows_what_is_served(bench: Workbench) -> None:
    assert "EVERGREEN_MODELS" not in child_environment(bench, None)
    assert child_environment(bench, ("bikes",))["EVERGREEN_MODELS"] == "bikes"


def test_who_trains_another_model_than_those_that_are_served_is_told(
    bench: Workbench, edited: Path, bikes_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited.write_text(edited.read_text().replace("model: bikes", "model: trams").replace("data: ", f"data: {bikes_file.parent}/"))

    with noted(bench.home, ["bikes"]):
        run(["train", str(edited), "--json"], bench.environment)
        printed = capsys.readouterr()
        prepare(bench, [bikes_file], Screen(as_json=False))

    assert f"note: the running evergreen up (process {os.getpid()}) serves only bikes" in printed.err
    assert json.loads(printed.out)["model"] == "trams"
    assert "only the models of these files are served; registered too: trams" in capsys.readouterr().out
    assert why_not_served(bench.home, "trams") is None


def test_a_note_of_a_process_that_is_gone_says_nothing(bench: Workbench) -> None:
    (bench.home.path / NOTE).write_text(json.dumps({"process": 2**22 + 1, "models": ["bikes"]}))

    assert why_not_served(bench.home, "trams") is None


def test_where_all_are_served_a_note_that_was_left_is_taken_away(bench: Workbench) -> None:
    (bench.home.path / NOTE).write_text(json.dumps({"process": os.getpid(), "models": ["bikes"]}))

    with noted(bench.home, None):
        assert why_not_served(bench.home, "trams") is None


def test_the_end_of_the_room_on_the_disk_and_its_return_are_said_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, rooms = list[str](), [9 << 30, 1 << 20, 0, 9 << 30, 9 << 30]
    look = disk_watch(tmp_path, None, lines.append)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((1, 1, 1 << 40, rooms[0], rooms[0], 0, 0, 0, 0, 255)))

    while rooms:
        look()
        rooms.pop(0)

    assert [line.partition(" has ")[0] for line in lines] == [f"the disk of {tmp_path}", "there is room on the disk again"]
