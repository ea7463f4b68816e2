import json
import os
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC

from training.compiled.compiled_model import CompiledModel, NotCompiled
from training.compiled.joint_tree import Nodes
from training.compiled.parity import ParityReport
from training.compiled.preparation import CategoryColumn
from training.compiled.tree_walk import Bitsets
from training.compiled.trees import TreeEngine
from training.compiling.category_levels import ask_for_levels
from training.compiling.compiling import compile_model, prove, read_pipeline, time_crossover
from training.compiling.read_preparation import read_preparation
from training.fitting.calibration import CalibratedPipeline
from training.fitting.candidates import Candidate, baseline
from training.fitting.fitted_model import FittedModel
from training.fitting.preprocessing import CategoryFiller, DateParts, build_pipeline
from training.fitting.search import fit
from training.schema.calendar import calendar_parts
from training.schema.feature import DATE_PARTS, Feature
from training.schema.rows import BlockColumns, Coded, Columns, Rows
from training.schema.schema import Schema, Task, frame

FEATURES = (
    Feature("city", "categorical", nullable=True),
    Feature("size", "numeric", nullable=True),
    Feature("plan", "categorical", categories=("basic", "gold", "none")),
    Feature("visits", "integer", minimum=0, maximum=50),
    Feature("flag", "boolean"),
    Feature("seen", "datetime", nullable=True, derive=DATE_PARTS),
    Feature("paid", "numeric", minimum=0.0, out_of_range="clip"),
    Feature("rare", "numeric"),
)
CITIES = ("Aix", "Bonn", "Cork", "Delft", "Évora", "Faro")
FOREST: dict[str, Any] = {"max_leaf_nodes": 64, "min_samples_leaf": 2, "max_features": 0.5}
CANDIDATES = {
    "linear": Candidate("linear"),
    "random forest": Candidate("forest", {"algorithm": "random", **FOREST}),
    "extra trees": Candidate("forest", {"algorithm": "extra", **FOREST}),
    "boosting": Candidate("boosting", {"max_iter": 20, "max_leaf_nodes": 7, "min_samples_leaf": 5}),
    "baseline": baseline(0),
}
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
CALIBRATED = [pytest.param(False, id="plain"), pytest.param(True, id="calibrated")]
DATA_SETS = [
    "bank_marketing",
    "bike_sharing",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("beijing_pm25", "elec2", "employment_ma", "kdd99", "noaa_weather")),
]

# the fitted models are kept: whoever has them runs all of these
pytestmark = pytest.mark.xdist_group("compiling")


@cache
def schema_of(task: Task) -> Schema:
    return Schema(FEATURES, "y", task, positive="a" if task == "binary" else None)


@cache
def rows_of(task: Task, size: int = 900, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    columns: Columns = {
        "city": np.array([*CITIES, "Seldom", None], dtype=object)[rng.choice(8, size, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.1, 0.003, 0.047])],
        "size": np.where(rng.random(size) < 0.1, np.nan, rng.normal(30, 9, size)),
        "plan": np.array(["basic", "gold", "none"], dtype=object)[rng.integers(3, size=size)],
        "visits": rng.integers(0, 50, size).astype(float),
        "flag": rng.integers(0, 2, size).astype(float),
        "seen": np.where(rng.random(size) < 0.05, np.nan, rng.uniform(-1e9, 2e9, size)),
        "paid": rng.exponential(100, size),
        "rare": np.where(np.arange(size) == 700, 1.0, 0.0),
    }
    score = np.nan_to_num(columns["size"]) / 9 + (columns["city"] == "Bonn") + columns["visits"] / 20 + rng.normal(size=size)
    cuts = np.quantile(score, [0.5] if task == "binary" else [0.3, 0.6, 0.9])
    names = np.array(list("abcd"), dtype=object)
    return Rows(columns, score if task == "regression" else names[np.digitize(score, cuts)], np.arange(size))


@cache
def model_of(family: str, task: Task, calibrated: bool = False) -> FittedModel:
    model = fit(CANDIDATES[family], rows_of(task).slice(0, 600), schema_of(task))
    return FittedModel.of(CalibratedPipeline(model.pipeline, 1.4, 0.3), model.schema) if calibrated else model


@cache
def compiled_of(family: str, task: Task, calibrated: bool = False) -> CompiledModel:
    compiled = compile_model(model_of(family, task, calibrated))
    assert isinstance(compiled, CompiledModel), compiled
    return compiled


def held_out(task: Task) -> Rows:
    return rows_of(task).slice(600, 900)


def answers(model: FittedModel | CompiledModel, columns: Columns) -> npt.NDArray[np.float64]:
    prediction = model.predict(columns)
    return prediction.label if prediction.probability is None else prediction.probability


def of_pipeline(preparation: Any, estimator: Any, task: Task = "binary") -> FittedModel:
    rows = rows_of(task).slice(0, 600)
    pipeline = Pipeline([("prepare", preparation), ("estimate", estimator)])
    return FittedModel.of(pipeline.fit(frame(rows.columns, schema_of(task)), rows.labels), schema_of(task))


def numbers_only(*steps: Any) -> ColumnTransformer:
    return ColumnTransformer([("numbers", make_pipeline(*steps), ["size", "visits", "paid"])])


@pytest.mark.parametrize("calibrated", CALIBRATED)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", CANDIDATES)
def test_a_compiled_model_says_what_scikit_learn_says(family: str, task: Task, calibrated: bool) -> None:
    model = model_of(family, task, calibrated and task != "regression")

    compiled = compile_model(model, held_out(task))

    assert isinstance(compiled, CompiledModel)
    answer, wanted = compiled.predict(held_out(task).columns), model.predict(held_out(task).columns)
    assert answer.classes == wanted.classes
    np.testing.assert_allclose(answers(compiled, held_out(task).columns), answers(model, held_out(task).columns), rtol=1e-12, atol=1e-12)
    assert task == "regression" or answer.label.tolist() == wanted.label.tolist()
    for one in (answer, wanted):
        assert task == "regression" or [one.classes[code] for code in one.codes] == one.label.tolist()  # type: ignore[index,union-attr]


@pytest.mark.parametrize("crossover", [0, 1, 40, 10_000])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", ["random forest", "extra trees", "boosting"])
def test_trees_give_the_same_bits_in_one_call_and_tree_by_tree(family: str, task: Task, crossover: int) -> None:
    compiled = compiled_of(family, task)
    engine: Any = compiled.engine
    compiled = replace(compiled, engine=replace(engine, crossover=crossover))

    assert (answers(compiled, held_out(task).columns) == answers(model_of(family, task), held_out(task).columns)).all()


@pytest.mark.parametrize("family", ["random forest", "extra trees", "boosting"])
def test_many_rows_shared_out_between_threads_are_answered_to_the_bit(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.compiled.trees.ROWS_A_THREAD", 100)
    monkeypatch.setattr("training.compiled.trees.os.cpu_count", lambda: 3)
    compiled = compiled_of(family, "multiclass")
    compiled = replace(compiled, engine=replace(compiled.engine, crossover=0))  # type: ignore[type-var]
    parts, walk = [], TreeEngine._tree_by_tree
    monkeypatch.setattr(TreeEngine, "_tree_by_tree", lambda engine, matrix: parts.append(len(matrix)) or walk(engine, matrix))

    probability = answers(compiled, held_out("multiclass").columns)

    assert parts == [100, 100, 100]
    assert (probability == answers(model_of(family, "multiclass"), held_out("multiclass").columns)).all()


@pytest.mark.parametrize("levels", [200, 300])
@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)]
)
@pytest.mark.parametrize("estimator", [RandomForestRegressor(5, random_state=0), HistGradientBoostingRegressor(max_iter=20)])
def test_trees_ask_for_the_level_of_a_category_unless_it_has_too_many(estimator: Any, encoder: Any, levels: int) -> None:
    rng = np.random.default_rng(0)
    columns: Columns = {"c": np.array([f"c{k}" for k in rng.integers(levels, size=3000)], object), "x": rng.normal(size=3000)}
    target = np.array([float(c[1:]) % 7 for c in columns["c"]]) + columns["x"]
    schema = Schema((Feature("c", "categorical"), Feature("x", "numeric")), "y", "regression")
    preparation = ColumnTransformer(
        [("c", make_pipeline(CategoryFiller(), encoder), ["c"]), ("x", SimpleImputer(), ["x"])], sparse_threshold=0
    )
    pipeline = Pipeline([("prepare", preparation), ("estimate", clone(estimator))]).fit(frame(columns, schema), target)
    model = FittedModel.of(pipeline, schema)

    compiled = compile_model(model, Rows(columns, target, np.arange(3000)))

    assert isinstance(compiled, CompiledModel), compiled
    assert (compiled.engine.tables is None) == (levels < 256)  # type: ignore[union-attr]


@pytest.mark.parametrize(("is_rounded", "left"), [(False, 0b11), (True, 0b01)])
def test_levels_go_where_their_values_go_as_the_trees_see_them(is_rounded: bool, left: int) -> None:
    codes = CategoryColumn("c", ("a", "b"), np.array([[0.0], [0.1]]), np.array([0, 1]))
    inner, leaf = np.array([1, -1, -1]), np.array([-1, -1, -1])
    split = Nodes(inner, inner * 2, np.zeros(3, int), np.array([0.1, 0, 0]), np.zeros(3, int), np.ones(3), np.arange(3.0), leaf)

    narrowed = ask_for_levels(split, Bitsets.none(1), [codes], is_rounded=is_rounded)

    assert narrowed is not None
    nodes, bitsets = narrowed
    assert bitsets.left[nodes.bitset[0], 0] == left  # as a float32, 0.1 is above 0.1


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("encode", ["onehot", "ordinal"])
def test_the_preparation_is_equal_to_the_bit(encode: Any, scale: bool) -> None:
    rows = rows_of("regression")
    prepare = build_pipeline(schema_of("regression"), LinearRegression(), scale=scale, encode=encode).steps[0][1]
    table = frame(rows.columns, schema_of("regression"))
    wanted = prepare.fit(table.iloc[:600]).transform(table)

    ours = read_preparation(prepare, schema_of("regression"))

    categories = [c.table[[c.lookup(range(len(c.levels)))[v] for v in rows.columns[c.name]]] for c in ours.categories]
    prepared = np.hstack([*categories, ours.numbers.matrix(rows.columns, len(rows)).T])
    assert prepared.tobytes() == np.ascontiguousarray(wanted[:, ours.places]).tobytes()
    assert sorted(ours.places) == list(range(wanted.shape[1]))


numbers = st.one_of(st.just(np.nan), st.floats(-1e6, 1e6), st.floats(allow_infinity=False, width=32), st.integers(-5, 60).map(float))
categories = st.one_of(st.none(), st.sampled_from([*CITIES, "Seldom", "basic", "gold", "(missing)"]), st.text(max_size=5))
times = st.one_of(st.just(np.nan), st.floats(-3e11, 3e11))
requests = st.fixed_dictionaries({f.name: {"categorical": categories, "datetime": times}.get(f.kind, numbers) for f in FEATURES})


def as_columns(rows: list[dict[str, Any]]) -> Columns:
    return {f.name: np.array([r[f.name] for r in rows], dtype=np.float64 if f.is_number else object) for f in FEATURES}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", ["linear", "random forest", "boosting"])
@given(rows=st.lists(requests, min_size=1, max_size=4))
@settings(max_examples=25)
def test_any_rows_are_answered_alike(family: str, task: Task, rows: list[dict[str, Any]]) -> None:
    columns = as_columns(rows)

    answer, wanted = (outcome(m, columns) for m in (compiled_of(family, task), model_of(family, task)))

    np.testing.assert_allclose(answer, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", ["linear", "random forest", "boosting"])
@given(rows=st.lists(requests, min_size=1, max_size=4), times=st.sampled_from([1, 30]), known=st.sets(st.sampled_from(["city", "plan"])))
@settings(max_examples=25)
def test_categories_told_by_few_values_are_answered_to_the_bit(
    family: str, task: Task, rows: list[dict[str, Any]], times: int, known: set[str]
) -> None:
    columns = as_columns(rows * times)
    values = {name: tuple(dict.fromkeys(columns[name].tolist())) for name in known}
    coded = {name: Coded(np.array([few.index(v) for v in columns[name].tolist()], np.int32), few) for name, few in values.items()}
    block = BlockColumns(columns.items(), (), np.empty((0, len(rows) * times)), coded)

    answer, wanted = (outcome(compiled_of(family, task), some) for some in (block, columns))

    assert answer.tobytes() == wanted.tobytes()


def outcome(model: FittedModel | CompiledModel, columns: Columns) -> npt.NDArray[np.float64]:
    """The answers, or a single -1 where the rows are refused."""
    try:
        return answers(model, columns)
    except ValueError:
        return np.array([-1.0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("family", "value"), [("linear", np.inf), ("boosting", -np.inf), ("random forest", np.inf), ("random forest", 1e39)]
)
def test_a_value_scikit_learn_refuses_is_refused(family: str, value: float) -> None:
    columns = {**held_out("binary").columns, "rare": np.full(300, value)}

    for_both = [outcome(m, columns).tolist() for m in (model_of(family, "binary"), compiled_of(family, "binary"))]

    assert for_both == [[-1.0], [-1.0]]


@given(seconds=st.lists(st.one_of(st.floats(), st.floats(-2.1e11, 2.1e11), st.integers(-(10**10), 10**10).map(float)), min_size=1))
def test_calendar_parts_are_those_of_pandas(seconds: list[float]) -> None:
    column = np.array(seconds)

    wanted = DateParts(DATE_PARTS).transform(column[:, None])

    np.testing.assert_array_equal(np.column_stack(calendar_parts(column, DATE_PARTS)), wanted)


def proof(compiled: CompiledModel, model: FittedModel, rows: Rows | None) -> ParityReport:
    """Prove a compiled model by the edges of the pipeline it should equal."""
    return prove(compiled, model, rows, read_pipeline(model)[1])


@pytest.mark.parametrize("family", ["linear", "random forest", "boosting"])
def test_the_proof_covers_the_hold_out_and_edge_rows(family: str) -> None:
    report = proof(compiled_of(family, "binary"), model_of(family, "binary"), held_out("binary"))

    assert report.reason is None
    assert report.worst <= 1e-12
    assert report.rows["hold-out"] == 300
    assert {"edges", "mixed edges", "huge values"} <= report.rows.keys()


def test_the_proof_notices_a_weight_that_is_off_by_a_millionth() -> None:
    compiled = compiled_of("linear", "binary")
    engine: Any = compiled.engine

    report = proof(replace(compiled, engine=replace(engine, intercept=engine.intercept + 1e-6)), model_of("linear", "binary"), None)

    assert report.reason is not None
    assert "scikit-learn" in report.reason


@pytest.mark.parametrize("family", ["linear", "random forest", "boosting"])
@pytest.mark.parametrize("part", ["fences", "fill"])
def test_the_proof_notices_a_wrong_fence_or_fill_value(family: str, part: str) -> None:
    compiled = compiled_of(family, "regression")
    engine: Any = compiled.engine
    wrong = {"fences": tuple(f * 0.5 for f in engine.numbers.fences), "fill": engine.numbers.fill - 20.0}[part]

    report = proof(
        replace(compiled, engine=replace(engine, numbers=replace(engine.numbers, **{part: wrong}))), model_of(family, "regression"), None
    )

    assert report.reason is not None


def test_the_proof_notices_a_threshold_that_is_off_by_two_floats() -> None:
    model = of_pipeline(numbers_only(SimpleImputer()), RandomForestRegressor(3, max_depth=3, random_state=0), "regression")
    compiled = compile_model(model)
    tree = model.pipeline[-1].estimators_[0].tree_
    tree.threshold[0] = tree.threshold[0] - 2 * np.spacing(np.float32(tree.threshold[0]))

    report = proof(compiled, model, None)  # type: ignore[arg-type]

    assert report.reason is not None
    assert compile_model(model).parity.reason is None  # type: ignore[union-attr]


@pytest.mark.parametrize("family", ["linear", "random forest", "boosting"])
def test_the_proof_notices_an_unknown_category_taken_for_a_known_one(family: str) -> None:
    compiled = compiled_of(family, "multiclass")
    engine: Any = compiled.engine
    lookups = tuple(type(k)(k, next(iter(k.values()))) for k in engine.categories.lookups)

    report = proof(
        replace(compiled, engine=replace(engine, categories=replace(engine.categories, lookups=lookups))),
        model_of(family, "multiclass"),
        None,
    )

    assert report.reason is not None


def test_a_model_that_is_not_the_same_is_not_compiled() -> None:
    class Slanted(LogisticRegression):  # type: ignore[misc]
        pass

    model = of_pipeline(numbers_only(SimpleImputer(), StandardScaler()), Slanted())

    assert compile_model(model) == NotCompiled("the estimator Slanted is not known")


USERS = {
    "PolynomialFeatures": lambda: (numbers_only(SimpleImputer(), PolynomialFeatures()), HistGradientBoostingClassifier(max_iter=2)),
    "FunctionTransformer": lambda: (numbers_only(FunctionTransformer(np.nan_to_num)), LogisticRegression()),
    "SVC": lambda: (numbers_only(SimpleImputer(), StandardScaler()), SVC(probability=False)),
    "GradientBoostingClassifier": lambda: (numbers_only(SimpleImputer()), GradientBoostingClassifier(n_estimators=2)),
    "CalibratedClassifierCV": lambda: (numbers_only(SimpleImputer()), CalibratedClassifierCV(LogisticRegression(), cv=2)),
    "StandardScaler, SimpleImputer": lambda: (numbers_only(StandardScaler(), SimpleImputer()), LogisticRegression()),
    "plain ColumnTransformer": lambda: (FunctionTransformer(lambda t: np.nan_to_num(t[["size", "paid"]].to_numpy())), LogisticRegression()),
    "number as a category": lambda: (numbers_only(SimpleImputer()), HistGradientBoostingClassifier(max_iter=2, categorical_features=[1])),
    "Dummy": lambda: (ColumnTransformer([("n", "passthrough", ["visits", "paid"])]), LogisticRegression()),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("named", [n for n in USERS if n != "Dummy"])
def test_a_pipeline_with_an_unknown_step_falls_back_and_names_it(named: str) -> None:
    refused = compile_model(of_pipeline(*USERS[named]()))

    assert isinstance(refused, NotCompiled)
    assert named in refused.reason
    assert refused.reason in refused.sentence


def test_columns_passed_through_fall_back() -> None:
    assert isinstance(compile_model(of_pipeline(*USERS["Dummy"]())), NotCompiled)


def test_a_pipeline_that_cannot_be_read_falls_back() -> None:
    unfitted = build_pipeline(schema_of("regression"), LinearRegression(), scale=True, encode="onehot")

    refused = compile_model(FittedModel(unfitted, schema_of("regression")))

    assert isinstance(refused, NotCompiled)
    assert "could not be read" in refused.reason


def test_an_object_that_is_no_pipeline_falls_back() -> None:
    class Guess:
        classes_ = np.array(["a", "b"])

    assert compile_model(FittedModel.of(Guess(), schema_of("binary"))) == NotCompiled(
        "a Guess is not known; a Pipeline of preparation and estimator is"
    )


def test_an_encoder_that_refuses_unknown_categories_falls_back() -> None:
    encoder = ColumnTransformer([("plan", make_pipeline(CategoryFiller(), OrdinalEncoder()), ["plan"])])

    refused = compile_model(of_pipeline(encoder, LogisticRegression()))

    assert isinstance(refused, NotCompiled)
    assert "plan: a missing or unknown category is refused" in refused.reason


ESTIMATORS = {
    "forest": lambda: RandomForestClassifier(7, random_state=0),
    "single tree": lambda: RandomForestClassifier(1, random_state=0),
    "stumps": lambda: RandomForestClassifier(3, max_depth=1, random_state=0),
    "leaves only": lambda: RandomForestClassifier(4, min_samples_split=10**6, random_state=0),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=5),
    "linear": lambda: LogisticRegression(max_iter=500),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("drop", [None, "first"])
def test_usual_pipelines_of_users_are_compiled(estimator: str, drop: str | None) -> None:
    preparation = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["size", "paid", "visits"]),
            ("categories", make_pipeline(CategoryFiller(), OneHotEncoder(handle_unknown="ignore", drop=drop)), ["city", "plan"]),
            ("unused", "drop", ["flag"]),
        ]
    )
    model = of_pipeline(preparation, ESTIMATORS[estimator]())

    compiled = compile_model(model, held_out("binary"))

    assert isinstance(compiled, CompiledModel), compiled


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gamma", "absolute_error"])
def test_every_loss_of_boosting_keeps_its_link(loss: str) -> None:
    rows = rows_of("regression")
    positive = Rows(rows.columns, np.abs(rows.labels) + 0.1, rows.time_us)
    pipeline = build_pipeline(schema_of("regression"), HistGradientBoostingRegressor(loss=loss, max_iter=5), scale=False, encode="ordinal")
    model = FittedModel.of(pipeline.fit(frame(positive.columns, schema_of("regression")), positive.labels), schema_of("regression"))

    assert isinstance(compile_model(model, positive), CompiledModel)


@pytest.mark.parametrize("mmap_mode", [None, "r"])
@pytest.mark.parametrize("family", CANDIDATES)
def test_a_stored_model_says_the_same(family: str, mmap_mode: Any, tmp_path: Path) -> None:
    compiled = compiled_of(family, "multiclass", True)
    joblib.dump(compiled.to_pickle(), tmp_path / "compiled.joblib")

    loaded = CompiledModel.from_pickle(joblib.load(tmp_path / "compiled.joblib", mmap_mode=mmap_mode))

    assert (answers(loaded, held_out("multiclass").columns) == answers(compiled, held_out("multiclass").columns)).all()
    assert loaded.to_dict() == compiled.to_dict()


def test_a_loaded_model_computes_on_plain_arrays(tmp_path: Path) -> None:
    joblib.dump(compiled_of("linear", "binary").to_pickle(), tmp_path / "compiled.joblib")

    loaded = CompiledModel.from_pickle(joblib.load(tmp_path / "compiled.joblib", mmap_mode="r"))

    engine: Any = loaded.engine
    assert type(engine.weights) is np.ndarray
    assert type(engine.numbers.fill) is np.ndarray


def test_what_was_done_goes_into_metadata_as_json() -> None:
    facts = [compiled_of("boosting", "binary").to_dict(), NotCompiled("why").to_dict()]

    assert json.loads(json.dumps(facts)) == facts
    assert [t["engine"] for t in facts] == ["trees", "plain"]


@pytest.mark.parametrize(("once", "often", "crossover"), [(1.0, 2.0, 512), (2.0, 1.0, 1)])
def test_the_crossover_is_the_last_size_that_was_faster_in_one_call(once: float, often: float, crossover: int) -> None:
    ticks = (t for turn in count() for t in (turn * 10.0, turn * 10.0 + (once if turn % 8 < 4 else often)))
    engine: Any = compiled_of("boosting", "binary").engine

    assert time_crossover(engine, held_out("binary").columns, clock=lambda: next(ticks)).crossover == crossover


def data_folder() -> Path:
    return Path(os.environ.get("EVERGREEN_TEST_DATA", Path(__file__).parents[3].parent / "shared" / "data"))


@cache
def data_set(name: str) -> tuple[Schema, Rows]:
    folder = data_folder() / name
    meta = json.loads((folder / "meta.json").read_text())
    table = pd.read_csv(
        folder / f"{name}.csv.gz", keep_default_na=False, na_values=[""], nrows=6000, dtype=dict.fromkeys(meta["cat"], object)
    )
    names = [c for c in table.columns if c not in ("event_time", "target")]
    features = tuple(Feature(n, "categorical" if n in meta["cat"] else "numeric", nullable=True) for n in names)
    columns = {f.name: table[f.name].to_numpy(np.float64 if f.is_number else object) for f in features}
    columns |= {n: np.where(table[n].isna(), None, table[n].to_numpy(object)) for n in meta["cat"]}
    target = table["target"].to_numpy(np.float64 if meta["task"] == "regression" else object)
    target = target if meta["task"] == "regression" else np.array([str(v) for v in target], dtype=object)
    rows = Rows(columns, target, np.arange(len(table))).take(np.random.default_rng(0).permutation(len(table)))
    return Schema(features, "target", meta["task"]), rows


@pytest.mark.parametrize("family", ["linear", "random forest", "extra trees", "boosting"])
@pytest.mark.parametrize("name", DATA_SETS)
def test_models_of_real_data_are_compiled_and_proven(name: str, family: str) -> None:
    if not (data_folder() / name).exists():
        pytest.skip(f"SKIPPED: no data set {name}; set EVERGREEN_TEST_DATA to the folder of the real sets to run this test")
    schema, rows = data_set(name)
    model = fit(CANDIDATES[family], rows.slice(0, 3000), schema)

    compiled = compile_model(model, rows.slice(3000, len(rows)))

    assert isinstance(compiled, CompiledModel), compiled
    assert compiled.parity is not None
    assert compiled.parity.worst <= 1e-9
