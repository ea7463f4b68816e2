"""What the loop made of a slot, as journal and registry have it."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.errors import RunEndedError
from monitoring.journal.journal import Journal
from monitoring.journal.tables import TICK, Run
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class JudgedSlot:
    """What the monitor did at one slot: its verdict, what came of a retraining, the champion after it.

    Attributes
    ----------
    slot_us
        The end of the slot, microseconds of model time.
    outcome
        `promoted`, `refused`, `failed`, `rolled_back`, or empty when nothing moved.
    blind
        Why too few labels were there to judge by; None where there were enough.
    """

    slot_us: int
    outcome: str
    verdict: str
    reasons: tuple[str, ...]
    champion: str
    blind: str | None = None


def slot_run(journal: Journal, model: str, slot_us: int) -> Run | None:
    """Return the run of a slot; None where there is none."""
    try:
        return journal.run(f"{model}.{TICK}.{slot_us}")
    except RunEndedError:
        return None


def judged_slot(journal: Journal, registry: Registry, model: str, slot_us: int) -> JudgedSlot:
    """Return what became of a slot; the champion is that of now."""
    run = slot_run(journal, model, slot_us)
    verdict = next(iter(journal.verdicts(model, slots=[slot_us])), None)
    champion = registry.alias(model, CHAMPION)
    return JudgedSlot(
        slot_us,
        str(run.result.get("outcome", "")) if run else "",
        verdict.verdict if verdict else "none",
        tuple(verdict.reasons) if verdict else (),
        champion.version if champion else "",
        verdict.evidence.get("cohorts", {}).get("blind") if verdict else None,
    )
