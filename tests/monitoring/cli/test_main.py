"""The command line, verb by verb, as a person or a program calls it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest

from monitoring.admin.workbench import Workbench
from monitoring.cli.main import VERBS, run
from monitoring.journal.journal import Journal
from monitoring.journal.leases import Turn
from monitoring.journal.tables import TICK, outbox
from service.prediction_log.tables import lock_clock
from tests.conftest import Once
from tests.ports import free_port
from tests.receivers import receiver
from training.clock import to_us
from training.storage.database import open_database

Call = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
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

    def calling(*arguments: str | Path, home: Path = trained_home, **variables: str) -> Outcome:
        code = run([str(argument) for argument in arguments], {"EVERGREEN_HOME": str(home), **variables})
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return calling


@pytest.fixture
def second_version(trained_template: Path, trained_home: Path, bikes_file: Path, once: Once, capsys: pytest.CaptureFixture[str]) -> str:
    """A challenger beside the champion, trained once for all tests."""

    def make(folder: Path) -> None:
        shutil.copytree(trained_template, folder / "home")
        assert run(["train", str(bikes_file), "--json"], {"EVERGREEN_HOME": str(folder / "home")}) == 0
        (folder / "version").write_text(json.loads(capsys.readouterr().out)["version"])

    made = once("trained-twice", make)
    shutil.copytree(made / "home", trained_home, dirs_exist_ok=True)
    return (made / "version").read_text()


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ((), "http://127.0.0.1:{}"),
        (("--url", "http://localhost:{}"), "http://localhost:{}"),
    ],
    ids=["the address of the environment", "another"],
)
def test_a_replay_without_a_service_says_where_none_answers(
    options: tuple[str, ...], url: str, trained_home: Path, bikes_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    environment = {"EVERGREEN_HOME": str(trained_home), "EVERGREEN_BIND": f"0.0.0.0:{port}"}

    code = run(["replay", str(bikes_file), str(bikes_file.with_name("live.csv.gz")), *(o.format(port) for o in options)], environment)

    assert (code, capsys.readouterr().err.startswith(f"error: no service answers at {url.format(port)} (")) == (1, True)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(call: Call, verb: str) -> None:
    outcome = call(verb, "--help")

    assert outcome.code == 0
    assert "Example: evergreen" in outcome.out


def test_a_wrong_call_is_exit_code_2_without_a_traceback(call: Call) -> None:
    outcome = call("promote")

    assert outcome.code == 2
    assert "Missing argument" in outcome.err


def test_a_refusal_is_one_sentence_and_exit_code_1(call: Call) -> None:
    outcome = call("promote", "nope")

    assert outcome.code == 1
    assert outcome.err == "error: bikes has no version 'nope'\n"


def test_a_home_without_models_says_how_to_begin(call: Call, tmp_path: Path) -> None:
    outcome = call("versions", home=tmp_path / "empty")

    assert outcome.code == 1
    assert "evergreen train model.yaml" in outcome.err


def test_an_unknown_model_is_refused_with_the_known_ones(call: Call) -> None:
    outcome = call("versions", "--model", "trams")

    assert outcome.code == 1
    assert "'trams'; there is bikes" in outcome.err


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


def test_a_test_message_says_whether_it_arrived(call: Call) -> None:
    with receiver([200, 500]) as hook:
        to = {"EVERGREEN_WEBHOOK_URL": hook.url, "EVERGREEN_WEBHOOK_SECRET": "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
        arrived, refused = call("notify", "--test", "--json", **to), call("notify", "--test", "--json", **to)
    nobody = call("notify", "--test")

    assert (arrived.code, arrived.json[0]["outcome"]) == (0, "delivered")
    assert (refused.code, refused.json[0]["outcome"]) == (1, f"{hook.url.removesuffix('/hook')} answered 500")
    assert [one.content["type"] for one in hook.got] == ["test", "test"]
    assert nobody.code == 1
    assert "EVERGREEN_WEBHOOK_URL" in nobody.err


def test_what_has_not_arrived_is_shown_by_notify_status_and_doctor(call: Call, trained_home: Path, second_version: str) -> None:
    before = call("notify", "--json")
    assert call("promote", second_version, "--why", "newer").code == 0
    journal = Journal(open_database(f"sqlite:///{trained_home / 'evergreen.db'}"))
    with closing(journal.outbox.database):
        old = Turn(datetime.now(UTC) - timedelta(hours=3))
        journal.outbox.route(old, ("webhook",))
        package = journal.outbox.claim(old, "webhook")
        assert package is not None
        journal.outbox.settle(old, "webhook", package, "http://x answered 500")
        with journal.outbox.database.write() as connection:
            connection.execute(outbox.update().values(created_us=old.now_us))

    listed, [status] = call("notify", "--json").json, call("status", "--json").json
    [check] = [one for one in call("doctor", "--json").json if one["check"] == "messages"]

    assert before.json == []
    assert [(one["type"], one["deliveries"]) for one in listed] == [("model.promoted", "webhook waiting: http://x answered 500")]
    assert status["messages"].startswith("1 not delivered to the webhook since ")
    assert status["messages"].endswith("(http://x answered 500)")
    assert check["state"] == "warning"
    assert status["messages"] in check["detail"]


def test_status_says_what_is_served_and_what_the_loop_does(call: Call) -> None:
    status = call("status", "--json").json[0]

    assert status["model"] == "bikes"
    assert status["loop"] == "acts"
    assert status["rows"] == 0
    assert status["next_look"] == "within 7d (model time) of the first row that is newer than what the champion learned from"
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


def test_show_writes_the_page_of_the_card_that_was_signed(call: Call, trained_home: Path, tmp_path: Path) -> None:
    [path] = trained_home.rglob("artifacts/*/*/card.html")

    outcome = call("show", "--html", tmp_path / "card.html", "--json")

    assert outcome.json["bytes"] == path.stat().st_size
    assert (tmp_path / "card.html").read_bytes() == path.read_bytes()


def test_no_page_is_written_of_a_version_that_was_changed(call: Call, trained_home: Path, tmp_path: Path) -> None:
    [path] = trained_home.rglob("artifacts/*/*/card.html")
    path.chmod(0o600)
    path.write_text("a better model")

    outcome = call("show", "--html", tmp_path / "card.html")

    assert outcome.code == 1
    assert not (tmp_path / "card.html").exists()


@pytest.mark.parametrize("file", ["card.md", "manifest.json", "model.joblib", "signature"])
@pytest.mark.parametrize("options", [(), ("champion", "--json")], ids=["people", "programs"])
def test_show_prints_nothing_of_a_version_that_was_changed(call: Call, trained_home: Path, file: str, options: tuple[str, ...]) -> None:
    [path] = trained_home.rglob(f"artifacts/*/*/{file}")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"bikes", b"trams") + b"\n# a better model\n")

    outcome = call("show", *options)

    assert outcome.code != 0
    assert "trams" not in outcome.out
    assert "better" not in outcome.out
    assert outcome.err


def test_verdicts_are_empty_before_the_first_slot(call: Call) -> None:
    assert call("verdicts", "--json").json == []


def test_predictions_for_a_table_need_no_server(call: Call, bikes_file: Path, tmp_path: Path) -> None:
    outcome = call("predict", bikes_file.parent / "live.csv.gz", "-o", tmp_path / "out.parquet", "--json")

    table = pd.read_parquet(tmp_path / "out.parquet")
    assert outcome.json["rows"] == len(table) == 20 * 56
    assert set(table["prediction"]) == {"true", "false"}
    assert table["probability_true"].between(0, 1).all()


def test_a_table_that_breaks_the_schema_is_refused_row_by_row(call: Call, bikes_file: Path, tmp_path: Path) -> None:
    table = pd.read_csv(bikes_file.parent / "live.csv.gz").head(3)
    table["docks"] = ["20", "many", "20"]
    table.to_csv(tmp_path / "rows.csv", index=False)

    outcome = call("predict", tmp_path / "rows.csv", "-o", tmp_path / "out.csv")

    assert outcome.code == 1
    assert "row 1, column 'docks': got 'many', wanted a whole number" in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(("level", "has_traceback"), [("INFO", False), ("debug", True)])
def test_an_unexpected_error_is_one_sentence_and_has_a_traceback_only_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, level: str, has_traceback: bool
) -> None:
    monkeypatch.setattr("monitoring.cli.main.Workbench", Mock(side_effect=ZeroDivisionError("by\nnothing")))

    code = run(["versions"], {"EVERGREEN_LOG_LEVEL": level})

    outcome = capsys.readouterr().err
    assert code == 1
    assert outcome.endswith("unexpected: ZeroDivisionError: by nothing; set EVERGREEN_LOG_LEVEL=DEBUG for the traceback\n")
    assert ("Traceback" in outcome) is has_traceback


def test_an_import_asks_before_it_unpickles(call: Call, bikes_file: Path, trained_home: Path) -> None:
    pipeline_file = next((trained_home / "artifacts" / "bikes").glob("*/model.joblib"))

    trusted = call("import", pipeline_file, "--schema", bikes_file, "--yes", "--json")

    assert trusted.json["alias"] == "challenger"
    assert "runs whatever code is in it" in trusted.err


@pytest.mark.parametrize("answer", ["", "\n", "n\n"], ids=["an empty input", "nothing", "no"])
def test_an_import_that_is_not_trusted_says_that_nothing_was_imported(
    call: Call, bikes_file: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))

    outcome = call("import", bikes_file, "--schema", bikes_file)

    assert outcome.code == 1
    assert outcome.err.endswith(f"error: {bikes_file} was not imported: say y when you are asked, or --yes, if you trust it\n")
    assert len(call("versions", "--json").json) == 1


def test_ctrl_c_at_the_question_ends_the_import(call: Call, bikes_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.termui.visible_prompt_func", Mock(side_effect=KeyboardInterrupt))

    outcome = call("import", bikes_file, "--schema", bikes_file)

    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == "stopped"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("train", "{}"), id="train"),
        pytest.param(("import", "{}", "--schema", "{}", "--yes"), id="import"),
        pytest.param(("predict", "{}", "-o", "out.csv"), id="predict"),
        pytest.param(("label", "--file", "{}"), id="label"),
        pytest.param(("up", "{}"), id="up"),
        pytest.param(("replay", "{}", "{}"), id="replay"),
    ],
)
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("nope.yaml", "there is no file {}", id="not there"),
        pytest.param("folder", "{} is a folder; a file is wanted", id="a folder"),
        pytest.param("plain/nope.yaml", "{}: Not a directory", id="below a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_with_its_name(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], name: str, sentence: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").touch()

    outcome = call(*(argument.format(tmp_path / name) for argument in arguments))

    assert (outcome.code, outcome.err) == (1, f"error: {sentence.format(tmp_path / name)}\n")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nope.csv", "there is no file {}"),
        ("plain/nope.csv", "{}: Not a directory"),
        ("folder", "the table {} cannot be read: a folder without Parquet"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence_with_its_name(call: Call, tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").touch()

    outcome = call("init", tmp_path / name, "--target", "y", "--out", tmp_path / "model.yaml")

    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith(f"error: {sentence.format(tmp_path / name)}")


def test_an_import_of_something_else_is_one_sentence(call: Call, bikes_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"not a pickle")

    outcome = call("import", tmp_path / "model.joblib", "--schema", bikes_file, "--yes")

    assert outcome.code == 1
    assert "cannot be loaded" in outcome.err


def test_keys_are_made_listed_and_revoked(call: Call) -> None:
    made = call("keys", "create", "--name", "shop", "--scope", "predict", "--json").json
    call("keys", "create", "--name", "desk", "--scope", "read")
    call("keys", "revoke", "shop")

    assert made["key"].startswith("eg_")
    assert [key["name"] for key in call("keys", "list", "--json").json] == ["desk"]


def test_the_home_can_be_named_on_the_command_line(call: Call, trained_home: Path, tmp_path: Path) -> None:
    outcome = call("--home", trained_home, "versions", "--json", home=tmp_path / "elsewhere")

    assert len(outcome.json) == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("verb", ["check", "retrain"])
def test_what_asks_the_monitor_says_when_there_is_nothing_to_judge_by(call: Call, verb: str) -> None:
    outcome = call(verb)

    assert outcome.code == 1
    assert "no row was logged yet" in outcome.err


def test_what_asks_the_monitor_says_when_none_runs(call: Call, trained_home: Path) -> None:
    bench = Workbench({"EVERGREEN_HOME": str(trained_home)})
    bench.log.prepare()
    with bench.database.write() as connection:
        lock_clock(connection, "bikes")
    bench.log.set_watermark("bikes", 1_700_000_000_000_000)
    bench.close()

    outcome = call("check")

    assert outcome.code == 1
    assert "no monitor is running" in outcome.err


@pytest.mark.parametrize("verb", ["status", "versions", "ledger", "verdicts", "show", "check", "pause", "up"])
def test_a_mistyped_home_is_named_and_not_made(call: Call, tmp_path: Path, verb: str) -> None:
    outcome = call(verb, home=tmp_path / "mistyped")

    assert outcome.code == 1
    assert f"there is no database {tmp_path / 'mistyped' / 'evergreen.db'}" in outcome.err
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("verb", ["status", "train", "up"])
def test_a_database_that_is_gone_is_not_made_again(call: Call, trained_home: Path, bikes_file: Path, verb: str) -> None:
    (trained_home / "evergreen.db").unlink()

    outcome = call(verb, *([] if verb == "status" else [bikes_file]))

    assert outcome.code == 1
    assert f"the database {trained_home / 'evergreen.db'} is gone" in outcome.err
    assert not (trained_home / "evergreen.db").exists()


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_tampered_version_is_not_promoted(call: Call, trained_home: Path, second_version: str, force: list[str]) -> None:
    model = trained_home / "artifacts" / "bikes" / second_version / "model.joblib"
    model.write_bytes(model.read_bytes() + b"x")

    outcome = call("promote", second_version, *force)

    assert outcome.code == 1
    assert [version["alias"] for version in call("versions", "--json").json] == ["champion", "challenger"]


def test_a_tampered_version_is_not_rolled_back_to(call: Call, trained_home: Path, second_version: str) -> None:
    first = call("versions", "--json").json[0]["version"]
    call("promote", second_version)
    model = trained_home / "artifacts" / "bikes" / first / "model.joblib"
    model.write_bytes(model.read_bytes() + b"x")

    outcome = call("rollback")

    assert outcome.code == 1
    assert call("show", "champion", "--json").json["version"] == second_version


@pytest.fixture
def clocked(trained_home: Path) -> Iterator[Workbench]:
    """A home whose model time somebody moved to 2035, with slots judged up to then."""
    bench = Workbench({"EVERGREEN_HOME": str(trained_home)})
    bench.log.prepare()
    with bench.database.write() as connection:
        lock_clock(connection, "bikes")
    bench.log.set_watermark("bikes", to_us(datetime(2035, 8, 16, tzinfo=UTC)))
    for year in (2024, 2026, 2034):
        run = bench.journal.begin_run(Turn(bench.now()), "bikes", TICK, to_us(datetime(year, 1, 1, tzinfo=UTC)))
        assert run is not None
        bench.journal.finish_run(Turn(bench.now()), run.run_id, {})
    yield bench
    bench.close()


def test_model_time_can_be_set_back_and_the_slots_behind_it_come_again(call: Call, clocked: Workbench) -> None:
    outcome = call("resume", "--set-clock", "2026-03-05T12:00", "--why", "somebody walked away with it")

    line = clocked.registry.ledger("bikes", 2)[1]
    again = clocked.journal.begin_run(Turn(clocked.now()), "bikes", TICK, to_us(datetime(2034, 1, 1, tzinfo=UTC)))
    assert "model time is 2026-03-05 12:00" in outcome.out
    assert clocked.log.watermark("bikes") == to_us(datetime(2026, 3, 5, 12, tzinfo=UTC))
    assert (line.action, line.why) == ("clock", "somebody walked away with it")
    assert dict(line.evidence) == {
        "model_time": "2026-03-05T12:00:00+00:00",
        "before": "2035-08-16T00:00:00+00:00",
        "slots_taken_back": 1,
    }
    assert again is not None
    assert [run.slot_us for run in clocked.journal.runs("bikes", TICK)][1] == to_us(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set-clock", "soon"), "'soon' is no model time"),
        (("--set-clock", "2026-03-05", "--advance-clock"), "--advance-clock or --set-clock"),
    ],
)
def test_a_model_time_that_cannot_be_meant_is_a_sentence(call: Call, clocked: Workbench, options: tuple[str, ...], words: str) -> None:
    outcome = call("resume", *options)

    assert (outcome.code != 0, words in outcome.err) == (True, True)
    assert clocked.log.watermark("bikes") == to_us(datetime(2035, 8, 16, tzinfo=UTC))


def test_two_tables_are_compared_and_what_moved_is_a_sentence(call: Call, tmp_path: Path) -> None:
    pd.DataFrame({"wind": range(500), "town": ["a", "b"] * 250}).assign(wind=lambda t: t.wind % 50).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"wind": range(500), "town": ["a"] * 500}).assign(wind=lambda t: t.wind % 50).to_csv(tmp_path / "b.csv", index=False)

    people, program = (
        call("compare", tmp_path / "a.csv", tmp_path / "b.csv"),
        call("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--json"),
    )

    assert people.code == 0
    assert "1 of 2 columns moved from A to B (A 500 rows, B 500)" in people.out
    assert program.json["moved"] == ["town"]
    assert program.json["columns"][0]["psi"] > program.json["columns"][0]["psi_band"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["a.csv"], 1, "there is no file a.csv"),
        ([], 2, "give two tables A and B"),
        (["--from", "2026-01-01"], 2, "give two tables A and B"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], 1, "a window ends after it begins"),
        (["--from", "x", "--to", "2026-01-01"], 1, "'x' is no model time"),
        (["--from", "2026-01-01", "--to", "2026-01-02"], 1, "no row of bikes is counted from 2026-01-01 00:00 to 2026-01-02 00:00"),
    ],
)
def test_compare_says_what_it_wants(call: Call, arguments: list[str], code: int, sentence: str) -> None:
    outcome = call("compare", *arguments)

    assert outcome.code == code
    assert sentence in outcome.err


def test_a_quarantine_is_listed_and_released_once_with_who_and_why(call: Call, trained_home: Path) -> None:
    bench = Workbench({"EVERGREEN_HOME": str(trained_home)})
    bench.journal.add_quarantine(Turn(datetime(2026, 1, 2, tzinfo=UTC)), "bikes", 0, 86_400_000_000, "constant wind", slot_us=5)
    bench.close()

    before = call("quarantine", "list", "--json").json
    unknown = call("quarantine", "release", "1970-01-02T00:00")
    within = call("quarantine", "release", "1970-01-01T12:00")
    no_time = call("quarantine", "release", "yesterday")
    done = call("quarantine", "release", "1970-01-01", "--why", "it is so now")
    again = call("quarantine", "release", "1970-01-01T00:00")
    (after,) = call("quarantine", "list", "--json").json

    assert [(one["span"], one["state"], one["reason"]) for one in before] == [("1970-01-01T00:00", "in force", "constant wind")]
    assert (unknown.code, within.code, no_time.code, done.code, again.code) == (1, 1, 1, 0, 1)
    assert unknown.err == "error: bikes has no quarantine that begins at 1970-01-02T00:00; in force: 1970-01-01T00:00\n"
    assert within.err.endswith("in force: 1970-01-01T00:00; that time lies in the one of 1970-01-01T00:00\n")
    assert "'yesterday' is no model time" in no_time.err
    assert again.err.startswith("error: the quarantine of bikes that begins at 1970-01-01T00:00 was released already, by ")
    assert again.err.endswith("(it is so now)\n")
    assert (after["state"], after["why"]) == ("released", "it is so now")
    assert call("ledger", "--json", "--limit", "1").json[0]["action"] == "release"
