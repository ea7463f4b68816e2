from collections.abc import Callable

import pytest

from tests.training.runs import Run

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
