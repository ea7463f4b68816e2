from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from training.errors import NothingBeatsBaselineError, TooFewRowsError
from training.policies import Budget, TrainingPolicy
from training.rows import Rows
from training.search import SearchResult, search, time_folds
from training.spec import ModelSpec

Specs = Callable[..., ModelSpec]
Make = Callable[..., Rows]


def fits(count: int) -> TrainingPolicy:
    return TrainingPolicy(budget=Budget(None, count))


def scores(result: SearchResult) -> list[list[tuple[str, float]]]:
    return [[(s.candidate, s.score) for s in rung.scores] for rung in result.rungs]


@pytest.mark.parametrize(
    ("task", "metric"), [("binary", "log_loss"), ("binary", "roc_auc"), ("multiclass", "log_loss"), ("regression", "mae")]
)
def test_the_choice_beats_the_constant_guess(task: str, metric: str, spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of(task).schema

    result = search(rows_of(schema), schema, fits(6), metric)

    assert result.best.family != "baseline"
    assert result.score != result.baseline_score


@pytest.mark.parametrize("count", [1, 3, 6, 12, 40])
def test_a_budget_of_fits_is_never_exceeded(count: int, spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("binary").schema

    assert search(rows_of(schema), schema, fits(count), "log_loss").fits <= count


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_search_told_where_to_stop_repeats_itself_on_any_machine(stop_after: int, spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("regression").schema
    rows = rows_of(schema)

    def slow() -> Iterator[float]:
        yield from np.arange(0.0, 1e6, 1e3)

    hasty, patient = slow(), slow()
    first = search(rows, schema, TrainingPolicy(budget=Budget(1e9, None)), "mae", stop_after=stop_after)
    again = search(rows, schema, TrainingPolicy(budget=Budget(1.0, None)), "mae", stop_after=stop_after, clock=lambda: next(hasty))
    cut_short = search(rows, schema, TrainingPolicy(budget=Budget(1.0, None)), "mae", clock=lambda: next(patient))

    assert scores(first) == scores(again)
    assert first.rungs_completed == stop_after
    assert cut_short.rungs_completed == 1


def test_when_what_was_learned_holds_no_more_the_search_says_so(spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("binary").schema
    rows = rows_of(schema)
    other = np.where(rows.labels == "yes", "no", "yes").astype(object)
    turned = np.where(np.arange(len(rows)) < 0.7 * len(rows), rows.labels, other)

    with pytest.raises(NothingBeatsBaselineError, match="the champion is untouched"):
        search(replace(rows, target=turned), schema, fits(6), "log_loss")


def test_a_class_that_is_missing_in_a_fold_does_not_stop_the_search(spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("multiclass").schema
    rows = rows_of(schema)
    labels = rows.labels.copy()
    labels[-2:] = "rare"

    result = search(replace(rows, target=labels), schema, fits(6), "log_loss")

    assert np.isfinite(result.score)


def test_rows_of_one_class_are_refused(spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("binary").schema
    rows = rows_of(schema)

    with pytest.raises(TooFewRowsError, match="two classes"):
        search(replace(rows, target=np.full(len(rows), "no", object)), schema, fits(3), "log_loss")


def test_folds_learn_from_what_came_before_and_never_part_a_tie() -> None:
    days = np.repeat(np.arange(30), 10)
    rows = Rows({"x": days * 1.0}, days * 1.0, days.astype(np.int64))

    folds = time_folds(rows, 3, classes=False)

    assert len(folds) == 3
    assert all(old.time_us[-1] < new.time_us[0] for old, new in folds)
    assert sum(len(new) for _, new in folds) == 90


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_the_backend_does_not_change_the_choice(backend: str, spec_of: Specs, rows_of: Make) -> None:
    schema = spec_of("regression").schema
    rows = rows_of(schema, n=200)

    alone = search(rows, schema, fits(3), "mae")
    together = search(rows, schema, fits(3), "mae", backend=backend, jobs=2)  # type: ignore[arg-type]

    assert scores(alone) == scores(together)
