"""The benchmark of the loop: its streams, its reference and its scores, on a small stream that turns round."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.loop import streams
from benchmarks.loop.lived import Lived, live
from benchmarks.loop.policies import Policy, policies
from benchmarks.loop.reference import Reference, reference_of
from benchmarks.loop.scores import Spread, degraded, regret
from benchmarks.loop.streams import Case, Stream, load, make_stream, row_losses
from benchmarks.loop.table import run, table

pytestmark = pytest.mark.xdist_group("driven")
ROWS, TURNS = 1600, 400
META = {"task": "binary", "cat": ["place"], "delay_rows": 20}
CASE = Case("linear", start=0.15, ticks=10)


def turning(rows: int = ROWS) -> pd.DataFrame:
    """Return a table whose target hangs on `x` one way, and from a row on the other way."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=rows)
    slope = np.where(np.arange(rows) < TURNS, 2.0, -2.0)
    target = (rng.random(rows) < 1 / (1 + np.exp(-slope * x))).astype(int)
    return pd.DataFrame({"x": x, "place": rng.choice(["a", "b"], rows), "event_time": "not looked at", "target": target})


def stream_of(case: Case = CASE) -> Stream:
    return make_stream("turning", turning(), META, case)


def test_ticks_begin_when_the_first_labels_are_in_and_each_is_a_slot() -> None:
    stream = stream_of()

    assert (stream.n_first, int(stream.edges[0])) == (240, 260)
    assert np.diff(stream.edges).tolist() == [50] * CASE.ticks
    begins = stream.rows.time_us[stream.edges[:-1]]
    assert begins[0] == streams.BEGIN_US
    assert (np.arange(CASE.ticks) == begins // streams.TICK_US - begins[0] // streams.TICK_US).all()


def test_shuffled_rows_are_the_same_rows_at_the_times_of_others() -> None:
    plain, mixed = stream_of(), stream_of(Case("linear", is_shuffled=True))

    assert sorted(plain.rows.columns["x"]) == sorted(mixed.rows.columns["x"])
    assert (plain.rows.columns["x"] != mixed.rows.columns["x"]).any()
    assert (plain.rows.time_us == mixed.rows.time_us).all()


def test_labels_come_as_many_times_later_as_is_asked() -> None:
    assert stream_of(Case("linear", delay_factor=0.25)).delay == 5
    assert stream_of(Case("linear", delay_factor=4)).delay == 80


@pytest.mark.parametrize(("fault", "share"), [("flip", 0.4), ("constant", 0.5)])
def test_wrong_labels_are_those_of_three_stretches_and_the_true_ones_stay(fault: str, share: float) -> None:
    stream = stream_of(Case("linear", fault=fault))

    is_wrong = stream.rows.labels != stream.true_labels
    assert stream.is_faulty.sum() == 3 * (ROWS // 12)
    assert not is_wrong[~stream.is_faulty].any()
    assert is_wrong[stream.is_faulty].mean() == pytest.approx(share, abs=0.06)


def test_the_number_that_answers_hang_on_is_the_one_that_sticks() -> None:
    stream = stream_of(Case("linear", fault="stuck"))

    assert (stream.rows.columns["x"][stream.is_faulty] == 0).all()
    assert (stream.rows.columns["x"][~stream.is_faulty] != 0).all()
    assert (stream.rows.labels == stream.true_labels).all()


def test_a_class_that_an_answer_does_not_know_costs_what_one_in_a_thousand_costs() -> None:
    stream = stream_of()
    model = streams.fit(stream.candidate, stream.rows.slice(0, 360), stream.spec().schema)
    answers = model.predict(stream.rows.slice(0, 2).columns)

    assert row_losses(answers, np.array(["other", "other"], dtype=object)) == pytest.approx(-np.log(1e-3))


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Refits at every tick."""
    return reference_of(stream_of())


def test_the_reference_takes_a_window_that_forgets_and_may_be_mapped(reference: Reference) -> None:
    turned = int(np.searchsorted(stream_of().edges, TURNS)) + 4

    assert reference.window != "all"
    assert np.mean(reference.losses[turned:]) < 0.65
    assert np.mean(reference.losses) == pytest.approx(reference.clean)
    assert reference.mapped[0] == reference.losses[0]
    assert reference.mapped[turned] != reference.losses[turned]


def test_a_model_that_is_never_retrained_is_mapped_at_slots_and_judged_by_tick() -> None:
    few = replace(CASE, ticks=5)

    lived = live(stream_of(few), policies()["maps only"])

    assert (lived.fits, lived.promoted, lived.slots, len(lived.losses)) == (0, 0, few.ticks, few.ticks)
    assert lived.reweighed >= 1
    assert not lived.is_from_guess
    assert np.mean(lived.losses) == pytest.approx(lived.clean)
    assert max(lived.losses[:2]) < 0.75 < lived.losses[3]


@pytest.mark.slow
def test_what_the_loop_trains_is_counted_and_regains_what_was_lost() -> None:
    gate = {"rows": 60, "min_train_rows": 100}
    eager = Policy({"members": 1, "map": False, "window": "28d"}, {"schedule": "7d", "cool_down": "7d", "budget_per_week": 9, "gate": gate})

    lived = live(stream_of(), eager)

    assert lived.promoted >= 1
    assert lived.promoted + lived.refused + lived.failed <= lived.fits
    assert np.mean(lived.losses[-2:]) < 0.7 * max(lived.losses)


@pytest.mark.slow
def test_where_nothing_beats_the_guess_all_begins_with_it() -> None:
    table = turning()[TURNS - 130 :]  # what is learned first is wrong of the rows it is validated on

    lived = live(make_stream("turned", table, META, replace(CASE, ticks=2)), policies()["never"])

    assert lived.is_from_guess
    assert lived.losses == pytest.approx([np.log(2)] * 2, abs=0.05)


NEVER = Lived([2.0] * 10, 2.0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 10, True, 1.0)


def test_what_was_run_is_not_run_again_and_both_tables_show_it(tmp_path: Path, reference: Reference) -> None:
    kept = tmp_path / "runs" / f"turning reference {CASE}.json"
    kept.parent.mkdir()
    kept.write_text(json.dumps(asdict(reference)))

    again = run("turning", "reference", CASE, 1, kept.parent)

    assert again == reference
    lines = list(table({("turning", "reference"): reference, ("turning", "never"): NEVER}))
    behind = regret(NEVER.losses, reference.losses)
    assert any(line.startswith(f"| turning | never, from the guess | {behind:+.1f} | 2 | 0 |") for line in lines)
    assert f"| never | 1 | {behind:+.1f} | +50.0 | {behind:+.1f} | 100.0 | 0 |" in lines


def test_a_table_is_read_with_what_its_meta_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "turning"
    folder.mkdir()
    turning().to_csv(folder / "turning.csv.gz", index=False)
    (folder / "meta.json").write_text(json.dumps(META))
    monkeypatch.setenv("EVERGREEN_TEST_DATA", str(tmp_path))

    read = load("turning", CASE)

    assert streams.names() == ["turning"]
    assert read is not None
    assert (read.true_labels == stream_of().true_labels).all()
    assert read.text == stream_of().text


def test_a_stream_that_is_not_there_is_skipped_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EVERGREEN_TEST_DATA", "nowhere")

    assert load("elec2", CASE) is None
    assert "SKIPPED elec2" in capsys.readouterr().out
    assert streams.names() == []
    assert "SKIPPED: no stream in nowhere" in capsys.readouterr().out


def test_regret_and_degraded_time_are_what_they_are_said_to_be() -> None:
    assert regret([1.0, 2.0], [1.0, 1.0]) == 50.0
    assert degraded([1.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0], [1.0] * 7) == 0.6
    assert Spread.of([-1.0, 2.0, 100.0]) == Spread(2.0, 17.0, 100.0)
