"""One stream lived through under one policy: the product's loop with registry, journal and log of its own, driven through the table."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.loop.policies import Policy
from benchmarks.loop.streams import Stream
from monitoring.backtest.driver import Driven, Driver
from monitoring.backtest.steps import Feedback, steps
from monitoring.journal.tables import RETRAIN
from training.clock import to_us
from training.fitting.candidates import baseline
from training.registry.tables import LedgerEntry
from training.run import train

AFTER = 6  # ticks by which a promotion is judged
HARMFUL, SURE = 0.02, 2.0  # worse by more than this share, and by so many standard errors


@dataclass(frozen=True, slots=True)
class Lived:
    """What a policy answered and did.

    Attributes
    ----------
    losses, clean
        Of each tick, and the mean over the rows that nothing is wrong with.
    fits
        Runs that trained: a run fits what is judged and what enters, which counts as one.
    harmful
        Promotions after which what was promoted is worse than what it followed, both as they were then, by the true labels of six ticks.
    left_out
        Members that were proven to harm.
    alarms
        Episodes of worse performance that opened.
    quarantined, slots
        Slots in which rows were set aside, of all.
    is_from_guess
        Whether nothing beat the constant guess on the first rows, so that it begins with that.
    seconds
        Of processor time.
    """

    losses: list[float]
    clean: float
    fits: int
    promoted: int
    harmful: int
    refused: int
    failed: int
    reweighed: int
    left_out: int
    rolled_back: int
    alarms: int
    quarantined: int
    slots: int
    is_from_guess: bool
    seconds: float


def live(stream: Stream, policy: Policy) -> Lived:
    """Train a first version, then answer, label and let the loop judge, slot by slot."""
    began = time.process_time()
    spec = stream.spec(policy.training, policy.retraining)
    first, coming = (stream.rows.slice(a, b) for a, b in ((0, stream.n_first), (stream.n_first, int(stream.edges[-1]))))
    feedback = Feedback.by_policy(coming, spec.labels)
    with TemporaryDirectory(prefix="evergreen-loop-") as folder:
        driver = Driver.begin(Path(folder), spec, first, trainer=partial(train, or_guess=True))
        is_from_guess = driver.stores.load(spec.model, driver.champion).manifest.algorithm == baseline(0).family
        driven = driver.run(coming, steps(coming, spec, feedback), feedback)
        seconds = time.process_time() - began
        lines = list(reversed(driver.stores.registry.ledger(spec.model, None)))
        runs = driver.stores.journal.runs(spec.model, RETRAIN, limit=None)
        degraded = [_is_degraded(one.evidence) for one in reversed(driver.stores.journal.verdicts(spec.model, limit=None))]
        harmful = sum(_is_harmful(stream, driver, driven, line) for line in lines if line.action == "promote")
        driver.close()
    start = int(stream.edges[0])
    losses = stream.losses(driven.prediction, stream.n_first, int(stream.edges[-1]))[start - stream.n_first :]
    actions = [line.action for line in lines]
    return Lived(
        losses=stream.by_tick(losses),
        clean=float(losses[~stream.is_faulty[start : stream.edges[-1]]].mean()),
        fits=len(runs),
        promoted=actions.count("promote") - 1,
        harmful=harmful,
        refused=actions.count("refuse"),
        failed=sum(run.state in ("failed", "abandoned") for run in runs),
        reweighed=actions.count("reweigh"),
        left_out=sum(len(line.evidence.get("expelled", ())) for line in lines if line.action == "reweigh"),
        rolled_back=actions.count("rollback"),
        alarms=opened(degraded),
        quarantined=sum(one.verdict == "quarantine" for one in driven.slots),
        slots=len(driven.slots),
        is_from_guess=is_from_guess,
        seconds=seconds,
    )


def opened(states: Sequence[bool]) -> int:
    """Count how often a state begins.

    Examples
    --------
    >>> opened([True, True, False, True])
    2
    """
    return sum(now and not before for before, now in zip([False, *states], states, strict=False))


def _is_degraded(evidence: Any) -> bool:
    return bool((evidence.get("performance") or {}).get("is_degraded"))


def _is_harmful(stream: Stream, driver: Driver, driven: Driven, line: LedgerEntry) -> bool:
    """Return whether a promotion made answers worse, by the true labels of the ticks that follow."""
    time_us = stream.rows.time_us
    begin = int(np.searchsorted(time_us, to_us(line.at), side="right"))
    tick = int(stream.edges[1] - stream.edges[0])
    stop = min(begin + AFTER * tick, int(stream.edges[-1]))
    before = begin - 1 - stream.n_first
    if before < 0 or stop - begin < tick or line.version is None:
        return False
    rows = stream.rows.slice(begin, stop)
    new, old = (stream.losses(driver.answer(rows, version), begin, stop) for version in (line.version, str(driven.version[before])))
    difference = new - old
    error = float(difference.std()) / math.sqrt(len(difference)) + 1e-12
    return float(difference.mean()) > HARMFUL * float(old.mean()) and float(difference.mean()) > SURE * error
