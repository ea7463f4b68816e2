import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from training.artifact import load_verified
from training.candidates import candidates_for
from training.database import Database
from training.dataset import read_rows, read_table
from training.errors import NothingBeatsBaselineError, SchemaError, TooFewRowsError
from training.registry import Registry
from training.rows import Rows
from training.run import train, wrap_imported
from training.schema import frame
from training.search import fit
from training.settings import Home
from training.signing import load_or_make_key
from training.spec import ModelSpec, load_spec

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]
NOW = datetime(2024, 6, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("EVERGREEN_TEST_DATA") or ROOT / ".." / "shared" / "data")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_run_ends_with_a_version_that_reproduces_its_golden_rows(task: str, spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of(task)
    rows = rows_of(spec.schema)

    result = train(rows, spec, home=home, now=NOW)

    loaded = load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))
    loaded.self_test()
    assert len(loaded.model.predict(rows.columns)) == len(rows)
    assert result.version.startswith("20240601T000000Z-")


def test_a_pipeline_that_does_not_serve_is_small_on_the_disk(spec_of: Specs, rows_of: Make, home: Home, tmp_path: Path) -> None:
    spec = spec_of("binary")
    spec = replace(spec, training=replace(spec.training, candidates=("forest",)))
    rows = rows_of(spec.schema)

    result = train(rows, spec, home=home, now=NOW)

    loaded = load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))
    joblib.dump(loaded.model.payload(), tmp_path / "uncompressed")
    assert loaded.compiled is not None
    assert result.artifact.manifest.files["model.joblib"].size < (tmp_path / "uncompressed").stat().st_size / 2
    assert np.array_equal(loaded.model.predict(rows.columns).probability, loaded.compiled.predict(rows.columns).probability)


@pytest.mark.parametrize("family", ["linear", "forest", "boosting"])
def test_every_family_survives_the_disk(family: str, spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("multiclass")
    spec = replace(spec, training=replace(spec.training, candidates=(family,)))  # type: ignore[arg-type]
    rows = rows_of(spec.schema)

    result = train(rows, spec, home=home, now=NOW)

    loaded = load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))
    assert loaded.manifest.algorithm == family
    assert loaded.model.predict(rows.columns).probability is not None


def test_the_manifest_says_what_the_model_has_seen_and_where_its_rows_are(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)

    manifest = train(rows, spec, home=home, now=NOW).artifact.manifest

    assert manifest.trained_through_us == int(rows.time_us[-1])
    assert manifest.rows_digest is not None
    assert len(read_rows(home.rows, manifest.rows_digest, spec.schema)) == len(rows)
    assert manifest.metrics["log_loss"]["low"] <= manifest.metrics["log_loss"]["value"]


def test_the_same_run_with_the_recorded_rungs_gives_the_same_model(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)

    first = train(rows, spec, home=home, now=NOW)
    again = train(rows, spec, home=home, now=NOW, stop_after=first.artifact.manifest.rungs)

    assert first.artifact.manifest.model_sha256 == again.artifact.manifest.model_sha256


def test_a_table_in_a_notebook_is_enough(spec_of: Specs, rows_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema, n=300)
    table = pd.DataFrame({**rows.columns, "y": rows.labels, "t": np.arange(300)})
    monkeypatch.chdir(tmp_path)

    result = train(table, spec)

    assert result.artifact.path.is_relative_to(tmp_path / ".evergreen" / "artifacts")


def test_a_run_by_hand_registers_and_promotes_nothing(spec_of: Specs, rows_of: Make, home: Home, database: Database) -> None:
    spec, registry = spec_of("binary"), Registry(database)

    result = train(rows_of(spec.schema), spec, home=home, registry=registry, now=NOW)

    assert [v.version for v in registry.versions("small")] == [result.version]
    assert registry.alias("small", "champion") is None


def test_a_changed_contract_says_which_requests_would_break(spec_of: Specs, rows_of: Make, home: Home, database: Database) -> None:
    spec, registry = spec_of("binary"), Registry(database)
    registry.put_model(spec, now=NOW)
    stricter = replace(spec, schema=replace(spec.schema, extra="error"))

    result = train(rows_of(spec.schema), stricter, home=home, registry=registry, now=NOW)

    assert result.breaks == ("extra columns, ignored until now, are refused",)


def test_a_window_leaves_older_rows_out(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    windowed = replace(spec, training=replace(spec.training, window=timedelta(days=10)))

    assert train(rows_of(spec.schema), windowed, home=home, now=NOW).report.rows == 240


def test_when_nothing_beats_the_baseline_nothing_is_saved(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)
    other = np.where(rows.labels == "yes", "no", "yes").astype(object)
    turned = np.where(np.arange(len(rows)) < 0.55 * len(rows), rows.labels, other)

    with pytest.raises(NothingBeatsBaselineError):
        train(replace(rows, target=turned), spec, home=home, now=NOW)

    assert list(home.artifacts.iterdir()) == []


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


def test_the_table_of_a_pipeline_is_the_one_it_was_fitted_on(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("regression")
    rows = rows_of(spec.schema)
    result = train(rows, spec, home=home, now=NOW)
    loaded = load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key))

    by_hand = loaded.model.pipeline.predict(frame(rows.columns, spec.schema))

    assert by_hand == pytest.approx(loaded.model.predict(rows.columns).label)


def test_the_card_tells_scores_segments_rungs_and_data(spec_of: Specs, rows_of: Make, home: Home) -> None:
    spec = spec_of("binary")

    card = (train(rows_of(spec.schema), spec, home=home, now=NOW).artifact.path / "card.md").read_text()

    assert "| **log_loss** | lower |" in card
    assert "## By c" in card
    assert "Rung 1: 480 rows" in card
    assert "600 rows from 2024-01-01" in card


@pytest.mark.parametrize("name", ["bike_sharing", "bank_marketing", "elec2", "kdd99"])
def test_the_first_30_percent_of_a_real_stream_make_a_version(name: str, home: Home) -> None:
    path = DATA / name / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"SKIPPED: no real data at {path}; set EVERGREEN_TEST_DATA")
    spec = load_spec(ROOT / "examples" / "real" / f"{name}.yaml")
    rows = read_table(path, spec.schema)

    result = train(rows.slice(0, len(rows) * 3 // 10), spec, home=home, now=NOW)

    load_verified(result.artifact.path, home.cache, load_or_make_key(home.signing_key)).self_test()
