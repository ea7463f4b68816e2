"""The report of a back-test: every drawing has a title, a sentence and a table; nothing in it runs, whatever things are called."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest

from monitoring.backtest.backtest import Backtest, Move
from monitoring.backtest.living import Trained
from monitoring.backtest.page import page_of
from monitoring.backtest.scoring import Score
from training.evaluation.gate import Difference

EVIL = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\x00|\n"
DAY_US = 86_400_000_000
LOSSES = (0.5, 0.6, math.nan, 0.4)


def score(policy: str, loss: float, low: float | None = None) -> Score:
    gain = None if low is None else Difference(low + 0.1, low, low + 0.2, 400, 25, 0.025)
    figures = (3, 1.5, 2, 1, 0, 1, 0, 2, 1)
    losses = tuple(loss / 0.5 * one for one in LOSSES)
    block = "retraining:\n  schedule: 21d\n" if low is not None and low > 0 else ""
    return Score(policy, f"what {policy} does", loss, loss, 100 * (loss / 0.4 - 1), 0.5, *figures, gain, losses, block)


def done(name: str = "rain") -> Backtest:
    trainings = (Trained(DAY_US, "performance", "promoted", 1.5, 0.5, 0.4), Trained(2 * DAY_US, "schedule", "", 0.0, math.nan, math.nan))
    return Backtest(
        model=name,
        loss="log_loss",
        first_rows=100,
        live_rows=400,
        starts_us=tuple(day * DAY_US for day in range(4)),
        ends_us=4 * DAY_US,
        scores=(score("yours", 0.5), score("never", 0.7, -0.3), score("every3-all", 0.45, 0.01), score("hindsight", 0.4)),
        trainings={"yours": trainings},
        moves={"yours": (Move(DAY_US, "promoted", name),)},
        notes=(f"a note of {name}",),
    )


def page(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>|<meta[^>]*>", "", html))


@pytest.mark.parametrize("name", ["rain", EVIL])
def test_nothing_in_it_runs_or_is_fetched(name: str) -> None:
    root = page(page_of(done(name)))

    assert not [one.tag for one in root.iter() if one.tag in ("script", "img", "link", "iframe", "object")]
    assert not [key for one in root.iter() for key in one.attrib if key.startswith("on") or key == "src"]


def test_every_drawing_has_a_title_a_sentence_and_a_table() -> None:
    root = page(page_of(done()))

    figures = list(root.iter("figure"))
    assert len(figures) == 5
    assert all(one.find("figcaption/b").text and one.find("figcaption/span").text for one in figures)  # type: ignore[union-attr]
    assert all(list(one.iter("table")) and one.find("svg/title") is not None for one in figures)


def test_what_is_to_be_pasted_stands_where_a_policy_is_surely_better_and_only_there() -> None:
    html = page_of(done())
    none = page_of(replace(done(), scores=(score("yours", 0.5), score("never", 0.7, -0.3))))

    assert unescape("".join(page(html).find(".//pre").itertext())) == "retraining:\n  schedule: 21d\n"  # type: ignore[union-attr]
    assert "<pre>" not in none
    assert "No policy is surely better" in none


def test_its_figures_are_those_of_the_scores() -> None:
    table = next(page(page_of(done())).iter("table"))

    cells = [["".join(cell.itertext()) for cell in row.iter("td")] for row in table.iter("tr")][1:]
    assert cells[2] == ["every3-all", "what every3-all does", "0.45", "+12.5 %", "50%", "3", "2", "2", "0", "1", "1", "2", "1"]
