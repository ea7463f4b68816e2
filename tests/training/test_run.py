import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from tests.training.runs import NOW, Run
from training.artifacts.artifact import load_verified
from training.artifacts.signing import load_or_make_key
from training.dataset.dataset import read_rows, read_table
from training.errors import CandidateError, DataError, NothingBeatsBaselineError, SchemaError, TooFewRowsError
from training.fitting.candidates import candidates_for
from training.fitting.search import fit
from training.learnable_rows import learnable_rows
from training.model_file.model_spec import ModelSpec, load_spec, parse_spec
from training.policies import Budget, LabelPolicy
from training.registry.registry import Registry
from training.registry.tables import Right
from training.run import train, wrap_imported
from training.schema.rows import Rows
from training.schema.schema import frame
from training.settings import Home
from training.storage.database import Database, open_database

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]
ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("EVERGREEN_TEST_DATA") or ROOT / ".." / "shared" / "data")
SLOW = ("bank_marketing", "elec2", "kdd99")

pytestmark = pytest.mark.xdist_group("runs")


def of_family(spec: ModelSpec, family: str) -> ModelSpec:
    """Return a model file with one family of candidates and few fits; linear ones are quick."""
    return replace(spec, training=replace(spec.training, candidates=(family,), budget=Budget(seconds=None, fits=2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_run_ends_with_a_version_that_reproduces_its_golden_rows(task: str, run_of: Callable[[str], Run]) -> None:
    run = run_of(task)

    loaded = run.loaded()

    loaded.self_test()
    assert len(loaded.model.predict(run.rows.columns)) == len(run.rows)
    assert run.result.version.startswith("20240601T000000Z-")


def test_a_pipeline_that_does_not_serve_is_small_on_the_disk(spec_of: Specs, rows_of: Make, home: Home, tmp_path: Path) -> None:
    spec = of_family(spec_of("binary"), "forest")
    rows = rows_of(spec.schema)

    result = train(rows, spec, home=home, now=NOW)

    loaded = load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))
    joblib.dump(loaded.model.to_pickle(), tmp_path / "uncompressed")
    assert loaded.compiled is not None
    assert result.artifact.manifest.files["model.joblib"].size < (tmp_path / "uncompressed").stat().st_size / 2
    assert np.array_equal(loaded.model.predict(rows.columns).probability, loaded.compiled.predict(rows.columns).probability)


@pytest.mark.parametrize("family", ["linear", "forest", "boosting"])
def test_every_family_survives_the_disk(family: str, spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = of_family(spec_of("multiclass"), family)
    rows = rows_of(spec.schema)

    result = train(rows, spec, home=home, now=NOW)

    loaded = load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))
    assert loaded.manifest.algorithm == family
    assert loaded.model.predict(rows.columns).probability is not None


def test_the_manifest_says_what_the_model_has_seen_and_where_its_rows_are(run_of: Callable[[str], Run]) -> None:
    run = run_of("binary")

    manifest = run.result.artifact.manifest

    assert manifest.trained_through_us == int(run.rows.time_us[-1])
    assert manifest.rows_digest is not None
    assert len(read_rows(run.home.rows, manifest.rows_digest, run.spec.schema)) == len(run.rows)
    assert manifest.metrics["log_loss"]["low"] <= manifest.metrics["log_loss"]["value"]


def test_the_same_run_with_the_recorded_rungs_gives_the_same_model(run_of: Callable[[str], Run], home: Home) -> None:
    first = run_of("binary")

    again = train(first.rows, first.spec, home=home, now=NOW, stop_after=first.result.artifact.manifest.rungs)

    assert first.result.artifact.manifest.model_sha256 == again.artifact.manifest.model_sha256


def test_a_table_in_a_notebook_is_enough(spec_of: Specs, rows_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = of_family(spec_of("binary"), "linear")
    rows = rows_of(spec.schema, n=300)
    table = pd.DataFrame({**rows.columns, "y": rows.labels, "t": np.arange(300)})
    monkeypatch.chdir(tmp_path)

    result = train(table, spec)

    assert result.artifact.path.is_relative_to(tmp_path / ".evergreen" / "artifacts")


def test_a_run_by_hand_registers_and_promotes_nothing(spec_of: Specs, rows_of: Make, home: Home, database: Database) -> None:
    spec, registry = of_family(spec_of("binary"), "linear"), Registry(database)

    result = train(rows_of(spec.schema), spec, home=home, registry=registry, now=NOW)

    assert [v.version for v in registry.versions("small")] == [result.version]
    assert registry.alias("small", "champion") is None


def test_a_changed_contract_says_which_requests_would_break(spec_of: Specs, rows_of: Make, home: Home, database: Database) -> None:
    spec, registry = of_family(spec_of("binary"), "linear"), Registry(database)
    registry.put_model(spec, now=NOW)
    stricter = replace(spec, schema=replace(spec.schema, extra="error"))

    result = train(rows_of(spec.schema), stricter, home=home, registry=registry, now=NOW)

    assert result.breaks == ("extra columns, ignored until now, are refused",)


def test_a_window_leaves_older_rows_out(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = of_family(spec_of("binary"), "linear")
    windowed = replace(spec, training=replace(spec.training, window=timedelta(days=10)))

    assert train(rows_of(spec.schema), windowed, home=home, now=NOW).report.rows == 240


def test_when_nothing_beats_the_baseline_nothing_is_saved(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)
    other = np.where(rows.labels == "yes", "no", "yes").astype(object)
    turned = np.where(np.arange(len(rows)) < 0.55 * len(rows), rows.labels, other)

    with pytest.raises(NothingBeatsBaselineError) as refusal:
        train(replace(rows, target=turned), spec, home=home, now=NOW)

    [kept] = home.reports.iterdir()
    assert list(home.artifacts.iterdir()) == []
    assert str(kept) in str(refusal.value)
    assert kept.name == "small-20240601T000000.md"
    assert "no candidate beats the constant guess" in kept.read_text()
    assert "| a | numeric |" in kept.read_text()


def test_where_nothing_beats_the_guess_a_version_of_it_is_made_if_that_is_wanted(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = of_family(spec_of("binary"), "linear")
    rows = rows_of(spec.schema)
    other = np.where(rows.labels == "yes", "no", "yes").astype(object)
    turned = np.where(np.arange(len(rows)) < 0.55 * len(rows), rows.labels, other)

    result = train(replace(rows, target=turned), spec, home=home, now=NOW, or_guess=True)

    assert result.artifact.manifest.algorithm == "baseline"
    assert len(np.unique(result.made.draft.model.predict(rows.columns).probability, axis=0)) == 1


def test_a_run_of_the_loop_leaves_it_to_the_gate_whether_what_beats_no_guess_is_better(
    spec_of: Specs, rows_of: Make, home: Home, database: Database
) -> None:
    spec, registry = spec_of("binary"), Registry(database)
    registry.put_model(spec, now=NOW)
    rows = rows_of(spec.schema)
    other = np.where(rows.labels == "yes", "no", "yes").astype(object)
    turned = replace(rows, target=np.where(np.arange(len(rows)) < 0.55 * len(rows), rows.labels, other))

    result = train(turned, spec, home=home, registry=registry, now=NOW, right=Right("run", lambda connection: None, {}))

    assert registry.version("small", result.version).manifest["metrics"]
    assert "it is no better than the constant guess**, nor in validation" in result.made.draft.card
    assert not home.reports.exists()


def test_labels_that_come_late_are_waited_for(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = of_family(spec_of("regression"), "linear")
    spec = replace(spec, labels=LabelPolicy(delay=timedelta(hours=100)))
    rows = rows_of(spec.schema)
    is_newest = np.arange(len(rows)) >= len(rows) - 100
    snapshot = replace(rows, target=np.where(is_newest & (rows.labels > -1.0), np.nan, rows.labels))  # large ones are not over yet

    result = train(snapshot, spec, home=home, now=NOW)
    of_old = train(rows.slice(0, len(rows) - 100), spec, home=home, now=NOW)

    assert result.report.rows == 500
    assert result.report.too_new == 100
    assert result.metrics == of_old.metrics
    assert result.artifact.manifest.trained_through_us == int(rows.time_us[499])


def test_a_fall_of_labels_before_the_delay_is_a_warning(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = replace(of_family(spec_of("regression"), "linear"), labels=LabelPolicy(delay=timedelta(0)))
    rows = rows_of(spec.schema)
    has_none = (np.arange(len(rows)) >= 480) & (np.arange(len(rows)) % 3 == 0)

    result = train(replace(rows, target=np.where(has_none, np.nan, rows.labels)), spec, home=home, now=NOW)

    assert any("labels come later than labels.delay says" in text for text in result.warnings)
    assert "| 2024-01-25 |" in result.report.to_markdown()


def test_too_few_rows_are_refused_in_a_sentence(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")

    with pytest.raises(TooFewRowsError, match="59 labelled rows are too few"):
        train(rows_of(spec.schema, n=59), spec, home=home, now=NOW)


def test_a_pipeline_trained_elsewhere_becomes_a_version(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)
    elsewhere = fit(candidates_for("binary", ["linear"], 0)[0], rows, spec.schema).pipeline

    result = wrap_imported(elsewhere, spec, rows, home=home, now=NOW)

    assert result.artifact.manifest.algorithm == "imported LogisticRegression"
    assert "imported" in (result.artifact.path / "card.md").read_text()


def test_a_pipeline_that_cannot_answer_is_refused(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    numbers_only = fit(candidates_for("regression", ["linear"], 0)[0], rows_of(spec_of("regression").schema), spec_of("regression").schema)

    with pytest.raises(SchemaError, match="cannot answer rows of this schema"):
        wrap_imported(numbers_only.pipeline, spec, rows_of(spec.schema), home=home, now=NOW)


def test_the_table_of_a_pipeline_is_the_one_it_was_fitted_on(run_of: Callable[[str], Run]) -> None:
    run = run_of("regression")
    loaded = run.loaded()

    by_hand = loaded.model.pipeline.predict(frame(run.rows.columns, run.spec.schema))

    assert by_hand == pytest.approx(loaded.model.predict(run.rows.columns).label)


@pytest.mark.parametrize(
    "name", ["bike_sharing", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bank_marketing", "elec2", "kdd99"))]
)
def test_the_first_30_percent_of_a_real_stream_make_a_version(name: str, home: Home) -> None:
    path = DATA / name / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"SKIPPED: no real data at {path}; set EVERGREEN_TEST_DATA")
    spec = load_spec(ROOT / "examples" / "real" / f"{name}.yaml")
    rows = read_table(path, spec.schema)

    result = train(rows.slice(0, len(rows) * 3 // 10), spec, home=home, now=NOW)

    load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key)).self_test()


def test_a_result_predicts_a_table_in_its_order_and_registers_in_another_home(run_of: Callable[[str], Run], tmp_path: Path) -> None:
    run = run_of("binary")
    table = pd.DataFrame(run.rows.columns).iloc[:40].assign(t=range(40)).iloc[::-1]

    answers = run.result.predict(table.assign(y="who knows", t="whenever"))
    version = run.result.register(tmp_path / "other")

    expected = run.loaded().predictor.predict(run.rows.take(slice(39, None, -1)).columns)
    assert answers.index.tolist() == table.index.tolist()
    assert answers.columns.tolist() == ["prediction", "probability_no", "probability_yes"]
    assert answers["prediction"].tolist() == expected.label.tolist()
    assert np.allclose(answers["probability_yes"], expected.score)
    other = Home(tmp_path / "other")
    opened = open_database(other.database_url)
    record = Registry(opened).version("small", version)
    opened.close()
    copy = load_verified(other.artifacts / record.path, other.cache, load_or_make_key(other.signing_key), expected_digest=record.digest)
    copy.self_test()
    assert version == run.result.version
    assert len(read_rows(other.rows, str(copy.manifest.rows_digest), run.spec.schema)) == len(run.rows)


def test_a_result_predicts_numbers_and_refuses_what_breaks_the_contract(run_of: Callable[[str], Run]) -> None:
    run = run_of("regression")
    table = pd.DataFrame(run.rows.columns).iloc[:5]

    answers = run.result.predict(table)

    assert answers.columns.tolist() == ["prediction"]
    with pytest.raises(DataError, match="true or false"):
        run.result.predict(table.assign(b="maybe"))
    with pytest.raises(DataError, match="rows to predict"):
        run.result.predict(table[:0])
    with pytest.raises(DataError, match="two columns of that name"):
        run.result.predict(table.rename_axis(table.columns[0]))
    for other in (table.iloc[0], table.to_dict("records"), table.to_numpy(), None, "t.csv", dict(table.iloc[0])):
        with pytest.raises(DataError, match=f"got {type(other).__name__}.*wanted a DataFrame, or a mapping of names to columns"):
            run.result.predict(other)  # type: ignore[arg-type]


def test_what_is_no_table_or_no_model_file_is_told_so(spec_of: Specs) -> None:
    spec = spec_of("binary")

    with pytest.raises(TypeError, match=r"spec is 'model.yaml', wanted a ModelSpec, such as load_spec"):
        train(pd.DataFrame({"a": [1]}), "model.yaml")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rows are a dict, wanted a DataFrame, a path or an address"):
        train({"a": [1]}, spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidates", "refusal"), [("[linear]", DataError), ("[{name: mine, factory: nowhere_at_all:build}]", CandidateError)]
)
def test_a_table_with_free_text_is_for_estimators_of_ones_own_only(candidates: str, refusal: type[Exception], tmp_path: Path) -> None:
    features = "features: {t: categorical, x: numeric}"
    spec = parse_spec(f"model: m\nschema: {{target: y, task: binary, {features}}}\ntraining: {{candidates: {candidates}}}")
    table = pd.DataFrame({"t": [f"text {i}" for i in range(1_100)], "x": range(1_100), "y": ["a", "b"] * 550})

    with pytest.raises(refusal):
        train(table, spec, home=Home(tmp_path / "home"))


def test_a_table_without_times_is_shuffled_by_the_seed_and_rows_are_not(tmp_path: Path) -> None:
    spec = parse_spec(
        "model: m\nschema: {target: y, task: binary, features: {x: numeric}}\n"
        "training: {candidates: [linear], budget: 1 fit, split: random, calibrate: false}"
    )
    table = pd.DataFrame({"x": np.arange(200.0), "y": ["a"] * 100 + ["b"] * 100})

    first, again = (train(table, spec, home=Home(tmp_path / name)).artifact.manifest.rows_digest for name in ("first", "again"))
    kept = read_rows(tmp_path / "first" / "rows", str(first), spec.schema)

    assert first == again
    assert sorted(kept.columns["x"].tolist()) == table["x"].tolist()
    assert kept.columns["x"].tolist() != table["x"].tolist()
    assert [("a" if x < 100 else "b") for x in kept.columns["x"].tolist()] == kept.labels.tolist()


def test_the_reference_is_of_all_rows_of_the_table_labelled_or_not_before_the_window_too(
    spec_of: Specs, rows_of: Make, tmp_path: Path
) -> None:
    spec = of_family(spec_of("regression", "watching: {segments: [c], bucket: 1h}"), "linear")
    rows = rows_of(spec.schema)
    target = rows.labels.copy()
    target[[0, 1, 100, 101, 598, 599]] = np.nan
    window = timedelta(microseconds=int(rows.time_us[597] - rows.time_us[300]))
    known = replace(spec, labels=LabelPolicy(timedelta(0)), training=replace(spec.training, window=window))

    made = train(replace(rows, target=target), known, home=Home(tmp_path).ensure(), now=NOW)

    reference = made.made.draft.reference
    learned = len(made.made.rows)
    assert reference.total.rows == 598 > learned
    assert int(reference.total.counts["@score"].sum()) == round(0.2 * learned)
    assert int(reference.total.counts["a"].sum()) == 598
    assert (reference.start_us, reference.end_us) == (int(rows.time_us[0]), int(rows.time_us[597]))
    assert sum(reference.segments[key].rows for key in reference.measures.keys[1:]) == 598
    assert reference.variation is not None
    assert made.artifact.manifest.bins_id == reference.measures.id


def test_what_moves_by_itself_is_said_and_stands_on_the_card(spec_of: Specs, rows_of: Make, tmp_path: Path) -> None:
    more = "    hour: integer\n    number: integer\n"
    text = spec_of("regression").text.replace("labels: {", more.rstrip().lstrip("\n") + "\nlabels: {", 1)
    spec = of_family(parse_spec(text), "linear")
    rows = rows_of(spec.schema)
    columns = rows.columns | {"hour": np.arange(600) % 24 * 1.0, "number": np.arange(600) + 7.0}

    made = train(replace(rows, columns=columns), spec, home=Home(tmp_path).ensure(), now=NOW)

    assert made.moving == (
        "hour follows from the hour of a row's time: watched by the rows that differ from it",
        "number runs with time: counted, but not watched",
    )
    assert all(f"- {sentence}" in made.made.draft.card for sentence in made.moving)


def test_a_table_of_reference_is_read_by_hand_and_not_by_the_loop(spec_of: Specs, rows_of: Make, tmp_path: Path) -> None:
    rows = rows_of(spec_of("regression").schema)
    calm = pd.DataFrame(rows.columns)[:100].assign(t=np.arange(100), d=pd.to_datetime(rows.columns["d"][:100], unit="s"))
    calm.to_csv(tmp_path / "calm.csv", index=False)
    spec = of_family(parse_spec(spec_of("regression", "watching: {drift: {reference: calm.csv}}").text, tmp_path), "linear")
    home = Home(tmp_path / "home").ensure()

    by_hand = train(rows, spec, home=home, now=NOW).made.draft.reference

    assert (by_hand.total.rows, int(by_hand.total.counts["@score"].sum())) == (100, 100)
    for few in (0, 59):
        calm[:few].to_csv(tmp_path / "calm.csv", index=False)
        with pytest.raises(TooFewRowsError, match=rf"^watching\.drift\.reference: .*calm\.csv: got {few} rows, wanted at least 60$"):
            train(rows, spec, home=home, now=NOW)
    (tmp_path / "calm.csv").unlink()
    by_loop = train(rows, spec, home=home, now=NOW, right=Right("r", lambda _: None, {})).made.draft.reference
    assert by_loop.total.rows == 600
    with pytest.raises(DataError, match=r"^watching\.drift\.reference: the table .*calm\.csv cannot be read"):
        train(rows, spec, home=home, now=NOW)


def test_a_bad_value_in_a_table_of_reference_is_named_with_the_field_the_row_and_what_is_wanted(
    spec_of: Specs, rows_of: Make, tmp_path: Path
) -> None:
    rows = rows_of(spec_of("regression").schema)
    calm = pd.DataFrame(rows.columns)[:100].assign(t=np.arange(100), d=pd.to_datetime(rows.columns["d"][:100], unit="s"))
    calm.assign(a=["warm", *calm["a"][1:]]).to_csv(tmp_path / "calm.csv", index=False)
    spec = parse_spec(spec_of("regression", "watching: {drift: {reference: calm.csv}}").text, tmp_path)

    with pytest.raises(DataError) as refused:
        learnable_rows(rows, spec)

    assert str(refused.value).startswith(f"watching.drift.reference: {tmp_path / 'calm.csv'}: 1 value(s) do not fit the schema\n")
    assert "row 0, column 'a': got 'warm', wanted" in str(refused.value)
    assert [problem.column for problem in refused.value.problems] == ["a"]
