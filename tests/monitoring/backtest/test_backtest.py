"""A back-test as a whole: what it compares, from what it starts, and what the verb says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.backtest.backtest import backtest
from monitoring.backtest.kept_trainings import KeptTrainings
from monitoring.backtest.living import Lived, Setting, live_through
from monitoring.backtest.policies import Policy
from monitoring.backtest.stream import Circumstances, Stream
from monitoring.cli.main import run
from monitoring.errors import InputError
from tests.monitoring.world import MODEL_FILE, weather
from training.model_file.model_spec import parse_spec
from training.registry.registry import Registry
from training.schema.rows import Rows
from training.settings import Home
from training.storage.database import open_database

NOTIFIES = MODEL_FILE.replace("act: auto", "act: notify")
ROWS = weather(0, 0, 60, flipped_from=35)


def table_of(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame({**rows.columns, "wet": rows.labels, "at": rows.time_us // 60_000_000})


def test_a_policy_that_never_retrains_is_behind_hindsight_once_the_world_has_changed() -> None:
    done = backtest(parse_spec(NOTIFIES), ROWS, policies=["never", "hindsight"], how=Circumstances("55%"), processes=1)

    by_name = {one.policy: one for one in done.scores}
    assert list(by_name) == ["yours", "never", "hindsight"]
    assert by_name["yours"].loss == by_name["never"].loss
    assert by_name["never"].regret is not None
    assert by_name["never"].regret > 20
    assert done.verdict == "No policy is surely better on this table than what the model file says."
    assert done.notes == ("The model file says act: notify, so that its own policy never retrains.",)


@pytest.mark.parametrize(
    ("options", "message"), [({"price": -1.0}, "price of a fit is -1"), ({"training_takes": timedelta(-1)}, "less than no")]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        backtest(parse_spec(MODEL_FILE), ROWS, **options)  # type: ignore[arg-type]


def test_what_was_trained_before_is_saved_again_as_another_version(tmp_path: Path) -> None:
    kept, spec, rows = KeptTrainings(tmp_path), parse_spec(MODEL_FILE), ROWS.slice(0, 800)
    home = Home(tmp_path / "home").ensure()
    database = open_database(f"sqlite:///{home.database}")
    to = {"home": home, "registry": Registry(database), "or_guess": True}

    versions = [
        kept(rows, parse_spec(text), now=datetime(2026, 1, day, tzinfo=UTC), **to) for day, text in ((1, MODEL_FILE), (2, NOTIFIES))
    ]

    database.close()
    answers = [one.made.draft.model.predict(ROWS.columns).probability for one in versions]
    assert versions[0].version != versions[1].version
    np.testing.assert_array_equal(*answers)
    assert len(list(tmp_path.glob("*.pickle"))) == 1
    assert kept.key_of(rows.slice(0, 799), spec, is_by_hand=True) != kept.key_of(rows, spec, is_by_hand=True)


def test_the_verb_says_in_one_sentence_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.yaml").write_text(MODEL_FILE)
    table_of(ROWS.slice(0, 400)).to_parquet(tmp_path / "rows.parquet")

    code = run(["backtest", str(tmp_path / "model.yaml"), str(tmp_path / "rows.parquet")], {})

    assert code == 1
    assert "pass 1 slots (watching.every: 7 days); wanted at least 3" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("trait", ["all policies", "guess"])
def test_all_policies_are_lived_through_by_the_verb(trait: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = weather(0, 0, 150, flipped_from=75)
    if trait == "guess":  # nothing can be learned of the first 40 %
        rng = np.random.default_rng(0)
        labels = np.where(rows.time_us < 60 * 86_400_000_000, np.where(rng.random(len(rows)) < 0.5, "yes", "no"), rows.labels).astype(
            object
        )
        rows = replace(rows, target=labels)
    (tmp_path / "model.yaml").write_text(MODEL_FILE)
    table_of(rows).to_parquet(tmp_path / "rows.parquet")
    out = tmp_path / "report.html"

    code = run(
        ["backtest", str(tmp_path / "model.yaml"), str(tmp_path / "rows.parquet"), "--first", "40%", "--out", str(out), "--json"], {}
    )

    done = json.loads(capsys.readouterr().out)
    by_name = {one["policy"]: one for one in done["policies"]}
    assert code == 0
    assert list(by_name) == [
        "yours",
        "never",
        "maps",
        "every3-all",
        "every3-recent",
        "every9-all",
        "every9-recent",
        "alarm",
        "keeper",
        "hindsight",
    ]
    assert by_name["yours"]["loss"] < by_name["never"]["loss"]
    assert by_name["yours"]["promotions"] > 0
    assert any("start from the guess" in note for note in done["notes"]) == (trait == "guess")
    assert "<svg" in out.read_text()


def test_policies_that_do_the_same_live_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model file's own is the keeper where it says nothing else; a schedule that is written is kept, and so another life."""
    keys = MODEL_FILE.replace("members: 1, map: false", "map: true").replace("  cool_down: 14d\n  budget_per_week: 3\n", "")
    default = parse_spec(keys.replace("gate: {rows: 200, min_train_rows: 100}\n  ", ""))
    lives: list[str] = []

    def life(stream: Stream, policy: Policy, setting: Setting) -> Lived:
        lives.append(policy.name)
        return live_through(stream, replace(policy, kind="first version"), setting)

    monkeypatch.setattr("monitoring.backtest.backtest.live_through", life)
    for text in (default.text, default.text.replace("act: auto", "act: auto\n  schedule: 14d")):
        backtest(parse_spec(text), ROWS, policies=["keeper"], how=Circumstances("55%"), processes=1)

    assert lives == ["yours", "yours", "keeper"]
