"""A back-test: a table lived through under several policies, and what each was worth."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import pandas as pd
from joblib.externals.loky import get_reusable_executor

from monitoring.backtest.driver import Driver, joined
from monitoring.backtest.hindsight import SHARES, Refits, refit, stretches
from monitoring.backtest.judged_slots import JudgedSlot
from monitoring.backtest.kept_trainings import KeptTrainings
from monitoring.backtest.living import Lived, Setting, Trained, live_through
from monitoring.backtest.policies import HINDSIGHT, Policy, behave_alike, chosen, other_file, policies_of
from monitoring.backtest.scoring import Judge, Score, best_window, loss_of, table_row
from monitoring.backtest.stream import Circumstances, Stream, read_stream, with_stuck_column
from monitoring.errors import InputError
from training.fitting.candidates import BASELINE, Candidate
from training.fitting.learning import choose
from training.learnable_rows import learnable_rows
from training.model_file.model_spec import ModelSpec, load_spec
from training.progress import Progress, Silent
from training.result import TrainingResult
from training.schema.rows import Rows

CHUNK = 16  # slots of the reference that are fitted in one go


@dataclass(frozen=True, slots=True)
class Move:
    """A slot that left another champion."""

    slot_us: int
    outcome: str
    reason: str

    @classmethod
    def of(cls, slot: JudgedSlot) -> Move:
        """Return that of a slot."""
        return cls(slot.slot_us, slot.outcome, "; ".join(slot.reasons))

    @staticmethod
    def is_one(slot: JudgedSlot) -> bool:
        """Return whether a slot left another champion."""
        return slot.outcome in ("promoted", "rolled_back")


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What came of a back-test.

    Attributes
    ----------
    loss
        The name of what is compared; the lower the better.
    scores
        One a policy, the user's first.
    starts_us
        Where slots begin, of the losses of each score.
    ends_us
        The last row.
    moves
        Promotions and roll-backs of each policy.
    notes
        In sentences, what else is to be known.
    """

    model: str
    loss: str
    first_rows: int
    live_rows: int
    starts_us: tuple[int, ...]
    ends_us: int
    scores: tuple[Score, ...]
    trainings: Mapping[str, tuple[Trained, ...]]
    moves: Mapping[str, tuple[Move, ...]]
    notes: tuple[str, ...]
    price: float = 0.0

    @property
    def better(self) -> tuple[Score, ...]:
        """The policies that are surely better than the user's, the best first."""
        return tuple(sorted((one for one in self.scores if one.is_better), key=lambda one: one.priced))

    @property
    def table(self) -> pd.DataFrame:
        """The scores as a table, one policy a row."""
        return pd.DataFrame([table_row(score, has_price=self.price > 0) for score in self.scores]).set_index("policy")

    @property
    def verdict(self) -> str:
        """In a sentence, whether another policy is surely better than the user's."""
        if not self.better:
            return "No policy is surely better on this table than what the model file says."
        best = self.better[0]
        assert best.gain is not None
        return (
            f"{best.policy} ({best.sentence}) is surely better than the model file on this table: its {self.loss} is lower by "
            f"{best.gain.estimate:.4g}, at least {best.gain.low:.3g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "model": self.model,
            "loss": self.loss,
            "first_rows": self.first_rows,
            "live_rows": self.live_rows,
            "price": self.price,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "starts_us": list(self.starts_us),
            "policies": [score.to_dict() for score in self.scores],
        }


def backtest(  # 9 parameters: the public call, all but two of them options by name
    model: ModelSpec | Path | str,
    table: Path | str | pd.DataFrame | Rows,
    *,
    how: Circumstances | None = None,
    policies: Sequence[str] = (),
    against: Sequence[Path | str] = (),
    training_takes: timedelta = timedelta(),
    price: float = 0.0,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Backtest:
    """Live through a table under several policies, with the loop as it is, and hold what they would have been worth against each other.

    Parameters
    ----------
    model
        A model file, or where it lies.
    table
        Rows with their labels and times, oldest first; or where they lie.
    how
        What is learned from first (15 % by default), when labels come (as the model file says), what goes wrong (nothing).
    policies
        Their names (see `monitoring.backtest.policies`); all by default. The model file's own is always among them.
    against
        Other model files of the same model, each a policy of its own.
    training_takes
        How long a training takes in model time.
    price
        Of one fit, as a sum of the loss of rows.
    processes
        How many policies at a time; as many as there are processors by default.

    Raises
    ------
    InputError, EvergreenError
        What is wrong with table, model file or options.

    Examples
    --------
    >>> from monitoring.backtest.backtest import backtest
    >>> done = backtest("model.yaml", "history.parquet")  # doctest: +SKIP
    >>> done.table  # doctest: +SKIP
    """
    if not (np.isfinite(price) and price >= 0):
        raise InputError(f"the price of a fit is {price:g}; wanted a number that is not negative")
    if training_takes < timedelta():
        raise InputError("a training takes less than no time; wanted a duration such as 2h")
    shown, how = progress or Silent(), how or Circumstances()
    spec = model if isinstance(model, ModelSpec) else load_spec(model)
    shown.start("reading", 1)
    stream = read_stream(Path(table) if isinstance(table, str) else table, spec, how)
    shown.advance(f"{len(stream.live)} rows")
    others = [other_file(str(path), load_spec(path).text, spec) for path in against]
    some = (*chosen(policies_of(spec, stream.span_us, len(stream.bounds)), policies), *others)
    with TemporaryDirectory(prefix="evergreen-backtest-") as folder:
        setting, candidate, strongest, notes = _first_version(stream, Path(folder), training_takes, shown)
        if how.fault == "stuck":
            stream, notes = (
                with_stuck_column(stream, strongest),
                [*notes, f"{strongest} is stuck three times: the column the first version goes by most."],
            )
        lived = _lived(stream, some, setting, candidate, processes or os.cpu_count() or 1, shown)
    shown.done()
    judge = Judge(stream.live, stream.bounds, setting.metric, price)
    scores = judge.scores(some, lived)
    if spec.retraining.act == "notify":
        notes.append("The model file says act: notify, so that its own policy never retrains.")
    return Backtest(
        spec.model,
        setting.metric.name,
        len(stream.first),
        len(stream.live),
        judge.starts_us,
        int(stream.live.time_us[-1]),
        tuple(scores),
        {name: one.trainings for name, one in lived.items()},
        {name: tuple(map(Move.of, filter(Move.is_one, one.slots))) for name, one in lived.items()},
        tuple(notes),
        price,
    )


def _first_version(stream: Stream, folder: Path, takes: timedelta, progress: Progress) -> tuple[Setting, Candidate, str, list[str]]:
    """Train what all policies begin with; return where it lies, what the reference fits, the column it goes by most, and notes."""
    progress.start("the first version", 1)
    kept = KeptTrainings(folder / "kept")
    kept.folder.mkdir()
    results: list[TrainingResult] = []

    def trainer(rows: Rows, spec: ModelSpec, **how: Any) -> TrainingResult:
        results.append(kept(rows, spec, or_guess=True, **how))
        return results[-1]

    driver = Driver.begin(folder, stream.spec, stream.first, trainer=trainer)
    home = driver.stores.home
    driver.close()
    search = results[0].search
    assert search is not None
    progress.advance(search.best.family)
    metric, notes = loss_of(stream.spec), []
    if metric.name != stream.spec.metric:
        notes.append(f"{stream.spec.metric} is no mean over rows: policies are compared by {metric.name}.")
    candidate = search.best
    if candidate.family == BASELINE:
        notes.append(f"Nothing beats the constant guess on the first {len(stream.first)} rows: all policies start from the guess.")
        rows = learnable_rows(stream.first, stream.spec).rows
        candidate = choose(rows, stream.spec, Silent(), stop_after=None, backend="sequential", jobs=1).best
    return Setting(home.path, kept, takes, metric), candidate, _strongest(results[0]), notes


def _lived(
    stream: Stream, policies: Sequence[Policy], setting: Setting, candidate: Candidate, processes: int, progress: Progress
) -> dict[str, Lived]:
    """Live through the stream under all policies, some at a time."""
    parts = stretches(stream)
    chunks = [parts[start : start + CHUNK] for start in range(0, len(parts), CHUNK)]
    has_reference = any(policy.kind == "refits" for policy in policies)
    same = _lives(stream.spec, policies)
    work: list[tuple[str, Callable[[], Any]]] = [
        (policy.name, partial(live_through, stream, policy, setting)) for policy in policies if same.get(policy.name) == policy.name
    ]
    work += [(f"{HINDSIGHT} {number}", partial(refit, stream, candidate, chunk)) for number, chunk in enumerate(chunks) if has_reference]
    progress.start("living through", len(work))
    done: dict[str, Any] = {}
    if processes > 1 and (stream.spec.training.own or stream.spec.own_metric):
        get_reusable_executor().shutdown(wait=True)  # processes kept from before may know other files of the user's code, or none
    for name, result in _results(work, processes):
        done[name] = result
        progress.advance(name)
    lived = {name: done[as_name] for name, as_name in same.items()}
    if has_reference:
        refits = [one for number in range(len(chunks)) for one in done[f"{HINDSIGHT} {number}"]]
        lived[HINDSIGHT] = _reference(stream, refits, setting)
    return lived


def _lives(spec: ModelSpec, policies: Sequence[Policy]) -> dict[str, str]:
    """Return for each policy that lives through the loop the first one that does the same: the user's own is the keeper by default."""
    variants = {policy.name: (policy.kind, policy.variant(spec)) for policy in policies if policy.kind != "refits"}
    return {
        name: next(first for first, (its, file) in variants.items() if its == kind and behave_alike(file, variant))
        for name, (kind, variant) in variants.items()
    }


def _results(work: Sequence[tuple[str, Callable[[], Any]]], processes: int) -> Iterator[tuple[str, Any]]:
    tasks = (joblib.delayed(_one)(name, what) for name, what in work)
    yield from joblib.Parallel(n_jobs=min(processes, len(work)), return_as="generator_unordered")(tasks)


def _one(name: str, what: Callable[[], Any]) -> tuple[str, Any]:
    return name, what()


def _reference(stream: Stream, refits: Sequence[Refits], setting: Setting) -> Lived:
    """Return the refits on the one window that has the least loss on all rows."""
    known = stream.live.is_labelled
    rows = stream.live.take(known)
    answers = [joined([one.answers[place] for one in refits], stream.spec) for place in range(len(SHARES))]
    best = best_window(rows, setting.metric, [one.take(known) for one in answers])
    bounds_us = [int(stream.live.time_us[start]) for _, start, _ in stretches(stream) if start < len(stream.live)]
    fits = [Trained(at_us, "hindsight", "", one.seconds[best], np.nan, np.nan) for at_us, one in zip(bounds_us, refits, strict=False)]
    return Lived(answers[best], (), tuple(fits), sum(sum(one.seconds) for one in refits))


def _strongest(result: TrainingResult) -> str:
    """Return the column that a version goes by most; the first where that is not known."""
    known = (result.made.draft.report.get("importance") or {}).get("columns") or []
    return str(known[0]["column"]) if known else result.made.spec.schema.names[0]
