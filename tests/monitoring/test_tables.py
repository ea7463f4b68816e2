"""Tables that must run from `init` through `train` and `predict` to the service without an edit of the model file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from monitoring.admin.workbench import Workbench
from monitoring.cli.main import run
from service.app import create_app, service_of
from service.settings import ServiceSettings
from training.artifacts.golden_rows import request_row
from training.dataset.dataset import read_table
from training.model_file.model_spec import load_spec
from training.settings import Home

CASES = Path(__file__).parents[1] / "data" / "spellings"
SETS: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}
"""All sets that scikit-learn loads as a table with one target: all but linnerud, which has three."""
TASKS = {"iris": "multiclass", "wine": "multiclass", "breast_cancer": "binary", "digits": "multiclass", "diabetes": "regression"}
TIMES = {"k5_time_index.parquet": "at", "k7_epoch_seconds.csv": "at", "k17_semicolon.csv": "at"}
CASE_NAMES = [
    "k1_plain.csv", "k1_quote.csv", "k4_train.csv", "k5_time_index.parquet", "k7_epoch_seconds.csv", "k7_seen_millis.csv",
    "k8_target_NA.csv", "k8_target_01.csv", "k8_zip.csv", "k8_branch.csv", "k8_label_spaces.csv", "k9_year_month.csv", "k9_yes_no.csv",
    "k9_NA_tokens.csv", "k9_null_tokens.csv", "k9_spaces.csv", "k9_whole_number_categories.parquet", "k10_id_category.csv",
    "k12_lists.parquet", "k12_structs.parquet", "k13_decimal.parquet", "k13_duration.parquet", "k17_semicolon.csv",
    "k17_quoted_decimal_comma.csv",
]  # fmt: skip
QUICK = ("iris", "diabetes", "k5_time_index.parquet", "k8_target_01.csv", "k17_semicolon.csv")


def table_of(name: str, folder: Path) -> tuple[Path, str]:
    """Write a set beside the model file it will have, or name a collected table; return it and its target."""
    if name not in SETS:
        return CASES / name, "y"
    frame = SETS[name](as_frame=True).frame
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    return path, "target"


def trained(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, Path]:
    """Run init and train on a table; return the model file and the table."""
    table, target = table_of(name, folder)
    out, time = folder / "model.yaml", ("--time", TIMES[name]) if name in TIMES else ()
    assert run(["init", str(table), "--target", target, *time, "--out", str(out)], {}) == 0, capsys.readouterr().err
    out.write_text(out.read_text().replace("budget: all", "budget: 3 fits"))  # of the test; what it proposes is the same
    assert run(["train", str(out)], {"EVERGREEN_HOME": str(folder / "home")}) == 0, capsys.readouterr().err
    return out, table


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in (*SETS, *CASE_NAMES)])
def test_a_table_runs_from_init_to_the_service_without_an_edit(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, table = trained(name, tmp_path, capsys)
    spec, home = load_spec(out), Home(tmp_path / "home")
    predicted = tmp_path / "predicted.parquet"

    code = run(["predict", str(table), "-o", str(predicted)], {"EVERGREEN_HOME": str(home.path)})
    app = create_app(ServiceSettings(home=home, database_url=f"sqlite:///{home.database}"))
    service_of(app).start()
    try:
        answered = app.test_client().post(f"/models/{spec.model}/predict", json={"rows": requests_of(spec, table)})
        shown = app.test_client().get(f"/models/{spec.model}").get_json()
    finally:
        service_of(app).stop()

    assert code == 0, capsys.readouterr().err
    assert answered.status_code == 200, answered.get_data(as_text=True)[:500]
    assert spec.schema.task == TASKS.get(name, "binary")
    offline = pd.read_parquet(predicted)["prediction"].tolist()
    assert_alike(offline, [one.get("label", one.get("value")) for one in answered.get_json()["predictions"]], spec.schema.task)
    assert (shown["data_start"] is None) == (spec.schema.time is None)


def requests_of(spec: Any, table: Path) -> list[dict[str, Any]]:
    """The rows of a table as requests have them, in its order."""
    rows = read_table(table, spec.schema, spec.read)
    return [request_row(rows.columns, int(rows.time_us[i]), i, spec.schema) for i in range(len(rows))]


def assert_alike(offline: list[Any], answered: list[Any], task: str) -> None:
    if task == "regression":
        np.testing.assert_allclose(np.array(answered, float), np.array(offline, float), rtol=1e-9)
    else:
        assert list(map(str, answered)) == list(map(str, offline))


def test_what_is_shown_of_a_table_without_times_says_so_and_rows_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = trained("iris", tmp_path, capsys)
    shown_at_first = capsys.readouterr().out
    environment = {"EVERGREEN_HOME": str(tmp_path / "home")}

    run(["versions"], environment)
    run(["show"], environment)
    shown = capsys.readouterr().out
    run(["show", "--json"], environment)
    facts = json.loads(capsys.readouterr().out)
    bench = Workbench(environment)
    accuracy = bench.registry.versions("iris")[0].metrics["accuracy"]["value"]
    bench.close()

    assert "the rows are sorted by target" in shown_at_first
    assert "on rows drawn at random, not learned from" in shown_at_first
    assert "150 rows, no time, 150 labelled" in shown
    assert shown.count("no time") == 2
    assert "1970-01" not in shown_at_first + shown
    assert (facts["data_start"], facts["data_end"]) == (None, None)
    assert accuracy > 0.85
    assert "sorted by target" in out.read_text()
