"""Answers for rows that were held out: kept small, spread over the rows, and read as they were."""

from __future__ import annotations

import numpy as np
import pytest

from training.artifacts.held_out import MOST_NUMBERS, MOST_ROWS, held_out_content, read_held_out
from training.errors import ArtifactError
from training.json_text import from_text, to_bytes
from training.schema.prediction import Prediction


def test_of_many_rows_so_many_are_kept_from_the_first_to_the_last() -> None:
    places, prediction = read_held_out(held_out_content(Prediction(np.arange(20_000.0)), 100_000))

    assert len(places) == MOST_ROWS
    assert (places[0], places[-1]) == (80_000, 99_999)
    assert (prediction.label == places - 80_000).all()


def test_of_many_classes_fewer_rows_are_kept() -> None:
    classes = tuple(f"c{n}" for n in range(100))
    label = np.array(["c0"] * 4_000, object)

    content = held_out_content(Prediction(label, np.full((4_000, 100), 0.01), classes), 4_000)

    assert len(content["rows"]) == MOST_NUMBERS // 100


def test_classes_are_read_as_they_were_written() -> None:
    answers = Prediction(np.array(["no", "yes"], object), np.array([[0.75, 0.25], [0.125, 0.875]]), ("no", "yes"))

    places, read = read_held_out(from_text(to_bytes(held_out_content(answers, 10))))

    assert places.tolist() == [8, 9]
    assert read.classes == ("no", "yes")
    assert read.label.tolist() == ["no", "yes"]
    assert read.probability is not None
    assert read.probability.tolist() == [[0.75, 0.25], [0.125, 0.875]]


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(ArtifactError, match="format 9, wanted 1"):
        read_held_out({"v": 9})
