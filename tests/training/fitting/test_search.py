import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.errors import CandidateError, NothingBeatsBaselineError, TooFewRowsError
from training.fitting.search import SearchResult, refuse_useless, search, time_folds
from training.model_file.model_spec import ModelSpec
from training.policies import Budget, TrainingPolicy
from training.run import train
from training.schema.rows import Rows

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]


def within(spec: ModelSpec, budget: Budget, metric: str | None = None) -> ModelSpec:
    return replace(spec, training=TrainingPolicy(budget=budget), metric=metric or spec.metric)


def linear_within(spec: ModelSpec, budget: Budget) -> ModelSpec:
    """Return a model file whose search has only quick candidates."""
    return replace(spec, training=TrainingPolicy(candidates=("linear",), budget=budget))


def fits(count: int) -> Budget:
    return Budget(None, count)


def scores(result: SearchResult) -> list[list[tuple[str, float]]]:
    return [[(s.candidate, s.score) for s in rung.scores] for rung in result.rungs]


@pytest.mark.parametrize(
    ("task", "metric"), [("binary", "log_loss"), ("binary", "roc_auc"), ("multiclass", "log_loss"), ("regression", "mae")]
)
def test_the_choice_beats_the_constant_guess(task: str, metric: str, spec_of: Specs, rows_of: Make) -> None:
    spec = within(spec_of(task), fits(6), metric)

    result = search(rows_of(spec.schema), spec)

    assert result.best.family != "baseline"
    assert result.score != result.baseline_score


@pytest.mark.parametrize("count", [1, 3, 6, 12, pytest.param(40, marks=pytest.mark.slow)])
def test_a_budget_of_fits_is_never_exceeded(count: int, spec_of: Specs, rows_of: Make) -> None:
    spec = within(spec_of("binary"), fits(count))

    assert search(rows_of(spec.schema), spec).fits <= count


@pytest.mark.parametrize("stop_after", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_search_that_stops_after_as_many_rungs_repeats_itself_on_any_machine(stop_after: int, spec_of: Specs, rows_of: Make) -> None:
    spec = spec_of("regression")
    rows = rows_of(spec.schema)

    def slow() -> Iterator[float]:
        yield from np.arange(0.0, 1e6, 1e3)

    hasty, patient = slow(), slow()
    first = search(rows, within(spec, Budget(1e9, None)), stop_after=stop_after)
    again = search(rows, within(spec, Budget(1.0, None)), stop_after=stop_after, clock=lambda: next(hasty))
    cut_short = search(rows, within(spec, Budget(1.0, None)), clock=lambda: next(patient))

    assert scores(first) == scores(again)
    assert first.rungs_completed == stop_after
    assert cut_short.rungs_completed == 1
    assert "1 of 3 rungs" in cut_short.remarks[0]
    assert "more than its budget of 1s" in cut_short.remarks[1]
    assert first.remarks == again.remarks == ()


def test_without_time_left_the_first_setting_of_each_family_is_scored_on_all_rows(spec_of: Specs, rows_of: Make) -> None:
    spec = spec_of("regression")
    rows = rows_of(spec.schema, n=3000)
    late = iter(np.arange(0.0, 1e6, 1e3))

    whole = search(rows, within(spec, Budget()))
    hurried = search(rows, within(spec, Budget(1.0, None)), clock=lambda: next(late))

    [only] = hurried.rungs
    assert (only.rows, only.folds) == (whole.rungs[-1].rows, whole.rungs[-1].folds)
    assert sorted(score.candidate.partition("(")[0] for score in only.scores) == ["baseline", "boosting", "forest", "linear"]


def test_time_enough_chooses_what_the_whole_search_chooses_unless_a_first_setting_is_better_on_all_rows(
    spec_of: Specs, rows_of: Make
) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema, n=3000)

    whole = search(rows, linear_within(spec, Budget()))
    timed = search(rows, linear_within(spec, Budget(1e9, None)))

    assert timed.rungs_completed == whole.rungs_completed + 1
    assert timed.score == min(whole.score, timed.rungs[0].scores[0].score)
    assert timed.remarks == whole.remarks == ()


def test_the_whole_search_is_the_default_and_looks_at_no_clock(spec_of: Specs, rows_of: Make) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)
    late = iter(np.arange(0.0, 1e6, 1e3))

    slow = search(rows, linear_within(spec, Budget()), clock=lambda: next(late))

    assert scores(slow) == scores(search(rows, linear_within(spec, Budget())))


def test_when_what_was_learned_holds_no_more_the_search_says_so(spec_of: Specs, rows_of: Make) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)
    other = np.where(rows.labels == "yes", "no", "yes").astype(object)
    turned = np.where(np.arange(len(rows)) < 0.7 * len(rows), rows.labels, other)

    result = search(replace(rows, target=turned), within(spec, fits(6)))

    assert result.score > result.baseline_score
    assert not result.beats_guess(spec.judged_by)
    with pytest.raises(NothingBeatsBaselineError, match="the champion is untouched"):
        refuse_useless(result, spec.judged_by)


def test_a_class_that_is_missing_in_a_fold_does_not_stop_the_search(spec_of: Specs, rows_of: Make) -> None:
    spec = spec_of("multiclass")
    rows = rows_of(spec.schema)
    labels = rows.labels.copy()
    labels[-2:] = "rare"

    result = search(replace(rows, target=labels), within(spec, fits(6)))

    assert np.isfinite(result.score)


def test_rows_of_one_class_are_refused(spec_of: Specs, rows_of: Make) -> None:
    spec = spec_of("binary")
    rows = rows_of(spec.schema)

    with pytest.raises(TooFewRowsError, match="two classes"):
        search(replace(rows, target=np.full(len(rows), "no", object)), within(spec, fits(3)))


def test_folds_learn_from_what_came_before_and_never_part_a_tie() -> None:
    days = np.repeat(np.arange(30), 10)
    rows = Rows({"x": days * 1.0}, days * 1.0, days.astype(np.int64))

    folds = time_folds(rows, 3, classes=False)

    assert len(folds) == 3
    assert all(old.time_us[-1] < new.time_us[0] for old, new in folds)
    assert sum(len(new) for _, new in folds) == 90


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_the_backend_does_not_change_the_choice(backend: str, spec_of: Specs, rows_of: Make) -> None:
    spec = spec_of("regression")
    rows = rows_of(spec.schema, n=200)

    alone = search(rows, within(spec, fits(3)))
    together = search(rows, within(spec, fits(3)), backend=backend, jobs=2)  # type: ignore[arg-type]

    assert scores(alone) == scores(together)


def test_without_optuna_a_training_ends_before_it_reads_and_says_what_is_missing(spec_of: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    spec = spec_of("binary")

    with pytest.raises(CandidateError, match=r"^training\.search: optuna needs the package optuna, .* or delete the line$"):
        train(Path("no-such-table.csv"), replace(spec, training=TrainingPolicy(search="optuna")))


def test_a_declared_class_without_a_row_is_said(spec_of: Specs, rows_of: Make) -> None:
    spec = linear_within(spec_of("multiclass"), fits(2))
    rows = rows_of(spec.schema)
    known = tuple(sorted(set(rows.labels.tolist())))
    declared = replace(spec, schema=replace(spec.schema, classes=(*known, "unseen")))

    assert search(rows, declared).remarks == ("no row is of the declared class unseen: it is never answered",)
    assert search(rows, replace(spec, schema=replace(spec.schema, classes=known))).remarks == ()
