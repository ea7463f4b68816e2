"""A model from another process becomes a version only if workers can load it; its card says what nobody knows."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from monitoring.cli.main import run
from tests.own_package import forget, write_package
from training.artifacts.golden_rows import Golden
from training.errors import GoldenRowsError
from training.model_file.model_spec import ModelSpec, load_spec
from training.run import wrap_imported
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows
from training.settings import Home

NOW = datetime(2024, 6, 1, tzinfo=UTC)
MODEL = "model: rain\ndata: rain.csv\nschema: {target: wet, task: binary, features: {cloud: numeric, wind: numeric}}\n"
FITS = """
import joblib, pandas as pd
from sklearn.linear_model import LogisticRegression
{0}
table = pd.read_csv("rain.csv")
joblib.dump(Mine().fit(table[["cloud", "wind"]], table["wet"]), "model.joblib")
"""
CLASS = "class Mine(LogisticRegression):\n    pass\n"


@pytest.fixture
def rain(tmp_path: Path) -> Path:
    """A folder with a table and a model file."""
    rng = np.random.default_rng(0)
    cloud, wind = rng.normal(size=300), rng.gamma(2.0, size=300)
    wet = np.where(cloud + 0.3 * rng.normal(size=300) > 0, "yes", "no")
    pd.DataFrame({"cloud": cloud, "wind": wind, "wet": wet}).to_csv(tmp_path / "rain.csv", index=False)
    (tmp_path / "model.yaml").write_text(MODEL)
    return tmp_path


def fitted(folder: Path, form: Callable[[pd.DataFrame], Any] = lambda columns: columns) -> None:
    """Write a regression of scikit-learn that was fitted on the table: no other process is wanted for what every process can load."""
    table = pd.read_csv(folder / "rain.csv")
    joblib.dump(LogisticRegression().fit(form(table[["cloud", "wind"]]), table["wet"]), folder / "model.joblib")


def imported(folder: Path, **environment: str) -> int:
    arguments = ["import", str(folder / "model.joblib"), "--schema", str(folder / "model.yaml"), "--yes"]
    return run(arguments, {"EVERGREEN_HOME": str(folder / "home"), **environment})


@pytest.mark.slow
def test_figures_costs_and_what_nobody_knows_are_shown(rain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted(rain)

    code = imported(rain)

    shown, card = capsys.readouterr().out, next(rain.glob("home/artifacts/rain/*/card.md")).read_text()
    assert code == 0
    assert "µs a row" in shown
    assert "log_loss" in shown
    assert "Nobody here knows what it was fitted on" in card
    assert "the model fitted on the rows before them" not in card


def test_a_class_of_a_script_is_refused_and_told_where_to_put_it(rain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (rain / "script.py").write_text(FITS.format(CLASS))
    subprocess.run([sys.executable, "script.py"], cwd=rain, check=True)

    code = imported(rain)

    assert code == 1
    assert "defined in a script or notebook: put it into a module" in capsys.readouterr().err
    assert list(rain.glob("home/artifacts/*/*")) == []


def test_a_module_that_workers_do_not_have_is_refused_until_it_is_named(
    rain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(rain / "code", "own_import", "from sklearn.linear_model import LogisticRegression\n" + CLASS)
    fits = FITS.format(f"import sys; sys.path.append({str(rain / 'code')!r}); from own_import.models import Mine")
    subprocess.run([sys.executable, "-c", fits], cwd=rain, check=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(rain / "code")])
    forget("own_import")

    refused, why = imported(rain), capsys.readouterr().err
    monkeypatch.setenv("EVERGREEN_CODE", str(rain / "code"))
    taken = imported(rain, EVERGREEN_CODE=str(rain / "code"))

    forget("own_import")
    assert (refused, taken) == (1, 0)
    assert "a process that is started like a worker cannot answer with this model" in why
    assert "own_import" in why


class Local:
    """What a notebook defines: no other process has it."""

    __module__ = "__main__"
    classes_ = np.array(["no", "yes"], object)

    def predict_proba(self, table: pd.DataFrame) -> np.ndarray:
        return np.full((len(table), 2), 0.5)

    predict = predict_proba


def test_a_class_of_a_notebook_makes_no_version(
    spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of("binary")
    monkeypatch.setattr(sys.modules["__main__"], "Local", Local, raising=False)

    with pytest.raises(GoldenRowsError, match="started like a worker cannot answer"):
        wrap_imported(Local(), spec, rows_of(spec.schema), home=home, now=NOW)

    assert list(home.artifacts.glob("*/[!.]*")) == []


class Says:
    """A model that answers one and the same thing."""

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction

    def predict(self, columns: Columns) -> Prediction:
        return self.prediction


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        ([[1.5, -0.5]], "outside 0 to 1"),
        ([[np.nan, 1.0]], "not finite"),
        ([[0.2, 0.2]], "add up to 1"),
        ([[0.5, 0.5], [0.5, 0.5]], "answers with shape"),
    ],
)
def test_golden_rows_that_say_the_impossible_are_refused_though_the_model_still_says_it(
    spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows], probability: list[list[float]], words: str
) -> None:
    spec = spec_of("binary")
    says = np.array(probability)
    golden = Golden(({"a": 1.0, "b": True, "c": "u", "d": None},), ("no",), tuple(map(tuple, probability)), ("no", "yes"))

    with pytest.raises(GoldenRowsError, match=words):
        golden.compare(Says(Prediction(np.array(["no"] * len(says), object), says, ("no", "yes"))), spec.schema)


def test_a_model_file_is_written_for_the_columns_it_was_fitted_on(
    rain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.read_csv(rain / "rain.csv")
    table.assign(unused=1.5, at=pd.date_range("2026-01-01", periods=len(table), freq="h", tz="UTC")).to_csv(rain / "rain.csv", index=False)
    fitted(rain)
    (rain / "model.yaml").unlink()
    monkeypatch.chdir(rain)
    arguments = ["import", "model.joblib", "--data", "rain.csv", "--target", "wet", "--time", "at", "--yes"]

    first, second = (run(arguments, {"EVERGREEN_HOME": str(rain / "home")}) for _ in range(2))

    spec = load_spec(rain / "model.yaml")
    assert (first, second) == (0, 1)
    assert "model.yaml exists; name it with --schema" in capsys.readouterr().err
    assert (spec.schema.names, spec.schema.target, spec.training.names_candidates) == (("cloud", "wind"), "wet", False)
    assert spec.schema.time is not None
    assert spec.schema.time.column == "at"


@pytest.mark.slow
def test_a_pipeline_that_was_fitted_without_names_needs_a_model_file(
    rain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(rain, lambda columns: columns.to_numpy())
    (rain / "model.yaml").unlink()
    monkeypatch.chdir(rain)

    code = run(["import", "model.joblib", "--data", "rain.csv", "--target", "wet", "--yes"], {"EVERGREEN_HOME": str(rain / "home")})

    assert code == 1
    assert "LogisticRegression without feature_names_in_" in capsys.readouterr().err
    assert not (rain / "model.yaml").exists()


@pytest.mark.parametrize(
    "options", [[], ["--data", "rain.csv"], ["--target", "wet"], ["--schema", "model.yaml", "--data", "rain.csv", "--target", "wet"]]
)
def test_a_model_file_or_a_table_with_its_target_is_named(rain: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.chdir(rain)
    (rain / "model.joblib").touch()

    assert run(["import", "model.joblib", *options, "--yes"], {"EVERGREEN_HOME": str(rain / "home")}) == 2


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04garbage", b"model: rain\n", b"\x80\x04\x95", b"\x1f\x8b\x08\x00"])
def test_a_file_that_is_no_pickle_is_told_so(rain: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (rain / "model.joblib").write_bytes(content)

    assert imported(rain) == 1
    assert "it is no pickle or joblib file, or a damaged one" in capsys.readouterr().err


ODD = """
import joblib, pandas as pd
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC
table = pd.read_csv("rain.csv")
X, y = table[["cloud", "wind"]], table["wet"]
made = {"svc": SVC(probability=True).fit(X, y), "drawn": DummyClassifier(strategy="stratified").fit(X, y), "clusters": KMeans(2).fit(X)}
made |= {"numbers": LinearRegression().fit(X, y == "yes"), "classes": LogisticRegression().fit(X, y), "named": {"model": 1}}
for name, value in made.items():
    joblib.dump(value, name + ".joblib")
"""
NUMBERS = "model: rain\ndata: rain.csv\nschema: {target: wind, task: regression, features: {cloud: numeric}}\n"


def test_what_comes_in_answers_or_is_refused_in_words(rain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", ODD], cwd=rain, check=True)
    (rain / "numbers.yaml").write_text(NUMBERS)
    answers = {}

    for name, model_file in [
        ("svc", "model.yaml"),  # it predicts from no arrays that it may not write to
        ("drawn", "model.yaml"),
        ("clusters", "model.yaml"),
        ("numbers", "model.yaml"),
        ("named", "model.yaml"),
        ("classes", "numbers.yaml"),
    ]:
        home = str(rain / f"home-{name}")
        code = run(["--home", home, "import", str(rain / f"{name}.joblib"), "--schema", str(rain / model_file), "--yes"], {})
        answers[name] = (code, capsys.readouterr().err)

    assert answers["svc"][0] == 0
    assert {code for name, (code, _) in answers.items() if name != "svc"} == {1}
    assert "answers the same rows in another way each time" in answers["drawn"][1]
    assert "KMeans is no classifier (to scikit-learn: clusterer)" in answers["clusters"][1]
    assert "LinearRegression is no classifier (to scikit-learn: regressor)" in answers["numbers"][1]
    assert "a mapping with the keys model is no pipeline; wanted one with the key 'pipeline'" in answers["named"][1]
    assert "LogisticRegression is no regressor (to scikit-learn: classifier)" in answers["classes"][1]
