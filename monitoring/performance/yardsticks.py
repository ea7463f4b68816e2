"""What others would score on the rows a champion is judged by: a constant guess, and the challenger that was refused last."""

from __future__ import annotations

import logging

from monitoring.judging.performance.scores import Yardstick
from monitoring.log_windows import of_generation, take
from monitoring.stores import Stores
from service.prediction_log.reading import LoggedRows
from training.errors import ArtifactError, RegistryError, SchemaError
from training.evaluation.constant_guess import constant_guess
from training.evaluation.gate import jackknife_difference
from training.model_file.model_spec import ModelSpec
from training.registry.aliases import PROMOTE, REFUSE
from training.registry.tables import VersionRecord

logger = logging.getLogger(__name__)
LEVEL = 0.01  # one-sided, of each comparison: it is made at every slot, and nothing follows from it but a sentence


def yardsticks(stores: Stores, spec: ModelSpec, record: VersionRecord, rows: LoggedRows) -> tuple[Yardstick, ...]:
    """Hold the champion's own answers to what others would have said of the same rows.

    A baseline that is the champion's own past leaves a poor one alone: this says that it is poor.

    Parameters
    ----------
    record
        The champion.
    rows
        Labelled ones, in the order of time.
    """
    own = of_generation(rows, record.version)
    if not len(own):
        return ()
    guess = constant_guess(own.rows.labels, own.prediction.classes, own.weights, spec.costs)
    gain = jackknife_difference(spec.watched_by, own.rows.labels, own.prediction, guess, level=LEVEL, weights=own.weights)
    others = [Yardstick("a constant guess", gain)] if gain.is_defined else []
    challenger = _of_challenger(stores, spec, record, own)
    return (*others, *([] if challenger is None else [challenger]))


def _of_challenger(stores: Stores, spec: ModelSpec, record: VersionRecord, own: LoggedRows) -> Yardstick | None:
    """Return what the challenger that the gate refused last would do on rows that are newer than what it learned from."""
    line, promoted = (stores.registry.last_line(spec.model, action) for action in (REFUSE, PROMOTE))
    if line is None or line.version is None or (promoted is not None and promoted.seq > line.seq):
        return None
    try:
        challenger = stores.registry.version(spec.model, line.version)
        if challenger.contract_hash != record.contract_hash:
            return None
        newer = take(own, own.rows.time_us > int(challenger.manifest["trained_through_us"]))
        if not len(newer):
            return None
        answers = stores.load(spec.model, line.version).predictor.predict(newer.rows.columns)
    except (ArtifactError, RegistryError, SchemaError) as error:
        logger.warning("%s: %s, which the gate refused, cannot be asked: %s", spec.model, line.version, error)
        return None
    gain = jackknife_difference(spec.watched_by, newer.rows.labels, newer.prediction, answers, level=LEVEL, weights=newer.weights)
    return Yardstick(f"{line.version}, which the gate refused on {line.at:%Y-%m-%d},", gain) if gain.is_defined else None
