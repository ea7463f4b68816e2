"""The command line, verb by verb, as a person or a program calls it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest

from monitoring.cli import VERBS, run
from monitoring.workbench import Workbench
from service.log_tables import lock_clock

Call = Callable[..., "Said"]


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def call(trained_home: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call `evergreen` on a home with one champion."""

    def calling(*arguments: str | Path, home: Path = trained_home) -> Said:
        code = run([str(argument) for argument in arguments], {"EVERGREEN_HOME": str(home)})
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return calling


@pytest.fixture
def second_version(call: Call, bikes_file: Path) -> str:
    """A challenger beside the champion."""
    version: str = call("train", bikes_file, "--json").json["version"]
    return version


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(call: Call, verb: str) -> None:
    said = call(verb, "--help")

    assert said.code == 0
    assert "Example: evergreen" in said.out


def test_a_wrong_call_is_exit_code_2_without_a_traceback(call: Call) -> None:
    said = call("promote")

    assert said.code == 2
    assert "Missing argument" in said.err


def test_a_refusal_is_one_sentence_and_exit_code_1(call: Call) -> None:
    said = call("promote", "nope")

    assert said.code == 1
    assert said.err == "error: bikes has no version 'nope'\n"


def test_a_home_without_models_says_how_to_begin(call: Call, tmp_path: Path) -> None:
    said = call("versions", home=tmp_path / "empty")

    assert said.code == 1
    assert "evergreen train model.yaml" in said.err


def test_an_unknown_model_is_refused_with_the_known_ones(call: Call) -> None:
    said = call("versions", "--model", "trams")

    assert said.code == 1
    assert "'trams'; there is bikes" in said.err


def test_init_writes_a_model_file_that_train_takes(call: Call, bikes_file: Path, tmp_path: Path) -> None:
    shutil.copy(bikes_file.parent / "history.csv.gz", tmp_path / "rides.csv.gz")
    home, out = tmp_path / "new", tmp_path / "model.yaml"

    written = call("init", tmp_path / "rides.csv.gz", "--target", "runs_empty", "--time", "observed_at", "--out", out, home=home)
    out.write_text(out.read_text() + "\n")
    again = call("init", tmp_path / "rides.csv.gz", "--target", "runs_empty", "--out", out, home=home)

    assert written.code == 0, written.err
    assert again.code == 1
    assert "--force" in again.err


def test_the_first_version_is_the_champion(call: Call) -> None:
    versions = call("versions", "--json").json

    assert [version["alias"] for version in versions] == ["champion"]
    assert versions[0]["metric"] == "log_loss"
    assert 0.2 < versions[0]["score"] < 0.5


def test_a_later_version_is_a_challenger_until_it_is_promoted(call: Call, second_version: str) -> None:
    before = call("versions", "--json").json

    promoted = call("promote", "challenger", "--why", "looks right", "--json").json

    assert [version["alias"] for version in before] == ["champion", "challenger"]
    assert promoted["version"] == second_version
    assert call("ledger", "--json").json[0]["why"] == "looks right"


def test_a_rollback_brings_the_previous_champion_back(call: Call, second_version: str) -> None:
    first = call("versions", "--json").json[0]["version"]
    call("promote", second_version, "--force")

    rolled = call("rollback", "--why", "complaints", "--json").json

    assert rolled["version"] == first
    assert [entry["action"] for entry in call("ledger", "--json", "--limit", "2").json] == ["rollback", "promote"]


def test_status_says_what_is_served_and_what_the_loop_does(call: Call) -> None:
    status = call("status", "--json").json[0]

    assert status["model"] == "bikes"
    assert status["loop"] == "acts"
    assert status["rows"] == 0
    assert "first version" in status["last_move"]


def test_a_paused_loop_is_shown_as_paused(call: Call) -> None:
    call("pause", "--why", "migration")
    paused = call("status", "--json").json[0]["loop"]
    call("resume")

    assert paused == "paused"
    assert call("status", "--json").json[0]["loop"] == "acts"


def test_show_prints_the_card_to_people_and_the_manifest_to_programs(call: Call) -> None:
    card, manifest = call("show").out, call("show", "champion", "--json").json

    assert "# bikes" in card
    assert manifest["model"] == "bikes"
    assert manifest["contract_hash"]


def test_verdicts_are_empty_before_the_first_slot(call: Call) -> None:
    assert call("verdicts", "--json").json == []


def test_predictions_for_a_table_need_no_server(call: Call, bikes_file: Path, tmp_path: Path) -> None:
    said = call("predict", bikes_file.parent / "live.csv.gz", "-o", tmp_path / "out.parquet", "--json")

    table = pd.read_parquet(tmp_path / "out.parquet")
    assert said.json["rows"] == len(table) == 20 * 56
    assert set(table["prediction"]) == {"true", "false"}
    assert table["probability_true"].between(0, 1).all()


def test_a_table_that_breaks_the_schema_is_refused_row_by_row(call: Call, bikes_file: Path, tmp_path: Path) -> None:
    table = pd.read_csv(bikes_file.parent / "live.csv.gz").head(3)
    table.loc[1, "docks"] = -5
    table.to_csv(tmp_path / "rows.csv", index=False)

    said = call("predict", tmp_path / "rows.csv", "-o", tmp_path / "out.csv")

    assert said.code in {0, 1}
    assert "Traceback" not in said.err


@pytest.mark.parametrize(("level", "has_traceback"), [("INFO", False), ("debug", True)])
def test_an_unexpected_error_is_one_sentence_and_has_a_traceback_only_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, level: str, has_traceback: bool
) -> None:
    monkeypatch.setattr("monitoring.cli.Workbench", Mock(side_effect=ZeroDivisionError("by\nnothing")))

    code = run(["versions"], {"EVERGREEN_LOG_LEVEL": level})

    said = capsys.readouterr().err
    assert code == 1
    assert said.endswith("unexpected: ZeroDivisionError: by nothing; set EVERGREEN_LOG_LEVEL=DEBUG for the traceback\n")
    assert ("Traceback" in said) is has_traceback


def test_an_unknown_prediction_cannot_be_labelled(call: Call) -> None:
    assert call("label", "made-up", "true", "--json").json == {"model": "bikes", "labels": 1, "unknown": 1}


def test_labels_come_from_a_file_with_named_columns(call: Call, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("own_id,label\nride-1,true\nride-2,false\n")
    (tmp_path / "wrong.csv").write_text("ride,truth\n1,true\n")

    known, refused = call("label", "--file", tmp_path / "truth.csv", "--json"), call("label", "--file", tmp_path / "wrong.csv")

    assert known.json["labels"] == 2
    assert refused.code == 1
    assert "needs the columns label and id" in refused.err


def test_an_import_asks_before_it_unpickles(call: Call, bikes_file: Path, trained_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = next((trained_home / "artifacts" / "bikes").glob("*/model.joblib"))
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))

    asked = call("import", payload, "--schema", bikes_file)
    trusted = call("import", payload, "--schema", bikes_file, "--yes", "--json")

    assert asked.code == 130
    assert trusted.json["alias"] == "challenger"
    assert "runs whatever code is in it" in trusted.err


def test_an_import_of_something_else_is_one_sentence(call: Call, bikes_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"not a pickle")

    said = call("import", tmp_path / "model.joblib", "--schema", bikes_file, "--yes")

    assert said.code == 1
    assert "cannot be loaded" in said.err


def test_keys_are_made_listed_and_revoked(call: Call) -> None:
    made = call("keys", "create", "--name", "shop", "--scope", "predict", "--json").json
    call("keys", "create", "--name", "desk", "--scope", "read")
    call("keys", "revoke", "shop")

    assert made["key"].startswith("eg_")
    assert [key["name"] for key in call("keys", "list", "--json").json] == ["desk"]


def test_the_home_can_be_named_on_the_command_line(call: Call, trained_home: Path, tmp_path: Path) -> None:
    said = call("--home", trained_home, "versions", "--json", home=tmp_path / "elsewhere")

    assert len(said.json) == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("verb", ["check", "retrain"])
def test_what_asks_the_monitor_says_when_there_is_nothing_to_judge_by(call: Call, verb: str) -> None:
    said = call(verb)

    assert said.code == 1
    assert "no row was logged yet" in said.err


def test_what_asks_the_monitor_says_when_none_runs(call: Call, trained_home: Path) -> None:
    bench = Workbench({"EVERGREEN_HOME": str(trained_home)})
    bench.log.prepare()
    with bench.database.write() as connection:
        lock_clock(connection, "bikes")
    bench.log.set_watermark("bikes", 1_700_000_000_000_000)
    bench.close()

    said = call("check")

    assert said.code == 1
    assert "no monitor is running" in said.err


@pytest.mark.parametrize("verb", ["status", "versions", "ledger", "verdicts", "show", "check", "pause", "up"])
def test_a_mistyped_home_is_named_and_not_made(call: Call, tmp_path: Path, verb: str) -> None:
    said = call(verb, home=tmp_path / "mistyped")

    assert said.code == 1
    assert f"there is no database {tmp_path / 'mistyped' / 'evergreen.db'}" in said.err
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("verb", ["status", "train", "up"])
def test_a_database_that_is_gone_is_not_made_again(call: Call, trained_home: Path, bikes_file: Path, verb: str) -> None:
    (trained_home / "evergreen.db").unlink()

    said = call(verb, *([] if verb == "status" else [bikes_file]))

    assert said.code == 1
    assert f"the database {trained_home / 'evergreen.db'} is gone" in said.err
    assert not (trained_home / "evergreen.db").exists()


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_tampered_version_is_not_promoted(call: Call, trained_home: Path, second_version: str, force: list[str]) -> None:
    model = trained_home / "artifacts" / "bikes" / second_version / "model.joblib"
    model.write_bytes(model.read_bytes() + b"x")

    said = call("promote", second_version, *force)

    assert said.code == 1
    assert [version["alias"] for version in call("versions", "--json").json] == ["champion", "challenger"]


def test_a_tampered_version_is_not_rolled_back_to(call: Call, trained_home: Path, second_version: str) -> None:
    first = call("versions", "--json").json[0]["version"]
    call("promote", second_version)
    model = trained_home / "artifacts" / "bikes" / first / "model.joblib"
    model.write_bytes(model.read_bytes() + b"x")

    said = call("rollback")

    assert said.code == 1
    assert call("show", "champion", "--json").json["version"] == second_version
