import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from training.fitting.candidates import Candidate, candidates_for
from training.fitting.proposals import ASKS, MOST, Proposals
from training.fitting.search import search
from training.model_file.model_spec import ModelSpec
from training.policies import Budget, CandidateName, OwnCandidate, TrainingPolicy
from training.progress import Silent
from training.schema.rows import Rows

optuna = pytest.importorskip("optuna", reason="SKIPPED: no optuna; install requirements-dev.txt to run these tests")

RANGES = {
    "linear": {"C": (0.001, 30)},
    "forest": {"max_leaf_nodes": (64, 512), "min_samples_leaf": (2, 20), "max_features": (0.3, 0.8)},
    "boosting": {
        "max_iter": (50, 120),
        "max_leaf_nodes": (7, 31),
        "learning_rate": (0.05, 0.15),
        "min_samples_leaf": (10, 50),
        "l2_regularization": (0, 10),
    },
}
OWN = OwnCandidate("mine", "pkg.models:build", {"depth": 5, "kind": [1]}, {"depth": [4, 6], "kind": [[1], [2, 3]], "more": [True]})


@dataclass(frozen=True)
class Known:
    score: float


def proposals(*names: CandidateName | OwnCandidate, seed: int = 0) -> Proposals:
    firsts = {each.family: each for each in reversed(candidates_for("binary", names, seed))}
    return Proposals([*reversed(firsts.values())], TrainingPolicy(candidates=names, seed=seed), "binary")


def proposed_by(
    some: Proposals, count: int, score: Callable[[Candidate], float] = lambda each: 0.0, *, higher_is_better: bool = False
) -> list[Candidate]:
    def scores(batch: Sequence[Candidate]) -> list[Known]:
        return [Known(score(each)) for each in batch]

    return some.scored(count, scores, higher_is_better=higher_is_better)[0]


def test_the_first_setting_of_each_family_comes_first_and_the_others_lie_in_the_ranges_of_what_is_drawn_otherwise() -> None:
    drawn = candidates_for("binary", ("linear", "forest", "boosting"), 3)

    proposed = proposed_by(proposals("linear", "forest", "boosting", seed=3), 60)

    assert proposed[:3] == drawn[:3]
    assert len({each.name for each in proposed}) == 60
    assert {each.family for each in proposed[3:]} == set(RANGES)
    for each in proposed:
        known = next(one for one in drawn if one.family == each.family)
        assert {name: type(value) for name, value in each.params.items()} == {name: type(value) for name, value in known.params.items()}
        assert each.params.get("algorithm", "random") in ("random", "extra")
        assert all(low <= each.params[name] <= high for name, (low, high) in RANGES[each.family].items())


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_the_same_seed_proposes_the_same_and_later_proposals_lie_nearer_to_the_best(higher_is_better: bool) -> None:
    def distance(each: Candidate) -> float:
        return abs(math.log10(each.params["C"]) - 1)

    def score(each: Candidate) -> float:
        return -distance(each) if higher_is_better else distance(each)

    once, again, other = (proposed_by(proposals("linear", seed=seed), 40, score, higher_is_better=higher_is_better) for seed in (1, 1, 2))

    assert once == again != other
    assert sum(map(distance, once[20:])) < sum(map(distance, once[:20])) / 2


def test_of_an_estimator_of_ones_own_each_setting_is_proposed_once_and_only_what_is_written() -> None:
    mine = proposals(OWN)
    possible = [{"depth": 5, "kind": [1]}, *({"depth": d, "kind": k, "more": True} for d in (4, 6) for k in ([1], [2, 3]))]

    assert mine.count(Budget(), lambda n: n) == 5
    proposed = [each.params for each in proposed_by(mine, 5)]

    assert proposed[0] == possible[0]
    assert sorted(map(str, proposed)) == sorted(map(str, possible))


def test_more_than_there_is_ends_and_a_score_that_is_no_number_hinders_nothing() -> None:
    times = 0

    def nothing(each: Candidate) -> float:
        nonlocal times
        times += 1
        return math.nan

    assert len(proposed_by(proposals(OWN), 100 * ASKS, nothing)) == times == 5


@pytest.mark.parametrize(
    ("names", "budget", "count"),
    [
        (("linear",), Budget(), 16),
        (("linear", "forest"), Budget(60.0, None), 32),
        (("linear", "forest"), Budget(None, 1), 1),
        (("linear",), Budget(None, 41), 20),
        (("linear",), Budget(None, 10**40), MOST),
        ((OWN, "linear"), Budget(), 32),
    ],
)
def test_a_search_begins_with_as_many_as_its_budget_carries(
    names: tuple[CandidateName | OwnCandidate, ...], budget: Budget, count: int
) -> None:
    assert proposals(*names).count(budget, lambda n: 2 * n) == count


def test_a_search_fits_what_is_proposed_and_counts_shows_and_records_it(
    spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows]
) -> None:
    class Shown(Silent):
        def start(self, stage: str, total: int | None) -> None:
            shown.append((stage, total))

        def advance(self, note: str) -> None:
            shown.append((note, None))

    shown: list[tuple[str, int | None]] = []
    spec = spec_of("binary")
    policy = TrainingPolicy(candidates=("linear",), budget=Budget(None, 3), search="optuna")

    result = search(rows_of(spec.schema), replace(spec, training=policy), progress=Shown())

    [rung] = result.rungs
    assert (result.fits, result.rungs_completed, len(rung.scores)) == (3, 1, 4)
    assert result.best.name == rung.scores[0].candidate
    assert shown[0] == ("rung 1: 3 candidates on 600 rows", 3)
    assert [name for name, _ in shown[1:]] == [each.name for each in proposed_by(proposals("linear"), 3)]
    assert {name for name, _ in shown[1:]} == {score.candidate for score in rung.scores[:-1]}


def test_optuna_is_as_quiet_as_before_or_quieter(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()

    proposed_by(proposals("linear"), 1)

    assert optuna.logging.get_verbosity() == before == logging.INFO
    assert capfd.readouterr() == ("", "")
