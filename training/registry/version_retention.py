"""Which versions are still needed (pure): of what is neither served nor may be again, the files can go."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from training.artifacts.manifest import generation_of
from training.registry.aliases import champions
from training.registry.tables import VersionRecord

OF_ONE_GENERATION = 10
"""The newest versions of a generation that stay: rows that are on their way into the log may name one that was weighed anew since."""


class Move(Protocol):
    """A line of the ledger that moved the champion."""

    @property
    def action(self) -> str:
        """What it did."""
        ...

    @property
    def version(self) -> str:
        """Who was the champion after it."""
        ...


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a registry has of one model.

    Attributes
    ----------
    present
        The versions that were not removed.
    moves
        The ledger lines that moved the champion, the oldest first.
    aliased
        The versions that aliases point at.
    refused
        The challenger that the gate refused last: at each slot the champion is held to it.
    """

    present: Sequence[VersionRecord]
    moves: Sequence[Move] = ()
    aliased: Collection[str] = field(default_factory=frozenset)
    refused: str | None = None


def needed(
    inventory: Inventory,
    *,
    generations: int,
    named: Collection[str] = (),
    history_of: Callable[[VersionRecord], VersionRecord | None] = lambda record: None,
) -> dict[str, str]:
    """Return the versions whose files are needed, each with the first reason that was met.

    Needed are those that aliases point at; the versions of the last `generations` that are on the stack of champions, or were moved to,
    the newest `OF_ONE_GENERATION` of each; the challenger that was refused last; what a person registered and nobody promoted yet; what
    `named` says; and of all these the members, and the version with whose rows their history begins.

    Parameters
    ----------
    generations
        How many of the last generations stay; at least 1.
    named
        What runs, probations and notes need.
    history_of
        The version by whose stored rows a retraining of another begins; None where there is none.

    Examples
    --------
    >>> needed(Inventory([]), generations=10)
    {}
    """
    by_name = {record.version: record for record in inventory.present}
    moved_to = [move.version for move in inventory.moves]
    stack = champions(inventory.moves, {version for version in moved_to if version not in by_name})
    by_hand = (one.version for one in inventory.present if one.run_id is None and not one.members and one.version not in moved_to)
    kept: dict[str, str] = {}

    def keep(versions: Iterable[str], why: str) -> None:
        kept.update({version: why for version in versions if version in by_name and version not in kept})

    keep(inventory.aliased, "an alias points at it")
    keep(named, "a run, a probation or a service needs it")
    keep(() if inventory.refused is None else (inventory.refused,), "the gate refused it last")
    keep(by_hand, "a person registered it, and nobody promoted it yet")
    for lately in (_last(stack, generations), _last([version for version in moved_to if version in by_name], generations)):
        keep((version for version in stack if generation_of(version) in lately), "it was champion lately")
        for generation in lately:
            keep(_newest(inventory.present, generation), f"it is of {generation}, one of the last {generations} generations")
    keep(moved_to[-OF_ONE_GENERATION:], "it was champion lately")
    for version in tuple(kept):
        keep((member.version for member in by_name[version].members), f"it is a member of {version}")
    roots = {version: history_of(by_name[version]) for version in tuple(kept)}
    for version, root in roots.items():
        keep(() if root is None else (root.version,), f"the history of {version} begins with it")
    return kept


def _last(versions: Sequence[str], generations: int) -> list[str]:
    """Return the last different generations, the newest first."""
    return list(dict.fromkeys(map(generation_of, reversed(versions))))[:generations]


def _newest(present: Sequence[VersionRecord], generation: str) -> list[str]:
    own = [record for record in present if record.generation == generation]
    own.sort(key=lambda record: int(record.manifest.get("reweighed") or 0))
    return [record.version for record in own[-OF_ONE_GENERATION:]]
