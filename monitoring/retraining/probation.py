"""The time after a promotion in which the previous champion may come back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monitoring.journal.leases import Turn
from monitoring.journal.probations import ProbationStep
from monitoring.journal.tables import ProbationRecord
from monitoring.judging.cohorts import Cohorts
from monitoring.log_windows import of_generation, ranges, take
from monitoring.retraining.records import rows_of
from monitoring.stores import Stores
from training.artifacts.manifest import generation_of
from training.clock import duration_us
from training.errors import ArtifactError, CandidateError
from training.evaluation.gate import Decision, decide_rollback
from training.evaluation.losses import Labels, Metric
from training.evaluation.own_metric import asked_in_child
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import CHAMPION, CHANGES
from training.registry.tables import LedgerEntry
from training.schema.prediction import Prediction

logger = logging.getLogger(__name__)
NEWCOMER = "newcomer"  # in the ledger: the member that a version grew by, which is on a probation of its own


def last_move(stores: Stores, model: str) -> LedgerEntry | None:
    """Return the ledger line of the champion's last move."""
    return next(iter(stores.registry.ledger(model, 1, only=CHANGES)), None)


def notice_promotion(stores: Stores, turn: Turn, spec: ModelSpec, slot_us: int, seen_move: int) -> int:
    """Put a champion on probation that somebody else promoted since the last slot; return the last move that was seen to.

    A rollback, the first champion ever, and a version with one more member, need no probation; an open one of another version is
    superseded. A slot that is judged again finds what it began, though it may have ended by now.
    """
    move, started_us = last_move(stores, spec.model), slot_us - duration_us(spec.watching.every)
    if move is None or move.seq <= seen_move:
        return seen_move
    record = stores.journal.last_probation(spec.model)
    is_begun = (
        record is not None
        and (record.version, record.previous) == (move.version, move.previous)
        and (record.state == "open" or record.started_us == started_us)
    )
    if move.action == "rollback":
        stores.journal.close_probation(turn, spec.model, "rolled_back")
    elif move.previous is not None and move.version is not None and not is_begun and NEWCOMER not in move.evidence:
        start(stores, turn, spec, move.version, move.previous, started_us)
    return move.seq


def start(stores: Stores, turn: Turn, spec: ModelSpec, version: str, previous: str, started_us: int) -> None:
    """Begin a probation at a moment of model time, if the policy plans any looks."""
    looks = spec.retraining.probation.looks
    if looks > 0:
        stores.journal.start_probation(turn, spec.model, version, previous, started_us=started_us, looks=looks)


def before(stores: Stores, model: str, champion: str) -> str | None:
    """Return the version that may still come back for the champion; None without a probation, or where it answers other requests."""
    record = stores.journal.open_probation(model)
    if record is None or generation_of(record.version) != generation_of(champion):
        return None
    contracts = {stores.registry.version(model, version).contract_hash for version in (champion, record.previous)}
    return record.previous if len(contracts) == 1 else None


@dataclass(frozen=True, slots=True)
class Look:
    """What a slot sees of the probation; nothing is written before the slot's run ends.

    Attributes
    ----------
    decision
        Whether the previous champion is better; None where no look was due.
    step
        What becomes of the probation, unless the previous champion comes back.
    """

    decision: Decision | None
    step: ProbationStep


def look(stores: Stores, spec: ModelSpec, cohorts: Cohorts) -> Look:
    """Score the previous champion on the rows the present one answered since, if the next look is due.

    The looks are at planned numbers of rows, each at its share of the level; one look a slot, none in a blind one. A previous champion
    that cannot be loaded any more or has another contract, or a metric that cannot be asked, brings nobody back: that ends the probation.
    """
    record = stores.journal.open_probation(spec.model)
    if record is None or record.looks_done >= record.looks:
        return Look(None, ProbationStep())
    try:
        decision = _decide(stores, spec, record, cohorts)
    except (ArtifactError, CandidateError) as error:
        logger.error("%s: the probation of %s ends unjudged: %s", spec.model, record.version, error)
        return Look(None, ProbationStep(end="unjudged"))
    if decision is None:
        return Look(None, ProbationStep())
    has_passed = record.looks_done + 1 >= record.looks and not decision.accepted
    return Look(decision, ProbationStep(decision.evidence, "passed" if has_passed else None))


def _decide(stores: Stores, spec: ModelSpec, record: ProbationRecord, cohorts: Cohorts) -> Decision | None:
    champion = stores.registry.alias(spec.model, CHAMPION)
    if champion is None or generation_of(champion.version) != generation_of(record.version):
        return None
    windows, policy, number = stores.windows(spec), spec.retraining.probation, record.looks_done + 1
    end_us = cohorts.covered_end_us
    if end_us is None or end_us <= record.started_us or cohorts.blind is not None:
        return None
    aside = ranges((*cohorts.aside, *cohorts.uncovered))
    labelled = windows.labelled(record.started_us, end_us, cohorts.slot_us - 1, aside, ranges(cohorts.by_requests))
    own = of_generation(labelled, record.version)
    if len(own) < number * policy.rows:
        return None
    judged = take(own, np.arange(len(own)) < number * policy.rows)
    contracts = {stores.registry.version(spec.model, version).contract_hash for version in (record.version, record.previous)}
    if len(contracts) > 1:
        raise CandidateError(f"{record.previous} has another request contract and does not know these rows")
    previous = stores.load(spec.model, record.previous).predictor.predict(judged.rows.columns)
    code = stores.registry.version(spec.model, record.version).manifest.get("code")
    metric = judging_metric(spec, judged.rows.labels, [judged.prediction, previous], code)
    decision = decide_rollback(judged.prediction, previous, judged.rows.labels, metric, policy, number, judged.weights)
    facts = {**rows_of(judged.rows.time_us), "known_by_us": cohorts.slot_us - 1}
    return replace(decision, evidence={**decision.evidence, "judged": facts, "previous": record.previous})


def judging_metric(spec: ModelSpec, y: Labels, predictions: Sequence[Prediction], code: Mapping[str, Any] | None) -> Metric:
    """Return the metric that versions are judged by, for these predictions; a user's own is asked in a child.

    Parameters
    ----------
    code
        As the manifest of the version has it.

    Raises
    ------
    CandidateError
        The user's own cannot be asked, or its code is not what the version was made with.
    """
    if spec.own_metric is None:
        return spec.judged_by
    return asked_in_child(spec.own_metric, y, predictions, (code or {}).get(spec.own_metric))
