"""A candidate of one's own from the model file to a version: card, manifest, how it serves, and who imports it."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from tests.conftest import Once
from tests.own_package import GOOD, forget, write_package
from training.artifacts.answer_in_child import ModelInChild
from training.artifacts.artifact import LoadedArtifact, load_verified
from training.artifacts.signing import load_or_make_key
from training.errors import ArtifactError, GoldenRowsError, OtherCodeError
from training.fitting.fitted_model import FittedModel
from training.model_file.model_spec import ModelSpec
from training.policies import Budget, OwnCandidate
from training.result import TrainingResult
from training.run import train
from training.schema.rows import Rows
from training.settings import Home

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]
NOW = datetime(2024, 6, 1, tzinfo=UTC)

LIBRARIES = {
    "lightgbm": "from lightgbm import LGBM{0} as Kind\noptions = dict(n_estimators=20, verbose=-1, random_state=0)",
    "xgboost": "from xgboost import XGB{0} as Kind\noptions = dict(n_estimators=20, random_state=0)",
    "catboost": "from catboost import CatBoost{0} as Kind\noptions = dict(iterations=20, allow_writing_files=False, random_seed=0)",
}
PIPELINE = """
from training.fitting.preprocessing import build_pipeline
def build(schema, *, seed):
    return build_pipeline(schema, Kind(**options), scale=False, encode="ordinal")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that EVERGREEN_CODE names, with a package."""
    folder = write_package(tmp_path / "code", "own_run")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("EVERGREEN_CODE", str(folder))
    forget("own_run")
    yield folder
    forget("own_run")


def only(spec: ModelSpec, factory: str, **tune: list[object]) -> ModelSpec:
    own = OwnCandidate("mine", f"own_run.models:{factory}", {}, tune)
    return replace(spec, training=replace(spec.training, candidates=(own,), budget=Budget(seconds=None, fits=3)))


def loaded(made: TrainingResult | Path, home: Home, **options: bool) -> LoadedArtifact:
    path = made if isinstance(made, Path) else made.artifact.path
    return load_verified(path, home.cache, load_or_make_key(home.signing_key), **options)


@pytest.fixture
def version(code: Path, spec_of: Specs, rows_of: Make, home: Home, once: Once) -> Path:
    """A version of one's own, trained once a run; in this test's own home."""
    spec = only(spec_of("binary"), "build")
    kept = once("own version", lambda folder: train(rows_of(spec.schema), spec, home=Home(folder / "home").ensure(), now=NOW))
    shutil.copytree(kept / "home", home.path, dirs_exist_ok=True)
    forget("own_run")
    return next(home.artifacts.glob("*/[!.]*"))


@pytest.mark.parametrize("task", ["binary", *(pytest.param(task, marks=pytest.mark.slow) for task in ("multiclass", "regression"))])
def test_a_version_of_ones_own_reproduces_its_golden_rows_and_says_how_it_was_made(
    code: Path, spec_of: Specs, rows_of: Make, home: Home, task: str
) -> None:
    spec = only(spec_of(task), "build", depth=[4, 6])

    result = train(rows_of(spec.schema), spec, home=home, now=NOW)

    manifest, card = result.artifact.manifest, (result.artifact.path / "card.md").read_text()
    loaded(result, home).self_test()
    assert manifest.algorithm == "mine"
    assert manifest.params["depth"] in (4, 6) or manifest.params == {}
    assert manifest.code is not None
    assert manifest.code["mine"]["factory"] == "own_run.models:build"
    assert "- own code: mine: `own_run.models:build`, files " in card
    assert "µs a row" in card


@pytest.mark.slow
def test_known_steps_serve_compiled_and_import_nothing_others_plain(version: Path, spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    known = train(rows_of(spec.schema), only(spec, "compiles"), home=home, now=datetime(2024, 6, 2, tzinfo=UTC))
    forget("own_run")

    compiled = loaded(known, home)
    compiled.self_test()

    assert compiled.compiled is not None
    assert "own_run" not in sys.modules
    assert "plain scikit-learn pipeline: the estimator Mine is not known" in (version / "card.md").read_text()
    assert isinstance(loaded(version, home).predictor, FittedModel)


def test_a_plain_version_is_asked_in_a_child_without_being_imported(version: Path, spec_of: Specs, rows_of: Make, home: Home) -> None:
    rows = rows_of(spec_of("binary").schema)
    here = loaded(version, home).predictor.predict(rows.columns)
    forget("own_run")

    there = loaded(version, home, asks_in_child=True)
    there.self_test()
    answer = there.predictor.predict(rows.columns)

    assert isinstance(there.predictor, ModelInChild)
    assert "own_run" not in sys.modules
    assert np.array_equal(here.probability, answer.probability)  # type: ignore[arg-type]
    assert (here.label.tolist(), here.classes) == (answer.label.tolist(), answer.classes)


@pytest.mark.slow
def test_a_child_that_cannot_load_the_code_says_so(version: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    there = loaded(version, home, asks_in_child=True)
    monkeypatch.delenv("EVERGREEN_CODE")

    with pytest.raises(ArtifactError, match=r"cannot be asked: .*own_run"):
        there.self_test()


def test_changed_code_is_not_loaded(version: Path, code: Path, home: Home) -> None:
    write_package(code, "own_run", GOOD + "# changed\n")

    with pytest.raises(OtherCodeError, match="restart the service"):
        loaded(version, home)


def test_code_that_only_this_process_finds_makes_no_version(
    code: Path, spec_of: Specs, rows_of: Make, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVERGREEN_CODE")
    spec = only(spec_of("binary"), "build")

    with pytest.raises(GoldenRowsError, match=r"started like a worker cannot answer .*own_run.*EVERGREEN_CODE"):
        train(rows_of(spec.schema), spec, home=home, now=NOW)

    assert list(home.artifacts.glob("*/[!.]*")) == []


def test_what_cannot_be_pickled_makes_no_version(code: Path, spec_of: Specs, rows_of: Make, home: Home) -> None:
    body = GOOD.replace("pass", "def fit(self, X, y):\n        self.left_ = (x for x in ())\n        return super().fit(X, y)")
    write_package(code, "own_run", body)
    spec = only(spec_of("binary"), "build")

    with pytest.raises(ArtifactError, match="cannot be pickled"):
        train(rows_of(spec.schema), spec, home=home, now=NOW)


@pytest.mark.slow
def test_a_search_in_other_processes_finds_the_code_as_it_is_now(
    code: Path, spec_of: Specs, rows_of: Make, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_package(home.path.parent / "other", "own_run", "raise ImportError('the other package of this name')")
    get_reusable_executor().shutdown(wait=True)  # what other tests left
    with monkeypatch.context() as before:
        before.setattr(sys, "path", [str(other), *sys.path])
        with joblib.parallel_config(backend="loky"):
            kept = joblib.Parallel(n_jobs=2)(joblib.delayed(find_spec)("own_run") for _ in range(2))
    spec = only(spec_of("binary"), "build", depth=[4, 6])

    result = train(rows_of(spec.schema), spec, home=home, now=NOW, backend="loky", jobs=2)

    assert all(str(other) in each.origin for each in kept)  # processes that joblib keeps, and that know the other one
    assert result.artifact.manifest.algorithm == "mine"


@pytest.mark.parametrize("task", ["binary", *(pytest.param(task, marks=pytest.mark.slow) for task in ("regression", "multiclass"))])
@pytest.mark.parametrize("library", ["lightgbm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("xgboost", "catboost"))])
def test_a_boosting_library_is_trained_and_served(code: Path, spec_of: Specs, rows_of: Make, home: Home, library: str, task: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"SKIPPED: {library} is not installed; lightgbm is in requirements-dev.txt, the others are installed by `make slow`")
    kind = "Regressor" if task == "regression" else "Classifier"
    write_package(code, "own_run", LIBRARIES[library].format(kind) + PIPELINE)
    spec = only(spec_of(task), "build")

    result = train(rows_of(spec.schema), spec, home=home, now=NOW)

    version = loaded(result, home)
    version.self_test()
    threads = {
        name: value for name, value in version.model.pipeline.get_params(deep=True).items() if name.endswith(("n_jobs", "thread_count"))
    }
    assert 1 in threads.values()
    assert set(threads.values()) <= {1, None}
    assert [name.removesuffix("-cpu") for name in result.artifact.manifest.code["mine"]["distributions"]] == [library]  # type: ignore[index]
