"""The table of drills is whole: each alert is drilled, and each row filled by what the drills measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.drill_table import PAGE, filled, rows

TESTS = Path(__file__).parent
TEXT = PAGE.read_text()
RULES = yaml.safe_load((TESTS.parent / "monitoring" / "prometheus" / "rules.yml").read_text())["groups"]
ALERTS = {rule["alert"] for group in RULES for rule in group["rules"] if "alert" in rule}
IN_TABLE = [row[0].strip("`") for row in rows(TEXT)]
LINE = '{"alert": "EvergreenBlind", "fires": 99.4, "ends": 7.0, "spared": []}'


def test_each_alert_is_drilled() -> None:
    assert sorted(IN_TABLE) == sorted(ALERTS)


def test_each_row_has_a_drill_that_waits_for_its_alert_and_each_drill_a_row() -> None:
    drills = "".join(path.read_text() for path in (TESTS / "end_to_end").glob("test_drills*.py"))

    assert sorted(re.findall(r'wait_for\("(\w+)"\)', drills)) == sorted(IN_TABLE)


def test_figures_stand_in_the_row_of_their_alert_and_the_others_stay() -> None:
    after = {row[0]: row for row in rows(filled(TEXT, [LINE]))}

    assert after["`EvergreenBlind`"][2:] == ["99 s", "7 s", "nothing"]
    assert [row for name, row in after.items() if name != "`EvergreenBlind`"] == [row for row in rows(TEXT) if row[0] != "`EvergreenBlind`"]


def test_figures_without_a_row_are_refused() -> None:
    with pytest.raises(LookupError, match="no row of the table is called EvergreenNothing"):
        filled(TEXT, [LINE.replace("Blind", "Nothing")])
