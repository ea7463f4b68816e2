"""The verbs that need no server, as a person or a program calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.cli.main import run
from training.dataset.dataset import read_table
from training.model_file.model_spec import load_spec


@pytest.fixture
def leaking_file(bikes_file: Path, tmp_path: Path) -> Path:
    """The example's model file, with a feature that is the target."""
    table = pd.read_csv(bikes_file.parent / "history.csv.gz")
    table.assign(hindsight=table["runs_empty"].astype(float)).to_csv(tmp_path / "history.csv.gz", index=False)
    text = bikes_file.read_text().replace("  features:\n", "  features:\n    hindsight: {kind: numeric}\n")
    (tmp_path / "leaking.yaml").write_text(text)
    return tmp_path / "leaking.yaml"


def test_a_reading_that_init_cannot_tell_is_shown_to_choose_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "rides.csv", tmp_path / "model.yaml"
    table.write_text("at,x,y\n" + "".join(f"{i % 12 + 1:02}/0{i % 9 + 1}/2026,{i % 7},{'yes' if i % 3 else 'no'}\n" for i in range(60)))
    command = ["init", str(table), "--target", "y", "--time", "at", "--out", str(out)]

    code = run(command, {})
    shown = capsys.readouterr().err
    refused = run(["train", str(out)], {"EVERGREEN_HOME": str(tmp_path / "home")})

    assert (code, refused) == (1, 1)
    assert 'time: {column: at, format: "%d/%m/%Y", clock: event}' in shown
    assert 'time: {column: at, format: "%m/%d/%Y", clock: event}' in shown
    assert "schema.time.format: 'choose' is none of" in capsys.readouterr().err


def test_init_takes_a_pattern_or_a_folder_as_the_model_file_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = tmp_path / "Rides"
    parts.mkdir()
    for part in range(3):
        cells = "".join(f"{i / 8},{'Zürich' if part == 2 else 'Bern'},{'yes' if i % 3 else 'no'}\n" for i in range(50))
        (parts / f"{part}.csv").write_text("x;c;y\n".replace(";", ",") + cells, encoding="cp1252")
    frame = pd.DataFrame({"x": np.arange(50) / 8, "y": ["yes", "no"] * 25})
    (tmp_path / "typed").mkdir()
    for part in range(2):
        frame.to_parquet(tmp_path / "typed" / f"{part}.parquet")
    out = tmp_path / "models" / "model.yaml"
    out.parent.mkdir()

    seen = {}
    for table in (parts / "*.csv", parts, tmp_path / "typed"):
        assert run(["init", str(table), "--target", "y", "--out", str(out), "--force"], {}) == 0, capsys.readouterr().err
        spec = load_spec(out)
        assert isinstance(spec.data, Path)
        seen[str(table.relative_to(tmp_path))] = (spec.model, len(read_table(spec.data, spec.schema, spec.read)))

    assert seen == {"Rides/*.csv": ("rides", 150), "Rides": ("rides", 150), "typed": ("typed", 100)}
    out.unlink()
    files = [str(parts / f"{part}.csv") for part in range(3)]
    assert run(["init", *files, "--target", "y", "--out", str(out)], {}) == 0
    assert "note: 3 files are read as one table, " in capsys.readouterr().out
    spec = load_spec(out)
    assert isinstance(spec.data, Path)
    assert len(read_table(spec.data, spec.schema, spec.read)) == 150
    assert run(["init", files[0], files[1], str(tmp_path / "typed" / "0.parquet"), "--target", "y", "--out", str(out), "--force"], {}) == 1
    assert "3 tables, 0.csv, 1.csv, ..., and no pattern that they alone match: name one in quotes" in capsys.readouterr().err
    assert run(["predict", *files, "-o", "out.csv"], {}) == 2
    assert "Name one; a shell makes several of a pattern such as *.csv that is not in quotes" in capsys.readouterr().err
    assert run(["init", str(tmp_path / "*.tsv"), "--target", "y", "--out", str(out), "--force"], {}) == 1
    assert "a pattern that no file matches" in capsys.readouterr().err


def test_init_tells_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "rides.csv", tmp_path / "model.yaml"
    table.write_text("id;x;y\n" + "".join(f"r{i};{i % 7},5;{'yes' if i % 3 else 'no'}\n" for i in range(60)))

    code = run(["init", str(table), "--target", "y", "--out", str(out)], {})

    assert code == 0
    shown = capsys.readouterr().out
    assert "note: the table is read with semicolons, decimal commas" in shown
    assert "note: left out, with the reason in the file: id" in shown


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
