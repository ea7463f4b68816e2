"""Compiled models are served without importing scikit-learn; and it can be imported afterwards as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.linear_model import LogisticRegression

from tests.patience import PATIENCE_SECONDS
from training.artifacts.signing import load_or_make_key
from training.compiled.sklearn_kernels import load_kernel
from training.compiled.tree_walk import RECORD
from training.fitting.preprocessing import build_pipeline
from training.model_file.model_spec import parse_spec
from training.run import wrap_imported
from training.schema.schema import frame
from training.settings import Home

ROOT = Path(__file__).parents[3]
SPEC = parse_spec("model: m\nschema: {target: y, task: binary, features: {x: numeric, c: {kind: categorical}}}")
ESTIMATORS = {
    "linear": LogisticRegression(),
    "forest": RandomForestClassifier(5, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=5),
}
LOAD = """
import sys
from pathlib import Path
from training.artifacts.artifact import load_verified
artifact = load_verified(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]).read_bytes())
"""


def run(code: str, *arguments: object) -> str:
    """Run code in a process of its own; return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


def make(home: Home, name: str) -> Path:
    """Save a compiled model; return where it lies."""
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=200), rng.choice(["a", "b"], 200).astype(object)
    y = np.where(x + (c == "a") > 0, "yes", "no")
    pipeline = build_pipeline(SPEC.schema, ESTIMATORS[name], scale=name == "linear", encode="onehot" if name == "linear" else "ordinal")
    pipeline.fit(frame({"x": x, "c": c}, SPEC.schema), y)
    return wrap_imported(pipeline, SPEC, pd.DataFrame({"x": x, "c": c, "y": y}), home=home).artifact.path


@pytest.mark.parametrize("name", ["boosting", *(pytest.param(name, marks=pytest.mark.slow) for name in ("linear", "forest"))])
def test_a_compiled_model_answers_without_scikit_learn(name: str, home: Home) -> None:
    path = make(home, name)
    (home.path / "key").write_bytes(load_or_make_key(home.signing_key))

    code = f"""{LOAD}
artifact.self_test()
print(artifact.compiled is not None, [name for name in ("sklearn", "pandas", "scipy", "scipy.stats") if name in sys.modules])
"""

    assert run(code, path, home.cache, home.path / "key") == "True []\n"


def test_the_service_is_imported_without_scikit_learn_and_pandas() -> None:
    code = "import sys, service.app; print([name for name in ('sklearn', 'pandas', 'scipy') if name in sys.modules])"

    assert run(code) == "[]\n"


def test_scikit_learn_is_whole_when_it_is_imported_after_its_kernel() -> None:
    code = """
import sys
from training.compiled.sklearn_kernels import boosting_walk, expit
walk, sigmoid = boosting_walk(), expit()
import scipy.special, scipy.stats, sklearn.ensemble
from sklearn.utils import all_estimators
from sklearn.ensemble._hist_gradient_boosting._predictor import _predict_from_raw_data
import numpy as np
assert (walk, sigmoid) == (_predict_from_raw_data, scipy.special.expit)
assert len(all_estimators()) > 150
x = np.arange(100.0)[:, None]
print(sklearn.ensemble.HistGradientBoostingClassifier(max_iter=3).fit(x, x[:, 0] > 50).predict([[80.0]]))
"""

    assert run(code) == "[ True]\n"


def test_a_function_that_lies_elsewhere_is_imported_the_long_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "elsewhere"
    package.mkdir()
    (package / "__init__.py").write_text("from elsewhere.new import kernel\n")
    (package / "new.py").write_text("def kernel(): return 'the long way'\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    kernel = load_kernel(("elsewhere",), "old", "kernel")

    assert kernel() == "the long way"
    assert sys.modules["elsewhere"].__file__ == str(package / "__init__.py")


def test_nodes_lie_as_scikit_learn_lays_them() -> None:
    assert RECORD == PREDICTOR_RECORD_DTYPE
