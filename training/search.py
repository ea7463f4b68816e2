"""Choose and tune a candidate: time-aware validation, successive halving, within a budget.

A rung scores the candidates still in on more rows and more folds than the one before and keeps the better third. A rung
is run whole or not at all, and the rungs completed are recorded: a search told to stop after as many gives the same
choice again, whatever the speed of the machine.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from threadpoolctl import threadpool_limits

from training.candidates import Candidate, baseline, candidates_for
from training.dataset import tie_boundary
from training.errors import NothingBeatsBaselineError, TooFewRowsError
from training.metrics import METRICS, Metric
from training.model import FittedModel
from training.policies import Budget, TrainingPolicy
from training.progress import Progress, Silent
from training.rows import Rows
from training.schema import Schema, frame
from training.settings import Backend

RUNG_ROWS = (2_000, 8_000, 32_000)
RUNG_FOLDS = (1, 2, 3)
KEEP = 3
LEAST_ROWS = 60
BLOCK = 0.1
Fold = tuple[Rows, Rows]


@dataclass(frozen=True, slots=True)
class Score:
    """What a candidate scored in one rung: mean over the folds of the metric, and the time its fits took."""

    candidate: str
    score: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung: the rows and folds it used, and the scores, best first (the baseline included)."""

    rows: int
    folds: int
    scores: tuple[Score, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The chosen candidate and how it was chosen.

    Parameters
    ----------
    fits
        Fits of candidates (those of the baseline cost nothing and are not counted).
    """

    best: Candidate
    score: float
    baseline_score: float
    metric: str
    rungs: tuple[Rung, ...]
    fits: int
    seconds: float

    @property
    def rungs_completed(self) -> int:
        """What to pass as ``stop_after`` to choose the same again."""
        return len(self.rungs)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "best": {"family": self.best.family, "params": dict(self.best.params), "seed": self.best.seed},
            "score": self.score,
            "baseline_score": self.baseline_score,
            "metric": self.metric,
            "rungs": [asdict(r) | {"scores": [asdict(s) for s in r.scores]} for r in self.rungs],
            "rungs_completed": self.rungs_completed,
            "fits": self.fits,
            "seconds": self.seconds,
        }


def search(
    rows: Rows,
    schema: Schema,
    policy: TrainingPolicy,
    metric: str,
    *,
    progress: Progress | None = None,
    stop_after: int | None = None,
    backend: Backend = "sequential",
    jobs: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> SearchResult:
    """Return the best candidate for labelled rows in time order.

    Parameters
    ----------
    stop_after
        Run exactly this many rungs (as recorded by an earlier search), instead of watching the budget.
    backend, jobs
        The joblib backend the fits of a rung run on, and how many at a time.

    Raises
    ------
    TooFewRowsError
        When no fold has rows of two classes to learn from.
    NothingBeatsBaselineError
        When the best candidate is no better than the constant guess.
    """
    progress, began, judge = progress or Silent(), clock(), METRICS[metric]
    field = _entrants(policy, schema, len(rows))
    plan = _plan(len(rows), len(field))
    rungs: list[Rung] = []
    fits = 0
    for size, folds in plan:
        thinned = rows.take(slice(None, None, max(math.ceil(len(rows) / size), 1)))
        parts = time_folds(thinned, folds, classes=schema.is_classification)
        if rungs and not _affordable(policy.budget, rungs[-1], len(field), parts, fits, clock() - began, stop_after, len(rungs)):
            break
        progress.start(f"rung {len(rungs) + 1}: {len(field)} candidates on {len(thinned):,} rows", len(field) * len(parts))
        rung_began = clock()
        scores = _run([*field, baseline(policy.seed)], parts, schema, judge, progress, backend, jobs)
        progress.done()
        fits += len(field) * len(parts)
        order = sorted(range(len(field)), key=lambda i: (_rank(scores[i].score, judge), i))
        ranked = (*(scores[i] for i in order), scores[-1])
        rungs.append(Rung(len(thinned), len(parts), ranked, clock() - rung_began))
        field = [field[i] for i in order[: max(math.ceil(len(field) / KEEP), 1)]]
        if stop_after is not None and len(rungs) >= stop_after:
            break
    best, constant = rungs[-1].scores[0], rungs[-1].scores[-1].score
    if math.isnan(best.score):
        raise TooFewRowsError(f"{metric} is not defined on the newest of the {len(rows)} rows: they hold one class only")
    if not judge.gain(best.score, constant) > 0:
        raise NothingBeatsBaselineError(
            f"no candidate beats the constant guess: the best, {best.candidate}, has {metric} {best.score:.4g}, the guess "
            f"{constant:.4g}. Nothing was registered and the champion is untouched. Look at the data report: do the features "
            f"say anything about the target, in time order?"
        )
    return SearchResult(field[0], best.score, constant, metric, tuple(rungs), fits, clock() - began)


def time_folds(rows: Rows, count: int, *, classes: bool) -> list[Fold]:
    """Return expanding-window folds: each learns from all rows before a block and is scored on the block.

    The blocks are the newest tenths (a single one is the newest fifth): near enough to how far a served model looks ahead.
    None begins inside a tie. Folds with one class to learn from are left out.

    Raises
    ------
    TooFewRowsError
        When no fold is left.
    """
    n = len(rows)
    share = BLOCK if count > 1 else 2 * BLOCK
    cuts = (tie_boundary(rows.time_us, round(n * (1 - share * i))) for i in range(count, 0, -1))
    edges = sorted({c for c in cuts if 0 < c < n})
    folds = [(rows.slice(0, a), rows.slice(a, b)) for a, b in zip(edges, [*edges[1:], n], strict=True)]
    usable = [(old, new) for old, new in folds if not classes or len(set(old.labels.tolist())) > 1]
    if n < LEAST_ROWS or not usable:
        raise TooFewRowsError(
            f"{n} labelled rows do not make one fold with two classes to learn from; {LEAST_ROWS} rows "
            "of two classes, spread over time, are the least"
        )
    return usable


def _entrants(policy: TrainingPolicy, schema: Schema, rows: int) -> list[Candidate]:
    """Return the candidates that start: all, or as many as a budget of fits carries through all rungs."""
    field = candidates_for(schema.task, policy.candidates, policy.seed)
    if policy.budget.fits is None:
        return field
    fitting = [n for n in range(1, len(field) + 1) if _cost(n, rows) <= policy.budget.fits]
    return field[: max(fitting, default=1)]


def _cost(entrants: int, rows: int) -> int:
    """Return the fits a whole search with this many entrants takes."""
    return sum(n * folds for n, (_, folds) in zip(_survivors(entrants), _plan(rows, entrants), strict=False))


def _survivors(entrants: int) -> list[int]:
    counts = [entrants]
    while counts[-1] > 1:
        counts.append(math.ceil(counts[-1] / KEEP))
    return counts[:-1] or [1]


def _plan(rows: int, entrants: int) -> list[tuple[int, int]]:
    """Return (most rows, folds) of each rung: until one candidate is left, or a rung on all rows and all folds is done.

    Examples
    --------
    >>> _plan(5_000, 12), _plan(50_000, 3)
    ([(2000, 1), (8000, 3)], [(2000, 1)])
    """
    plan: list[tuple[int, int]] = []
    for (size, folds), _ in zip(zip(RUNG_ROWS, RUNG_FOLDS, strict=True), _survivors(entrants), strict=False):
        last = size >= rows and bool(plan)
        plan.append((size, RUNG_FOLDS[-1] if last else folds))
        if last:
            break
    return plan


def _affordable(
    budget: Budget, last: Rung, entrants: int, folds: Sequence[Fold], fits: int, elapsed: float, stop_after: int | None, done: int
) -> bool:
    if stop_after is not None:
        return done < stop_after
    if budget.fits is not None:
        return fits + entrants * len(folds) <= budget.fits
    by_name = sorted(s.seconds for s in last.scores[:entrants])
    growth = sum(len(old) for old, _ in folds) / ((1 - BLOCK) * last.rows * last.folds)
    return budget.seconds is None or elapsed + sum(by_name) * max(growth, 1.0) <= budget.seconds


def _rank(score: float, metric: Metric) -> float:
    return math.inf if math.isnan(score) else -score if metric.higher_is_better else score


def _run(
    field: Sequence[Candidate], folds: Sequence[Fold], schema: Schema, metric: Metric, progress: Progress, backend: Backend, jobs: int
) -> list[Score]:
    tasks = (joblib.delayed(score_fold)(c, fold, schema, metric.name) for c in field for fold in folds)
    with joblib.parallel_config(backend=backend):
        found = []
        for place, outcome in enumerate(joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)):
            found.append(outcome)
            if place < (len(field) - 1) * len(folds):
                progress.advance(field[place // len(folds)].name)
    by_candidate = [found[i * len(folds) : (i + 1) * len(folds)] for i in range(len(field))]
    return [Score(c.name, _mean([s for s, _ in part]), sum(t for _, t in part)) for c, part in zip(field, by_candidate, strict=True)]


def _mean(scores: Sequence[float]) -> float:
    known = [s for s in scores if not math.isnan(s)]
    return sum(known) / len(known) if known else math.nan


def score_fold(candidate: Candidate, fold: Fold, schema: Schema, metric: str) -> tuple[float, float]:
    """Fit on the older rows, score on the newer ones; returns the score and the seconds it took."""
    began = time.perf_counter()
    old, new = fold
    score = METRICS[metric].function(new.labels, fit(candidate, old, schema).predict(new.columns))
    return float(score), time.perf_counter() - began


def fit(candidate: Candidate, rows: Rows, schema: Schema) -> FittedModel:
    """Fit a candidate on labelled rows, on one thread."""
    target: npt.NDArray[Any] = rows.labels if schema.is_classification else np.asarray(rows.labels, np.float64)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        pipeline = candidate.build(schema).fit(frame(rows.columns, schema), target)
    return FittedModel.of(pipeline, schema)
