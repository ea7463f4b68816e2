from collections.abc import Callable

import pytest

from tests.training.runs import Run
from training.cards.page import importance_section
from training.evaluation.importance import Importance, Importances

pytestmark = pytest.mark.xdist_group("runs")


def test_the_card_tells_scores_segments_rungs_and_data(run_of: Callable[[str], Run]) -> None:
    card = (run_of("binary").result.artifact.path / "card.md").read_text()

    assert "| **log_loss** | lower |" in card
    assert "## By c" in card
    assert "Rung 1: 480 rows" in card
    assert "600 rows from 2024-01-01" in card


@pytest.mark.parametrize(
    ("task", "drawn"),
    [
        ("binary", ["Calibration", "ROC of ", "Score by class", "True classes against answers"]),
        ("multiclass", ["Calibration", "ROC of ", "True classes against answers"]),
        ("regression", ["Predicted and true", "Residuals"]),
    ],
    ids=["binary", "multiclass", "regression"],
)
def test_the_page_of_the_card_is_part_of_the_version_and_has_the_figures_of_the_card(
    task: str, drawn: list[str], run_of: Callable[[str], Run]
) -> None:
    run = run_of(task)

    page = (run.loaded().path / "card.html").read_text()

    score = run.result.metrics[run.spec.metric]
    assert "card.html" in run.result.artifact.manifest.files
    assert f">{score.value:.4g}</td>" in page
    assert f">{score.low:.4g} to {score.high:.4g}</td>" in page
    assert [title for title in drawn if title not in page] == []
    assert "calibration: " in page
    assert "Rung 1: 480 rows" in page
    assert "<script" not in page
    assert len(page.encode()) <= 300_000


def test_the_page_of_the_card_says_in_plain_words_how_often_it_is_right(run_of: Callable[[str], Run]) -> None:
    result = run_of("binary").result

    page = (result.artifact.path / "card.html").read_text()

    right, guess = (round(1000 * result.evaluation["accuracy"].value), round(1000 * result.baseline["accuracy"].value))
    assert f"Of 1,000 such rows it answers about {right} right; the constant guess {guess}." in page
    assert run_of("regression").loaded().report["curves"]["off"][0] > 0


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_page_draws_what_the_answers_go_by_with_a_table_beside(task: str, run_of: Callable[[str], Run]) -> None:
    run = run_of(task)

    known = run.loaded().report["importance"]
    page = (run.loaded().path / "card.html").read_text()

    assert known["metric"] == run.spec.metric
    assert {one["column"] for one in known["columns"]} == {feature.name for feature in run.spec.schema.features}
    assert known["columns"] == sorted(known["columns"], key=lambda one: -one["value"])
    assert all(one["low"] <= one["value"] <= one["high"] for one in known["columns"])
    assert f"{run.spec.metric} gets worse on {known['rows']:,} held-out rows" in page
    assert f"{known['columns'][0]['value']:.3g}"[:4] in page


def test_a_version_of_which_nothing_is_known_says_why_and_one_from_before_draws_nothing() -> None:
    known = Importances("log_loss", of=3, missing="asked again it fails: ValueError: no such row")

    drawn = importance_section(known)

    assert importance_section(None) == ""
    assert "Not known: asked again it fails: ValueError: no such row." in drawn


def test_columns_that_share_what_they_say_are_named_and_of_many_how_many_are_drawn() -> None:
    columns = tuple(Importance(f"<x{place}>", 0.3 - place / 100, 0.2 - place / 100, 0.4 - place / 100) for place in range(20))
    known = Importances("mae", 500, 300, columns, (("<x0>", "<x4>"),))

    drawn = importance_section(known)

    assert "&lt;x0&gt; and &lt;x4&gt; are alike: shuffled alone, each of them seems weaker than they are together." in drawn
    assert "the strongest 20 of 300 columns" in drawn
    assert "<x0>" not in drawn
    assert [f"&lt;x{place}&gt;</td>" in drawn for place in range(20)] == [True] * 20
