"""The verbs that need no server, as a person or a program calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from monitoring.cli import run


@pytest.fixture
def leaking_file(bikes_file: Path, tmp_path: Path) -> Path:
    """The example's model file, with a feature that is the target."""
    table = pd.read_csv(bikes_file.parent / "history.csv.gz")
    table.assign(hindsight=table["runs_empty"].astype(float)).to_csv(tmp_path / "history.csv.gz", index=False)
    text = bikes_file.read_text().replace("  features:\n", "  features:\n    hindsight: {kind: numeric}\n")
    (tmp_path / "leaking.yaml").write_text(text)
    return tmp_path / "leaking.yaml"


def test_a_table_without_rows_is_refused_in_a_sentence(
    trained_home: Path, bikes_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    pd.read_csv(bikes_file.parent / "live.csv.gz").head(0).to_csv(table, index=False)

    code = run(["predict", str(table), "-o", str(out)], {"EVERGREEN_HOME": str(trained_home)})

    assert code == 1
    assert capsys.readouterr().err == f"error: {table} has no rows; there is nothing to predict\n"
    assert not out.exists()


def test_training_tells_people_what_looks_wrong_with_the_rows(
    leaking_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["train", str(leaking_file)], {"EVERGREEN_HOME": str(tmp_path / "home")})

    assert code == 0
    assert "warning: hindsight predicts the target alone" in capsys.readouterr().out


def test_training_tells_programs_what_looks_wrong_with_the_rows(
    leaking_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["train", str(leaking_file), "--json"], {"EVERGREEN_HOME": str(tmp_path / "home")})

    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any("hindsight predicts the target alone" in text for text in warnings)
