"""The time after a promotion in which the previous champion may come back."""

from __future__ import annotations

import logging

import numpy as np

from monitoring.journal_tables import Probation
from monitoring.stores import Stores
from monitoring.windows import Range, take
from training.clock import duration_us
from training.errors import ArtifactError
from training.gate import Decision
from training.gate import probation as compare
from training.moves import CHAMPION
from training.registry_tables import Guard, LedgerEntry
from training.spec import ModelSpec

logger = logging.getLogger(__name__)
LEDGER_LINES = 200


def last_move(stores: Stores, model: str) -> LedgerEntry | None:
    """Return the ledger line of the champion's last move."""
    return next((line for line in stores.registry.ledger(model, LEDGER_LINES) if line.action in ("promote", "rollback")), None)


def notice_promotion(stores: Stores, spec: ModelSpec, slot_us: int, seen_move: int, guard: Guard) -> int:
    """Put a champion on probation that somebody else promoted since the last slot; return the last move that was seen to.

    A rollback, and the first champion ever, need no probation; an open one of another version is superseded.
    """
    move = last_move(stores, spec.model)
    if move is None or move.seq <= seen_move:
        return seen_move
    open_one = stores.journal.probation(spec.model)
    if move.action == "rollback":
        stores.journal.close_probation(spec.model, "rolled_back", guard=guard)
    elif move.previous is not None and move.version is not None and not _is_of(open_one, move):
        started_us = slot_us - duration_us(spec.watching.every)
        start(stores, spec, move.version, move.previous, started_us, guard)
    return move.seq


def start(stores: Stores, spec: ModelSpec, version: str, previous: str, started_us: int, guard: Guard) -> None:
    """Begin a probation at a moment of model time."""
    looks = spec.retraining.probation.looks
    if looks > 0:
        stores.journal.start_probation(spec.model, version, previous, started_us=started_us, looks=looks, guard=guard)


def look(stores: Stores, spec: ModelSpec, slot_us: int, aside: tuple[Range, ...], guard: Guard) -> Decision | None:
    """Score the previous champion on the rows the present one answered since; None while the next look is not due.

    The looks are at planned numbers of rows, each at its share of the level; one look a slot. A previous champion that cannot
    be loaded any more cannot come back: that ends the probation.
    """
    probation = stores.journal.probation(spec.model)
    champion = stores.registry.alias(spec.model, CHAMPION)
    if probation is None or champion is None or champion.version != probation.version or probation.looks_done >= probation.looks:
        return None
    windows = stores.windows(spec)
    end_us = windows.matured_end(slot_us)
    wanted = (probation.looks_done + 1) * spec.retraining.probation.rows
    if end_us is None or end_us <= probation.started_us:
        return None
    found = windows.labelled(probation.started_us, end_us, slot_us - 1, aside)
    own = take(found, found.version == probation.version)
    if len(own) < wanted:
        return None
    judged = take(own, np.arange(len(own)) < wanted)
    try:
        previous = stores.load(spec.model, probation.previous).predictor.predict(judged.rows.columns)
    except ArtifactError as error:
        logger.error("%s: the probation of %s ends unjudged: %s", spec.model, probation.version, error)
        stores.journal.close_probation(spec.model, "unjudged", guard=guard)
        return None
    policy = spec.retraining.probation
    return compare(judged.prediction, previous, judged.rows.labels, spec.metric, policy, probation.looks_done + 1)


def note(stores: Stores, model: str, decision: Decision, guard: Guard) -> None:
    """Note a look; the last one that finds nothing ends the probation well."""
    looked = stores.journal.note_look(model, decision.evidence, guard=guard)
    if looked.looks_done >= looked.looks and not decision.accepted:
        stores.journal.close_probation(model, "passed", guard=guard)


def _is_of(probation: Probation | None, move: LedgerEntry) -> bool:
    return probation is not None and (probation.version, probation.previous) == (move.version, move.previous)
