"""What `evergreen up` shows to paste: sent while the log is empty, never in the way of serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.terminal import Screen
from monitoring.up import try_first
from monitoring.workbench import Workbench
from service.prediction_log import PredictionLog

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def bench(trained_home: Path) -> Iterator[Workbench]:
    bench = Workbench({"EVERGREEN_HOME": str(trained_home)})
    yield bench
    bench.close()


def test_requests_are_shown_but_not_sent_once_the_log_has_rows(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PredictionLog, "count", lambda self, model: 3)

    predict, labels = try_first(bench, "bikes", NOBODY, Screen(as_json=False))

    assert (predict.answer, labels.answer) == (None, None)
    assert set(predict.body["rows"][0]) >= {"district", "weather"}
    assert labels.body["labels"][0]["label"] in {True, False}


def test_a_sample_that_cannot_be_sent_is_one_line(bench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    samples = try_first(bench, "bikes", NOBODY, Screen(as_json=False))

    assert samples == []
    assert "no sample: " in capsys.readouterr().out


def test_a_champion_that_cannot_be_loaded_gives_no_sample(bench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    model = next(bench.home.artifacts.glob("bikes/*/model.joblib"))
    model.write_bytes(b"something else")

    samples = try_first(bench, "bikes", NOBODY, Screen(as_json=False))

    assert samples == []
    assert "no sample: " in capsys.readouterr().out
