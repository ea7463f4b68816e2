from collections.abc import Callable

import pytest

from training.fitting.candidates import baseline, candidates_for
from training.fitting.search import fit
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("place", range(12))
def test_every_candidate_of_every_task_learns_and_answers(
    task: str, place: int, spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows]
) -> None:
    schema = spec_of(task).schema
    rows = rows_of(schema, n=200)
    candidate = candidates_for(task, ["linear", "forest", "boosting"], seed=0)[place]

    assert len(fit(candidate, rows, schema).predict(rows.columns)) == 200


def test_the_same_seed_gives_the_same_candidates_and_another_others() -> None:
    names = ["forest", "boosting"]

    assert candidates_for("binary", names, 3) == candidates_for("binary", names, 3)
    assert candidates_for("binary", names, 3)[2:] != candidates_for("binary", names, 4)[2:]


def test_the_families_come_in_turn() -> None:
    assert [c.family for c in candidates_for("regression", ["linear", "forest", "boosting"], 0)][:4] == [
        "linear",
        "forest",
        "boosting",
        "linear",
    ]


def test_the_baseline_says_the_same_to_every_row(spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows]) -> None:
    schema = spec_of("binary").schema
    rows = rows_of(schema)

    assert len(set(fit(baseline(0), rows, schema).predict(rows.columns).score.tolist())) == 1
