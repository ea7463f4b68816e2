"""What a person decides in the loop's place: promote, roll back, set the clock; each with a line in the ledger."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from monitoring.admin.status import resolve
from monitoring.admin.workbench import Workbench
from monitoring.drift.episodes import Acknowledgement
from monitoring.errors import InputError
from monitoring.journal.leases import Turn
from monitoring.journal.outbox import Message
from monitoring.judging.performance.baseline import BASELINE, LEAST_ROWS
from monitoring.loop.references import FEWEST_ROWS
from monitoring.notifying.announcements import Moment, promoted, rolled_back
from monitoring.performance.watch import AFTER, RENEW_BASELINE
from monitoring.retraining.retraining import CLOCK
from training.clock import duration_us, format_duration, from_us, to_us
from training.registry.aliases import CHAMPION, PREVIOUS
from training.registry.tables import AliasRecord, Cause

ACKNOWLEDGE = "acknowledge"  # the ledger's word for it


def promote(bench: Workbench, model: str, version: str, why: str, *, force: bool = False) -> AliasRecord:
    """Make a version (or the one an alias names) the champion; with `force` also across another contract.

    Raises
    ------
    ArtifactError
        The version is not signed, was changed, or does not reproduce its golden rows: the alias stays, `force` or not.
    """
    record = resolve(bench, model, version)
    bench.load(record).self_test()
    champion = bench.registry.alias(model, CHAMPION)
    cause, moment = Cause(bench.who, why, {"gate": "none: by hand"}), _moment(bench, model, champion)
    turn = _announcing(bench, promoted(moment, _key(bench, "promoted"), record.version, f"{cause.who}: {why}", cause.evidence))
    return bench.registry.promote(
        model,
        record.version,
        expected=champion.version if champion else None,
        cause=cause,
        now=turn.now,
        guard=turn.guard,
        force=force,
    )


def roll_back(bench: Workbench, model: str, why: str) -> AliasRecord:
    """Bring the champion before this one back; raises as `promote` when it may not be loaded."""
    champion, previous = bench.registry.alias(model, CHAMPION), bench.registry.alias(model, PREVIOUS)
    if previous is not None:
        bench.load(resolve(bench, model, PREVIOUS)).self_test()
    version, cause = None if previous is None else previous.version, Cause(bench.who, why)
    moment = _moment(bench, model, champion)
    turn = _announcing(bench, rolled_back(moment, _key(bench, "rolled_back"), version, f"{cause.who}: {why}", cause.evidence))
    expected = champion.version if champion else None
    return bench.registry.roll_back(model, expected=expected, cause=cause, now=turn.now, guard=turn.guard)


def _moment(bench: Workbench, model: str, champion: AliasRecord | None) -> Moment:
    slot_us = bench.journal.last_slot(model) or 0
    return Moment(model, slot_us, None if champion is None else champion.version, "nothing: it was done by hand")


def _key(bench: Workbench, action: str) -> str:
    return f"{action}.by_hand.{to_us(bench.now())}"


def _announcing(bench: Workbench, message: Message) -> Turn:
    return bench.journal.outbox.announcing(Turn(bench.now()), [message])


def advance_clock(bench: Workbench, model: str, why: str) -> datetime | None:
    """Move model time to the newest logged row, with a line in the ledger; None while there is no row.

    Where times are timestamps, rows further in the future than `watching.clock_bound` do not count.
    """
    spec = bench.spec(model)
    is_ordinal = spec.schema.time is not None and spec.schema.time.is_ordinal_clock
    last_us = bench.log.last_event(model, until_us=None if is_ordinal else to_us(bench.now() + spec.watching.clock_bound))
    return None if last_us is None else set_clock(bench, model, from_us(last_us), why)


def set_clock(bench: Workbench, model: str, moment: datetime, why: str) -> datetime:
    """Set model time, also back, with a line in the ledger; slots behind it are taken back and judged when they come again."""
    before_us = bench.log.watermark(model)
    bench.log.set_watermark(model, to_us(moment))
    slots = bench.journal.take_back(model, to_us(moment))
    before = None if before_us is None else from_us(before_us).isoformat()
    evidence = {"model_time": moment.isoformat(), "before": before, "slots_taken_back": slots}
    bench.registry.record(model, CLOCK, cause=Cause(bench.who, why, evidence), now=bench.now())
    return moment


def read_clock(bench: Workbench, model: str, text: str) -> datetime:
    """Read a model time: ISO 8601 (UTC where it names no zone) or, of a model whose times are ordinal, such a number.

    Raises
    ------
    InputError
        It is neither.
    """
    time = bench.spec(model).schema.time
    try:
        if time is not None and time.is_ordinal_clock:
            with suppress(ValueError):
                return from_us(int(time.to_us([float(text)])[0]))
        return from_us(to_us(datetime.fromisoformat(text)))
    except (ValueError, OverflowError):
        raise InputError(f"{text!r} is no model time; write one such as 2026-03-01T12:00") from None


def renew_baseline(bench: Workbench, model: str, why: str) -> str:
    """Let the performance baseline of a model be learned anew, with a line in the ledger; return what happens next, in words."""
    bench.registry.get_model(model)
    bench.registry.record(model, RENEW_BASELINE, cause=Cause(bench.who, why, {AFTER: bench.journal.last_slot(model) or 0}), now=bench.now())
    days = f"{BASELINE.days} days and {LEAST_ROWS:,} matured labels"
    return f"the baseline is learned anew from the next slot on, of {days}; until then its performance triggers nothing"


def acknowledge(bench: Workbench, model: str, episode: int, why: str, *, mute: timedelta | None = None, is_reference: bool = False) -> str:
    """Acknowledge an open drift episode, with a line in the ledger; the next slot ends or mutes it, or takes the last window as reference.

    Returns
    -------
    What happens next, in words: a window of too few rows is waited for, and the episode stays open meanwhile.

    Raises
    ------
    InputError
        There is no such episode, or it ended.
    """
    mute_us = None if mute is None else duration_us(mute)
    acknowledgement = Acknowledgement(bench.who, why, to_us(bench.now()), mute_us, is_reference)
    if not bench.journal.acknowledge(model, episode, acknowledgement):
        known = [one for one, _ in bench.journal.episodes(model)]
        one = next((e for e in known if e.number == episode), None)
        open_ones = ", ".join(str(e.number) for e in known if e.ended_us is None) or "none"
        raise InputError(f"{model} has no open episode {episode}{' any more' if one is not None else ''}; open: {open_ones}")
    evidence = {"episode": episode, "mute_us": mute_us, "as_reference": is_reference}
    bench.registry.record(model, ACKNOWLEDGE, cause=Cause(bench.who, why, evidence), now=bench.now())
    if not is_reference:
        return "the next slot sees to it"
    rows, window = _rows_of_last_window(bench, model), format_duration(bench.spec(model).watching.window)
    if rows >= FEWEST_ROWS:
        return f"the next slot takes the last {window} as the reference"
    return f"it stays open until the last {window} of the log has {FEWEST_ROWS} rows to be taken as the reference; now it has {rows}"


def _rows_of_last_window(bench: Workbench, model: str) -> int:
    watermark_us = bench.log.watermark(model)
    if watermark_us is None:
        return 0
    return bench.log.coverage(model, watermark_us + 1 - duration_us(bench.spec(model).watching.window), watermark_us + 1)[0]
