"""Settings that the sampler of optuna proposes: a few at a time, drawn near what scored best before.

The first setting of each family comes first. The families of Evergreen are searched from the least to the greatest of the values that
settings are drawn from otherwise; of a user's own, the values in ``tune`` are tried.
"""

from __future__ import annotations

import importlib
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from training.errors import CandidateError
from training.fitting.candidates import Candidate, values_of
from training.policies import CANDIDATES, Budget, OwnCandidate, TrainingPolicy

PER_FAMILY = 16
MOST = 1_000
BATCH = 4  # asked for at once however many jobs there are, so that their number does not change the choice
ASKS = 5  # for each setting wanted: in a small space many are proposed again, and what was scored is not fitted again


class Scored(Protocol):
    """What is known of a candidate that was fitted."""

    @property
    def score(self) -> float: ...


Known = TypeVar("Known", bound=Scored)


def load_optuna() -> Any:
    """Import optuna, which nothing but a search that names it needs.

    Raises
    ------
    CandidateError
        It cannot be imported.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise CandidateError(
            f"training.search: optuna needs the package optuna, which Evergreen does not bring along ({error}): "
            f"install it wherever this model is trained, or delete the line"
        ) from error


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter of a family: the range of some values, or these values only."""

    name: str
    values: Sequence[Any]
    is_range: bool

    def suggest(self, trial: Any) -> Any:
        """Return the value a trial is to have."""
        if not self.is_range:
            return self.values[trial.suggest_categorical(self.name, list(range(len(self.values))))]
        least, greatest = min(self.values), max(self.values)
        suggest = trial.suggest_int if isinstance(least, int) else trial.suggest_float
        return suggest(self.name, least, greatest, log=least > 0)

    def place(self, value: Any) -> Any:
        """Return what optuna calls a value."""
        return value if self.is_range else list(self.values).index(value)


class Proposals:
    """What can be proposed for some families.

    Parameters
    ----------
    firsts
        The first setting of each family.
    """

    def __init__(self, firsts: Sequence[Candidate], policy: TrainingPolicy, task: str) -> None:
        tune = {own.name: own.tune for own in policy.candidates if isinstance(own, OwnCandidate)}
        self._firsts = {first.family: first for first in firsts}
        self._axes = {first.family: _axes(first.family, tune.get(first.family, {}), task) for first in firsts}
        self._seed = policy.seed

    def count(self, budget: Budget, cost: Callable[[int], int]) -> int:
        """Return how many settings a search begins with, where one of so many takes `cost` fits."""
        most = min(sum(map(self._size, self._firsts.values())), MOST)
        if budget.fits is None:
            return min(PER_FAMILY * len(self._firsts), most)
        return max(bisect_right(range(1, most + 1), budget.fits, key=cost), 1)

    def scored(
        self, count: int, score: Callable[[Sequence[Candidate]], Sequence[Known]], *, higher_is_better: bool
    ) -> tuple[list[Candidate], list[Known]]:
        """Return `count` different candidates, proposed and scored in turn, and their scores; fewer where no more are found."""
        candidates: dict[str, Candidate] = {}
        known: dict[str, Known] = {}
        with _study(self._seed, higher_is_better=higher_is_better) as study:
            for first in self._firsts.values():
                study.enqueue_trial({"family": first.family} | {axis.name: axis.place(value) for axis, value in self._placed(first)})
            for _ in range(ASKS * math.ceil(count / BATCH)):
                asked = [self._ask(study) for _ in range(BATCH)]
                new = {_key(each): each for _, each in asked if _key(each) not in known}
                fresh = dict(list(new.items())[: count - len(candidates)])
                candidates |= fresh
                known |= zip(fresh, score(list(fresh.values())) if fresh else (), strict=True)
                if len(candidates) == count:
                    break
                for trial, each in asked:
                    _tell(study, trial, known[_key(each)].score)
        return list(candidates.values()), list(known.values())

    def _ask(self, study: Any) -> tuple[Any, Candidate]:
        trial = study.ask()
        family = trial.suggest_categorical("family", list(self._firsts))
        first = self._firsts[family]
        if trial.number < len(self._firsts):
            for axis, _ in self._placed(first):
                axis.suggest(trial)
            return trial, first
        drawn = {name: axis.suggest(trial) for name, axis in self._axes[family].items()}
        return trial, replace(first, params={**first.params, **drawn})

    def _placed(self, first: Candidate) -> list[tuple[Axis, Any]]:
        """Return where a first setting lies: what a user wrote may lie beside the values to try."""
        axes = self._axes[first.family].items()
        return [(axis, first.params[name]) for name, axis in axes if name in first.params and first.params[name] in axis.values]

    def _size(self, first: Candidate) -> int:
        """Return how many different settings a family has; of a range, more than are asked for."""
        axes = self._axes[first.family].values()
        is_beside = len(self._placed(first)) < len(axes)
        return min(MOST if any(axis.is_range for axis in axes) else math.prod(len(axis.values) for axis in axes) + is_beside, MOST)


def _axes(family: str, tune: Mapping[str, Sequence[Any]], task: str) -> dict[str, Axis]:
    is_ours = family in CANDIDATES
    values = values_of(family, task) if is_ours else tune
    return {name: Axis(f"{family}.{name}", some, is_ours and not isinstance(some[0], str)) for name, some in values.items()}


def _key(candidate: Candidate) -> str:
    return f"{candidate.family} {dict(candidate.params)}"


@contextmanager
def _study(seed: int, *, higher_is_better: bool) -> Iterator[Any]:
    """Begin a study in memory; optuna's own lines are not shown meanwhile."""
    optuna = load_optuna()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        yield optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(before)


def _tell(study: Any, trial: Any, score: float) -> None:
    if math.isnan(score):
        study.tell(trial, state=load_optuna().trial.TrialState.FAIL)
    else:
        study.tell(trial, score)
