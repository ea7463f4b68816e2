"""Why a prediction, a version, a verdict is as it is: what was recorded is read, and comes to what was done."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from monitoring.errors import InputError
from monitoring.explaining.decisions import ChosenRows, retrained, weighings
from monitoring.explaining.uses import RowTimes, judged_in, learned_in, weighed_in
from monitoring.explaining.why import why
from monitoring.journal.leases import Turn
from monitoring.stores import Stores, open_stores
from service.prediction_log.ids import IdMinter
from tests.conftest import Once
from tests.monitoring.world import A_DAY, DAY_US, MANY, make_world, weather
from training.artifacts.signing import load_or_make_key
from training.clock import from_us
from training.model_file.model_spec import ModelSpec, parse_spec
from training.settings import Home

pytestmark = pytest.mark.xdist_group("explained")
GROWS = (
    MANY.replace("budget: 2 fits", "budget: 2 fits, window: 20d")
    .replace("  cool_down: 14d\n  budget_per_week: 3\n", "  schedule: 14d\n  budget_per_week: 50\n")
    .replace("  gate: {rows: 200, min_train_rows: 100}\n", "")
)
SPOOL = "00000000aa"
QUARANTINED, WITHOUT_LABEL = 73, 75 * DAY_US  # a day; the first row of another


@pytest.fixture(scope="module")
def lived(once: Once) -> Path:
    """A home in which a version grew twice, with a day that was quarantined, and a row without a label; only to be read."""

    def live(folder: Path) -> None:
        world = make_world(folder, GROWS)
        world.spool, world.minter = SPOOL, IdMinter(load_or_make_key(world.stores.home.ids_key))
        start_us = QUARANTINED * DAY_US
        turn = Turn(world.machine_now)
        world.stores.journal.add_quarantine(turn, "rain", start_us, start_us + DAY_US, "by hand", slot_us=start_us)
        rows, watch = weather(1, 60, 30), world.monitor()
        labelled = rows.time_us != WITHOUT_LABEL
        for day in range(60, 90):
            world.label(rows.take(labelled).between((day - 1) * DAY_US, day * DAY_US))
            world.log(rows.between(day * DAY_US, (day + 1) * DAY_US))
            if day % 7 == 0:  # the slot of the week before has passed
                world.settle(watch)
        world.close()

    return once("explained", live)


@pytest.fixture
def bench(lived: Path) -> Iterator[Workbench]:
    bench = Workbench({"EVERGREEN_HOME": str(lived / "home")})
    yield bench
    bench.close()


@pytest.fixture
def stores(bench: Workbench) -> Stores:
    return Stores(bench.home, bench.database, bench.registry, bench.log, bench.journal)


@pytest.fixture
def spec() -> ModelSpec:
    return parse_spec(GROWS)


def of_day(day: float, bench: Workbench) -> dict[str, Any]:
    """Explain the row that came at a time, in days, by the id that its caller gave it."""
    return why(bench, "rain", str(int(day * DAY_US)))


def test_a_prediction_leads_to_the_promotion_that_it_helped_decide(bench: Workbench) -> None:
    known = of_day(65, bench)
    judged = [one for one in known["decisions"] if one["decision"] == "retraining" and one["gate"]["code"] == "used"]

    promotion = why(bench, "rain", judged[0]["version"])["decisions"][0]
    rows = promotion["rows"]

    assert [(one["slot"], one["outcome"]) for one in judged] == [(from_us(70 * DAY_US), "promoted")]
    assert (promotion["action"], promotion["version"]) == ("promote", judged[0]["version"])
    assert rows["judged"]["from_us"] <= 65 * DAY_US <= rows["judged"]["through_us"]
    assert (
        rows["learned"]["rows"] == rows["judged"]["rows"] + int((20 - 69 + 62) * A_DAY) or rows["learned"]["rows"] > rows["judged"]["rows"]
    )
    assert len(rows["learned"]["fingerprint"]) == 64
    assert [one["name"] for one in promotion["numbers"]][:2] == ["rows judged", "gain, upper bound"]
    assert all(one["value"] >= one["turns_at"] for one in promotion["numbers"][:2])
    assert known["in_short"].startswith(f"the gate of 1970-03-12 00:00 judged by it: {judged[0]['version']} was promoted; ")


def test_it_leads_to_who_answered_to_the_label_and_to_those_who_learned_from_it(bench: Workbench) -> None:
    known = of_day(78, bench)

    learned = [(one["slot"], one["outcome"]) for one in known["decisions"] if one["decision"] == "retraining"]
    assert known["members"] == [member.to_dict() for member in bench.registry.version("rain", known["version"]).members]
    assert len(known["members"]) > 1
    assert known["label"] in ("yes", "no")
    assert known["labelled"] - known["predicted"] == timedelta(days=1) - timedelta(minutes=36)
    assert learned == [(from_us(84 * DAY_US), "promoted")]
    assert known["decisions"][0]["training"]["reason"].startswith("one of ")


@pytest.mark.parametrize(
    ("day", "code", "in_short"),
    [
        (QUARANTINED + 0.5, "quarantined", "nothing used it: quarantined: 1970-03-15 00:00 to 1970-03-16 00:00"),
        (WITHOUT_LABEL / DAY_US, "no_label", "nothing used it: it has no label"),
        (83.5, "not_matured", "nothing used it: not mature then: rows before 1970-03-25 00:00 were"),
    ],
)
def test_it_says_why_nothing_used_a_row(bench: Workbench, day: float, code: str, in_short: str) -> None:
    known = of_day(day, bench)

    codes = {one["training"]["code"] for one in known["decisions"] if one["decision"] == "retraining"}
    assert code in codes
    assert "used" not in codes
    assert known["in_short"] == in_short


def test_a_row_out_of_the_window_was_learned_from_before_and_not_again(bench: Workbench) -> None:
    trainings = [one["training"]["code"] for one in of_day(61, bench)["decisions"] if one["decision"] == "retraining"]

    assert trainings == ["used", "sampled_out"]


def test_of_a_row_that_no_slot_has_passed_it_says_so(bench: Workbench) -> None:
    assert of_day(89, bench)["in_short"] == "nothing used it: no slot was judged since it was predicted"


def test_what_is_said_of_all_rows_is_what_was_done(stores: Stores, spec: ModelSpec) -> None:
    windows = stores.windows(spec)
    logged = stores.log.rows("rain", 0, 90 * DAY_US, spec.schema)
    rows = [
        RowTimes(at, None if label < 0 else label)
        for at, label in zip(logged.rows.time_us.tolist(), logged.labelled_us.tolist(), strict=True)
    ]
    asked = [ChosenRows(stores, spec, name, row.event_us) for name, row in zip(logged.ids, rows, strict=True)]

    trainings = retrained(stores, "rain")
    learned = [Counter(learned_in(row, one.training, lambda: True).code for row in rows)["used"] for one in trainings]
    judged = [Counter(judged_in(row, one.training, lambda: True).code for row in rows)["used"] for one in trainings]
    first = next(one for one in weighings(stores, "rain", 76 * DAY_US) if one.evidence is not None)
    weighed = [weighed_in(row, first.slot_us, first.evidence, lambda: True).code for row in rows]
    of_the_log = [windows.labelled_times(60 * DAY_US, one.plan.log_end_us, one.plan.known_by_us, one.plan.aside) for one in trainings]

    assert len(trainings) == 2
    assert learned[1] == trainings[1].run.result["rows"]
    assert learned[0] == len(of_the_log[0]) < trainings[0].run.result["rows"]  # the others are of the history
    assert judged == [one.training.evidence["judged"]["rows"] for one in trainings]
    assert Counter(weighed)["used"] == first.evidence["rows"]
    assert [each.learned(trainings[1]) for each in asked[200:900:200]] == [
        learned_in(row, trainings[1].training, lambda: True).is_used for row in rows[200:900:200]
    ]
    assert [each.judged(trainings[1]) for each in asked[200:960:120]] == [
        judged_in(row, trainings[1].training, lambda: True).is_used for row in rows[200:960:120]
    ]
    assert [each.weighed(first.evidence) for each in asked[0:1000:200]] == [code == "used" for code in weighed[0:1000:200]]


def test_of_a_prediction_that_was_forgotten_it_says_that(lived: Path, tmp_path: Path) -> None:
    shutil.copytree(lived, tmp_path, dirs_exist_ok=True)
    home = Home(tmp_path / "home")
    opened = open_stores(home, f"sqlite:///{home.database}")
    minter = IdMinter(load_or_make_key(home.ids_key))
    first = f"{minter.mint(0, spool=SPOOL, seq=0, n_rows=A_DAY)}-3"
    was_there = opened.log.prediction(first) is not None
    opened.log.retain("rain", 62 * DAY_US, machine_now=from_us(0))
    opened.close()
    bench = Workbench({"EVERGREEN_HOME": str(home.path)})

    known = why(bench, "rain", first)
    to_come = why(bench, "rain", f"{minter.mint(0, spool=SPOOL, seq=5000, n_rows=1)}-0")
    bench.close()

    assert was_there
    assert (known["code"], to_come["code"]) == ("forgotten", "not_logged_yet")
    assert known["in_short"].endswith("the oldest row that is left is of 1970-03-04 00:00")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nobody", "nothing of rain is called 'nobody'; wanted a version"),
        ("1970-01-01", "rain has no slot at 1970-01-01: the nearest are 1970-03-05T00:00:00+00:00, 1970-03-12T00:00:00+00:00"),
        ("roll_back", "no slot of rain had the verdict roll_back; its verdicts: "),
        ("1970-03-15T00:00-labels", "rain has no quarantine 1970-03-15T00:00-labels; there is 1970-03-15T00:00"),
        ("1970-13-01", "'1970-13-01' is no time"),
        ("challenger", "rain has no challenger"),
    ],
)
def test_what_is_not_there_is_one_sentence(bench: Workbench, name: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        why(bench, "rain", name)

    assert str(caught.value).startswith(sentence)


def test_a_slot_has_its_verdict_its_numbers_and_what_came_of_it(bench: Workbench) -> None:
    known = why(bench, "rain", "1970-03-12")

    assert known["kind"] == "verdict"
    assert (known["slot"], known["verdict"], known["outcome"]) == (from_us(70 * DAY_US), "retrain", "promoted")
    assert [one["action"] for one in known["decisions"]][-1] == "promote"
    assert why(bench, "rain", "1970-03-12 00:00")["slot"] == known["slot"]
    assert why(bench, "rain", "retrain")["slot"] == from_us(84 * DAY_US)


def test_a_quarantine_is_found_by_its_name(bench: Workbench) -> None:
    known = why(bench, "rain", "1970-03-15T00:00")

    assert (known["kind"], known["reason"], known["state"]) == ("quarantine", "by hand", "in force")


def test_a_version_says_from_which_rows_it_was_made_and_weighed(bench: Workbench) -> None:
    reweighed = bench.registry.last_line("rain", "reweigh")
    assert reweighed is not None

    known = why(bench, "rain", str(reweighed.version))
    weighing = known["decisions"][-1]

    assert known["made"].startswith(f"weighed anew from {reweighed.previous}")
    assert [one["action"] for one in known["decisions"]] == ["promote", "reweigh"]
    assert weighing["numbers"][0]["value"] > weighing["numbers"][0]["turns_at"] == 0.01
    assert weighing["rows"]["quarantined"] == [[QUARANTINED * DAY_US, (QUARANTINED + 1) * DAY_US]]
    assert weighing["evidence"]["seconds"]["weighing"] > 0


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("champion", "version", "by these numbers"),
        ("1970-03-12", "verdict", "asked for by schedule"),
        ("1970-03-15T00:00", "quarantine", "by hand"),
        (str(65 * DAY_US), "prediction", "gate of a growth (all)"),
    ],
)
def test_people_and_programs_are_answered(lived: Path, name: str, kind: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"EVERGREEN_HOME": str(lived / "home")}

    of_people = run(["why", name], environment), capsys.readouterr().out
    of_programs = run(["why", name, "--json"], environment), capsys.readouterr().out

    assert of_people[0] == 0
    assert words in of_people[1]
    assert of_programs[0] == 0
    assert json.loads(of_programs[1])["kind"] == kind
