"""What factories of users do, and what becomes of it."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sklearn

from tests.own_package import forget, write_package
from training.errors import CandidateError
from training.fitting.candidates import Candidate, candidates_for
from training.fitting.fitted_model import FittedModel
from training.fitting.search import ask, fit
from training.model_file.model_spec import ModelSpec
from training.policies import OwnCandidate
from training.schema.rows import Rows

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]
Fit = Callable[..., FittedModel]

RECORDS = """
import numpy as np


class Records:
    def __init__(self, **kept):
        self.kept = kept

    def fit(self, X, y):
        self.X, self.y = X, y
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(set(self.y))), 1 / len(set(self.y)))

    def predict(self, X):
        return np.zeros(len(X))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec_of: Specs, rows_of: Make) -> Fit:
    """Write a package with the given code, and fit what its `build` gives."""
    monkeypatch.syspath_prepend(str(tmp_path))
    forget("my_estimators")

    def fitted(body: str, task: str = "binary", **params: object) -> FittedModel:
        write_package(tmp_path, "my_estimators", body)
        schema = spec_of(task).schema
        candidate, rows = Candidate("mine", params, 7, "my_estimators.models:build"), rows_of(schema, n=120)
        model = fit(candidate, rows, schema)
        ask(candidate, model, rows.columns)
        return model

    return fitted


def test_it_is_called_with_schema_seed_and_params_and_fitted_on_a_frame_and_codes(mine: Fit) -> None:
    model = mine(RECORDS + "def build(schema, *, seed, **params):\n    return Records(schema=schema, seed=seed, **params)", depth=4)

    inner = model.pipeline.estimator
    assert (inner.kept["schema"], inner.kept["seed"], inner.kept["depth"]) == (model.schema, 7, 4)
    assert {name: str(kind) for name, kind in inner.X.dtypes.items()} == {"a": "float64", "b": "float64", "c": "object", "d": "float64"}
    assert (inner.y.dtype.kind, sorted(set(inner.y.tolist())), model.classes) == ("i", [0, 1], ("no", "yes"))


@pytest.mark.parametrize(("task", "classes"), [("multiclass", ("never", "no", "yes")), ("regression", None)])
def test_codes_are_mapped_back_and_numbers_stay(mine: Fit, rows_of: Make, task: str, classes: tuple[str, ...] | None) -> None:
    model = mine(RECORDS + "def build(schema, *, seed):\n    return Records()", task)

    rows = rows_of(model.schema, n=120)
    wanted = rows.labels if classes is None else [classes[code] for code in model.pipeline.estimator.y]
    assert model.classes == classes
    assert list(rows.labels) == list(wanted)


def test_every_parameter_that_counts_threads_is_one(mine: Fit) -> None:
    body = """
from sklearn.ensemble import RandomForestClassifier
from training.fitting.preprocessing import build_pipeline
def build(schema, *, seed):
    return build_pipeline(schema, RandomForestClassifier(5, n_jobs=-1, random_state=seed), scale=False, encode="ordinal")
"""

    params = mine(body).pipeline.get_params(deep=True)

    counts = {name: value for name, value in params.items() if name.endswith("n_jobs")}
    assert counts["estimator__estimate__n_jobs"] == 1
    assert set(counts.values()) <= {1, None}  # None is one thread in scikit-learn


def test_a_factory_that_hands_out_the_same_one_twice_gets_two(mine: Fit) -> None:
    body = RECORDS + "ONE = Records()\ndef build(schema, *, seed):\n    return ONE"

    first, second = mine(body), mine(body)

    assert first.pipeline.estimator is not second.pipeline.estimator


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def build(schema, *, seed):\n    raise KeyError('city')", "failed at building: KeyError: 'city'"),
        ("def build(schema, *, seed):\n    raise SystemExit(3)", "failed at building: SystemExit: 3"),
        ("def build(schema):\n    return None", "failed at building: TypeError"),
        ("def build(schema, *, seed):\n    return None", "returned NoneType, wanted an estimator with fit and predict_proba"),
        ("from sklearn.svm import SVC\ndef build(schema, *, seed):\n    return SVC", "returned the class SVC"),
        ("from sklearn.linear_model import Ridge\ndef build(schema, *, seed):\n    return Ridge()", "returned Ridge, wanted"),
        ("from sklearn.linear_model import LogisticRegression as L\ndef build(schema, *, seed):\n    return L()", "failed at fitting"),
        ("build = 5", "is int, wanted a function"),
        ("x = 1", "models.py"),
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def build(:", "cannot be imported: SyntaxError"),
        ("raise SystemExit(1)", "cannot be imported: SystemExit"),
        (
            RECORDS.replace("(len(X), len(set(self.y)))", "len(X)") + "def build(schema, *, seed):\n    return Records()",
            "gives shape (120,)",
        ),
        (RECORDS.replace("1 / len(set(self.y))", "np.nan") + "def build(schema, *, seed):\n    return Records()", "not finite (row 0)"),
        (RECORDS.replace("1 / len(set(self.y))", "0.5 + 1j") + "def build(schema, *, seed):\n    return Records()", "complex numbers"),
        (RECORDS.replace("1 / len(set(self.y))", "7.0") + "def build(schema, *, seed):\n    return Records()", "outside 0 to 1"),
        (RECORDS.replace("1 / len(set(self.y))", "0.1") + "def build(schema, *, seed):\n    return Records()", "do not add up to 1"),
        (
            RECORDS.replace("self.X, self.y", "self.classes_ = ['a', 'b']; self.X, self.y") + "build = lambda s, *, seed: Records()",
            "classes_",
        ),
    ],
)
def test_what_fails_names_the_factory_and_what_it_did(mine: Fit, body: str, words: str) -> None:
    with pytest.raises(CandidateError) as caught:
        mine(body)

    assert "my_estimators.models:build" in str(caught.value)
    assert words in str(caught.value)


def test_what_it_does_to_the_process_is_undone(mine: Fit, tmp_path: Path) -> None:
    touch = "import os, random, numpy as np, sklearn\ndef touch():\n    random.seed(1); np.random.seed(1); np.seterr(all='raise')\n"
    touch += f"    os.chdir({str(tmp_path)!r}); os.environ['OF_A_FACTORY'] = '1'; sklearn.set_config(transform_output='pandas')\n"
    before = (os.getcwd(), random.getstate(), np.random.get_state()[1].tolist(), np.geterr(), sklearn.get_config())

    mine(RECORDS + touch + "touch()\ndef build(schema, *, seed):\n    touch(); return Records()")

    assert "OF_A_FACTORY" not in os.environ
    assert before == (os.getcwd(), random.getstate(), np.random.get_state()[1].tolist(), np.geterr(), sklearn.get_config())


def test_an_estimator_that_draws_from_the_global_generator_draws_the_same_again(mine: Fit) -> None:
    body = RECORDS.replace("self.X, self.y", "self.drawn = np.random.random(); self.X, self.y") + "build = lambda s, *, seed: Records()"

    assert mine(body).pipeline.estimator.drawn == mine(body).pipeline.estimator.drawn


def test_params_come_first_then_at_most_three_drawn_by_seed_and_ones_own_before_ours() -> None:
    own = OwnCandidate("mine", "a.b:c", {"depth": 4}, {"depth": [4, 6, 8, 10, 12], "rate": [0.1, 0.2]})

    drawn = [candidates_for("binary", ["linear", own], seed) for seed in (0, 0, 1)]

    assert [c.family for c in drawn[0]] == ["mine", "linear"] * 4
    assert drawn[0][0].params == {"depth": 4}
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({c.name for c in drawn[0]}) == 8
