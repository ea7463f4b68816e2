"""Choose and tune a candidate: time-aware validation, successive halving, within a budget.

A rung scores the candidates still in on more rows and more folds than the one before and keeps the better third. A rung
is run whole or not at all, and the rungs completed are recorded: a search that stops after as many gives the same
choice again, whatever the speed of the machine. Without a budget, or with one of fits, time decides nothing. A budget of seconds
may end the halving early; so that no family is lost to a slow machine, the first setting of each is scored on the rows of the last
rung before anything else, and the choice is among what was scored on those.

With ``search: optuna`` the candidates of the first rung are not drawn at the start: each few are proposed from the scores before them.
"""

from __future__ import annotations

import math
import time
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from joblib.externals.loky import get_reusable_executor
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from threadpoolctl import threadpool_limits

from training.dataset.dataset import tie_boundary
from training.dataset.report import LEAST_ROWS
from training.errors import CandidateError, NothingBeatsBaselineError, TooFewRowsError
from training.evaluation.losses import Metric
from training.fitting.calibration import without_class_weights
from training.fitting.candidates import BASELINE, Candidate, baseline, candidates_for
from training.fitting.fitted_model import FittedModel
from training.fitting.proposals import Proposals
from training.model_file.model_spec import ModelSpec
from training.policies import MONOTONIC, Budget
from training.progress import Progress, Silent
from training.schema.prediction import Prediction
from training.schema.rows import Columns, Rows, count_rows
from training.schema.schema import Schema, frame
from training.settings import Backend

RUNG_ROWS = (2_000, 8_000, 32_000)
RUNG_FOLDS = (1, 2, 3)
KEEP = 3
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

    Attributes
    ----------
    fits
        Fits of candidates (those of the baseline cost nothing and are not counted).
    remarks
        In sentences, who was left out, and what the budget did to the search; empty where nobody and nothing.
    """

    best: Candidate
    score: float
    baseline_score: float
    metric: str
    rungs: tuple[Rung, ...]
    fits: int
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def rungs_completed(self) -> int:
        """What to pass as ``stop_after`` to choose the same again."""
        return len(self.rungs)

    def beats_guess(self, metric: Metric) -> bool:
        """Return whether the choice is better than the constant guess, on the rows it was made on."""
        return metric.gain(self.score, self.baseline_score) > 0

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
            "remarks": list(self.remarks),
        }


def search(
    rows: Rows,
    spec: ModelSpec,
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
        When no fold has rows of two classes to learn from, or the metric is defined in none.
    """
    progress, began, schema, policy, metric = progress or Silent(), clock(), spec.schema, spec.training, spec.searched_by
    field, left_out = _able(spec)
    proposals = Proposals(_first_settings(field), policy, schema.task) if policy.search == "optuna" else None
    count, field = _entrants(field, proposals, policy.budget, len(rows))
    if backend == "loky" and (spec.own_metric or any(candidate.factory or candidate.original for candidate in field)):
        get_reusable_executor().shutdown(wait=True)  # processes kept from before may know other files of the user's code, or none
    halving = _plan(len(rows), count)
    has_firsts = policy.budget.seconds is not None and len(halving) > 1
    steps = [halving[-1], *halving] if has_firsts else halving
    rungs: list[Rung] = []
    finals: list[tuple[Candidate, Score]] = []  # what was scored on the rows of the last rung
    fits = 0
    for step, (size, folds) in enumerate(steps, start=1):
        is_first, is_last = has_firsts and step == 1, step == len(steps)
        proposing = proposals if step == 1 + has_firsts else None
        entrants = _first_settings(field) if is_first else field
        known = {id(candidate): score for candidate, score in finals} if is_last else {}
        fresh = [candidate for candidate in entrants if id(candidate) not in known]
        n_fresh = count if proposing else len(fresh)
        thinned = rows.take(slice(None, None, max(math.ceil(len(rows) / size), 1)))
        parts = time_folds(thinned, folds, classes=schema.is_classification)
        if rungs and not _affordable(policy.budget, rungs, n_fresh, parts, fits, clock() - began, stop_after):
            break
        progress.start(f"rung {step}: {n_fresh} candidates on {len(thinned):,} rows", n_fresh * len(parts))
        rung_began = clock()
        run = partial(_run, folds=parts, schema=schema, metric=metric, progress=progress, backend=backend, jobs=jobs)
        if proposing:
            entrants, scores = proposing.scored(n_fresh, run, higher_is_better=metric.higher_is_better)
            fresh = entrants
        else:
            scores = run(fresh)
        [guess] = run([baseline(policy.seed, spec.costs)])
        progress.done()
        fits += len(fresh) * len(parts)
        known |= {id(candidate): score for candidate, score in zip(fresh, scores, strict=True)}
        ranked = sorted(entrants, key=lambda candidate, known=known: _rank(known[id(candidate)].score, metric))  # type: ignore[misc]
        rungs.append(Rung(len(thinned), len(parts), (*(known[id(each)] for each in ranked), guess), clock() - rung_began))
        if is_first or is_last:
            finals += zip(fresh, scores, strict=True)
        if not is_first:
            field = ranked[: max(math.ceil(len(ranked) / KEEP), 1)]
        if stop_after is not None and len(rungs) >= stop_after:
            break
    finals = finals or [(field[0], rungs[-1].scores[0])]
    chosen, best = min(finals, key=lambda pair: _rank(pair[1].score, metric))
    constant = (rungs[0] if has_firsts else rungs[-1]).scores[-1].score
    if math.isnan(best.score):
        raise TooFewRowsError(
            f"{metric.name} is not defined on the newest of the {len(rows)} rows: they hold one class only; have more, or metric: log_loss"
        )
    seconds = clock() - began
    remarks = (
        *left_out,
        *(f"no row is of the declared class {name}: it is never answered" for name in schema.classes_without_rows(rows.labels)),
        *(_remarks(policy.budget, len(rungs), len(steps), seconds) if stop_after is None else ()),
    )
    return SearchResult(chosen, best.score, constant, metric.name, tuple(rungs), fits, seconds, remarks)


def chosen_before(spec: ModelSpec, family: str, params: Mapping[str, Any]) -> SearchResult | None:
    """Return a candidate that an earlier search chose, without any fit; None where its family does not compete any more."""
    field, left_out = _able(spec)
    of_family = next((each for each in field if each.family == family), None)
    if of_family is None:
        return None
    nothing = math.nan
    return SearchResult(replace(of_family, params=dict(params)), nothing, nothing, spec.judged_by.name, (), 0, 0.0, tuple(left_out))


def refuse_useless(result: SearchResult, metric: Metric) -> None:
    """Refuse a choice that is no better than the constant guess.

    Raises
    ------
    NothingBeatsBaselineError
        It names both scores.
    """
    if not result.beats_guess(metric):
        raise NothingBeatsBaselineError(
            f"no candidate beats the constant guess: the best, {result.best}, has {metric.name} {result.score:.4g}, the guess "
            f"{result.baseline_score:.4g}. Nothing was registered and the champion is untouched. Do the features say anything about the "
            f"target? The report on the data may tell."
        )


def _first_settings(field: Sequence[Candidate]) -> list[Candidate]:
    """Return the first candidate of each family."""
    firsts: dict[str, Candidate] = {}
    for candidate in field:
        firsts.setdefault(candidate.family, candidate)
    return list(firsts.values())


def _remarks(budget: Budget, n_done: int, n_planned: int, seconds: float) -> tuple[str, ...]:
    remarks = []
    if budget.seconds is not None and n_done < n_planned:
        remarks.append(
            f"the search stopped after {n_done} of {n_planned} rungs, for its budget of {budget}: a faster machine may choose otherwise "
            f"(training: {{budget: all}} does not look at the clock)"
        )
    if budget.seconds is not None and seconds > budget.seconds:
        remarks.append(f"the search took {seconds:.1f} s, more than its budget of {budget}: no family is left out for time")
    return tuple(remarks)


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


def _able(spec: ModelSpec) -> tuple[list[Candidate], list[str]]:
    """Return the candidates that can be held to the directions of the features, and in a sentence who cannot."""
    policy, schema = spec.training, spec.schema
    everyone = candidates_for(schema.task, policy.candidates, policy.seed)
    able = [each for each in everyone if not schema.monotonic or (each.family in MONOTONIC and each.foreign is None)]
    unable = ", ".join(dict.fromkeys(each.family for each in everyone if each not in able))
    left_out = [f"left out of the search: {unable} cannot keep {', '.join(schema.monotonic)} monotonic"] if unable else []
    if not able:
        raise CandidateError(
            f"no candidate is left: {unable} cannot keep {', '.join(schema.monotonic)} monotonic; {' and '.join(MONOTONIC)} can"
        )
    return [replace(each, weighing=policy.weighing, costs=spec.costs) for each in able], left_out


def _entrants(field: list[Candidate], proposals: Proposals | None, budget: Budget, rows: int) -> tuple[int, list[Candidate]]:
    """Return how many candidates start, as many as a budget of fits carries through all rungs, and which; of proposals only the first."""
    cost = partial(_cost, rows=rows)
    if proposals is not None:
        count = proposals.count(budget, cost)
        return count, _first_settings(field)
    if budget.fits is not None:
        field = field[: max(bisect_right(range(1, len(field) + 1), budget.fits, key=cost), 1)]
    return len(field), field


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
    budget: Budget, rungs: Sequence[Rung], entrants: int, folds: Sequence[Fold], fits: int, elapsed: float, stop_after: int | None
) -> bool:
    if stop_after is not None:
        return len(rungs) < stop_after
    if budget.fits is not None:
        return fits + entrants * len(folds) <= budget.fits
    if budget.seconds is None or not entrants:
        return True
    last = rungs[-1]
    of_last = [score.seconds for score in last.scores[:-1]][:entrants]
    growth = sum(len(old) for old, _ in folds) / ((1 - BLOCK) * last.rows * last.folds)
    return elapsed + entrants * sum(of_last) / len(of_last) * growth <= budget.seconds


def _rank(score: float, metric: Metric) -> float:
    return math.inf if math.isnan(score) else -score if metric.higher_is_better else score


def _run(
    field: Sequence[Candidate], folds: Sequence[Fold], schema: Schema, metric: Metric, progress: Progress, backend: Backend, jobs: int
) -> list[Score]:
    tasks = (joblib.delayed(score_fold)(c, fold, schema, metric) for c in field for fold in folds)
    with joblib.parallel_config(backend=backend):
        outcomes = []
        for place, outcome in enumerate(joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)):
            outcomes.append(outcome)
            if field[place // len(folds)].family != BASELINE:
                progress.advance(field[place // len(folds)].name)
    by_candidate = [outcomes[i * len(folds) : (i + 1) * len(folds)] for i in range(len(field))]
    return [Score(c.name, _mean([s for s, _ in part]), sum(t for _, t in part)) for c, part in zip(field, by_candidate, strict=True)]


def _mean(scores: Sequence[float]) -> float:
    known = [s for s in scores if not math.isnan(s)]
    return sum(known) / len(known) if known else math.nan


def score_fold(candidate: Candidate, fold: Fold, schema: Schema, metric: Metric) -> tuple[float, float]:
    """Return the score of a candidate fitted on the older rows, on the newer ones, and the seconds it took."""
    began = time.perf_counter()
    old, new = fold
    score = metric.function(new.labels, ask(candidate, fit(candidate, old, schema), new.columns))
    return float(score), time.perf_counter() - began


def ask(candidate: Candidate, model: FittedModel, columns: Columns) -> Prediction:
    """Return what a fitted candidate predicts.

    Raises
    ------
    CandidateError
        A user's own raises, or what it answers are no finite numbers or no probabilities.
    """
    with candidate.doing("predicting"):
        prediction = model.predict(columns)
    fault = prediction.fault(count_rows(columns)) if candidate.foreign is not None else None
    if fault is not None:
        raise CandidateError(f"{candidate.name} of {candidate.foreign} {fault}")
    return prediction


def fit(candidate: Candidate, rows: Rows, schema: Schema) -> FittedModel:
    """Fit a candidate on labelled rows, on one thread; raises CandidateError for a user's own that fails."""
    target: npt.NDArray[Any] = rows.labels if schema.is_classification else np.asarray(rows.labels, np.float64)
    classes = set(target.tolist()) if schema.is_classification else set()
    pipeline, table = candidate.build(schema, classes), frame(rows.columns, schema)
    weights, options = candidate.weights(rows, pipeline)
    with threadpool_limits(1), warnings.catch_warnings(), candidate.doing("fitting"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        candidate.constrain(pipeline, table, schema, classes)
        pipeline.fit(table, candidate.labels(target), **options)
    with candidate.doing("fitting"):
        model = FittedModel.of(pipeline, schema, candidate.costs)
    return without_class_weights(model, weights.classes) if weights is not None and candidate.undoes_weights else model
