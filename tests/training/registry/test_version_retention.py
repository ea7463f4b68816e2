from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace as Move
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.artifacts.manifest import generation_of
from training.artifacts.members import Member
from training.registry.aliases import champions
from training.registry.lineage import history_of
from training.registry.tables import VersionRecord
from training.registry.version_retention import OF_ONE_GENERATION, Inventory, needed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Draw = Callable[[int], int]
"""Draws a number below another."""


@dataclass
class Ledger:
    """A model whose versions come, answer and go; nothing of it is stored."""

    ever: dict[str, VersionRecord] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    moves: list[Any] = field(default_factory=list)
    refused: str | None = None

    def version(self, model: str, version: str) -> VersionRecord:
        return self.ever[version]

    @property
    def present(self) -> list[VersionRecord]:
        return [record for record in self.ever.values() if record.version not in self.gone]

    @property
    def stack(self) -> list[str]:
        return champions(self.moves, self.gone)

    def register(
        self, members: Sequence[Member] = (), generation: str | None = None, run_id: str | None = None, parent: str | None = None
    ) -> str:
        """Register a fitted model, a version of members, or a reweigh of one; return its name."""
        number = len(self.ever)
        digest = f"{number:012x}" + "0" * 52
        name = f"20260101T{number:06}Z-{digest[:12]}"
        manifest: dict[str, Any] = {"trained_through_us": number}
        if generation is not None:
            own = [record for record in self.ever.values() if record.generation == generation]
            manifest["reweighed"] = 1 + max(int(record.manifest.get("reweighed", 0)) for record in own)
            name = f"{generation}.{manifest['reweighed']:04}"
        if members:
            manifest["members"] = [member.to_dict() for member in members]
        elif run_id is None:
            manifest["rows_digest"] = f"rows-{number}"
        self.ever[name] = VersionRecord("m", name, digest, Path("m") / name, parent, "c", NOW, run_id, manifest)
        return name

    def members_of(self, version: str) -> tuple[Member, ...]:
        record = self.ever[version]
        through_us = int(record.manifest["trained_through_us"])
        return record.members or (Member(version, record.digest, "all", through_us, 1.0),)

    def move(self, action: str, version: str) -> None:
        self.moves.append(Move(action=action, version=version))

    def inventory(self) -> Inventory:
        return Inventory(self.present, self.moves, frozenset(self.stack[-2:]), self.refused)

    def expire(self, generations: int, named: Sequence[str] = ()) -> dict[str, str]:
        """Let go what is not needed; return what is."""
        kept = needed(self.inventory(), generations=generations, named=named, history_of=lambda record: history_of(self, record))
        self.gone |= {record.version for record in self.present} - kept.keys()
        return kept


def by_hand(ledger: Ledger, draw: Draw) -> None:
    ledger.register()


def promote_any(ledger: Ledger, draw: Draw) -> None:
    others = [record.version for record in ledger.present if record.version != (ledger.stack or [None])[-1]]
    if others:
        ledger.move("promote", others[draw(len(others))])


def reweigh(ledger: Ledger, draw: Draw) -> None:
    for _ in range(1 + draw(12) if ledger.stack else 0):
        champion = ledger.stack[-1]
        name = ledger.register(ledger.members_of(champion), generation=generation_of(champion), parent=champion)
        ledger.move("reweigh", name)


def grow(ledger: Ledger, draw: Draw) -> None:
    """One more member by a run; of more than three the oldest leaves."""
    if ledger.stack:
        champion, run_id = ledger.stack[-1], f"run-{len(ledger.ever)}"
        newcomer = ledger.register(run_id=run_id, parent=champion)
        members = (*ledger.members_of(champion), *ledger.members_of(newcomer))[-3:]
        ledger.move("promote", ledger.register(members, run_id=run_id, parent=champion))


def replace(ledger: Ledger, draw: Draw) -> None:
    """A challenger by a run takes the champion's place."""
    if ledger.stack:
        ledger.move("promote", ledger.register(run_id=f"run-{len(ledger.ever)}", parent=ledger.stack[-1]))


def refuse(ledger: Ledger, draw: Draw) -> None:
    if ledger.stack:
        ledger.refused = ledger.register(run_id=f"run-{len(ledger.ever)}", parent=ledger.stack[-1])


def roll_back(ledger: Ledger, draw: Draw) -> None:
    if len(ledger.stack) > 1:
        ledger.move("rollback", ledger.stack[-2])


def expire(ledger: Ledger, draw: Draw) -> None:
    generations, before, stack = 1 + draw(4), {record.version for record in ledger.present}, ledger.stack
    named = [sorted(before)[draw(len(before))]] if before else []

    kept = ledger.expire(generations, named)

    present = {record.version for record in ledger.present}
    lately = set(list(dict.fromkeys(map(generation_of, reversed(stack))))[:generations])
    reachable = [version for version in stack if generation_of(version) in lately or version in stack[-2:]]
    assert [version for version in ledger.stack if version in set(reachable)] == reachable  # whoever rolls back finds them, in this order
    assert {ledger.refused, *named} - {None} <= present
    moved_to = {move.version for move in ledger.moves}
    assert {name for name in before - moved_to if not ledger.ever[name].members and ledger.ever[name].run_id is None} <= present
    for record in ledger.present:
        assert {member.version for member in record.members} <= present
        root = history_of(ledger, record)
        assert root is None or root.version in present
    for generation in lately:
        own = [version for version in before if generation_of(version) == generation]
        assert set(sorted(own)[-OF_ONE_GENERATION:]) <= present
    assert kept.keys() == present
    assert ledger.expire(generations, named).keys() == present  # again does nothing


STEPS = (by_hand, promote_any, reweigh, grow, replace, refuse, roll_back, expire)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.lists(st.sampled_from(STEPS), min_size=1, max_size=40))
def test_nothing_that_is_needed_ever_goes(data: st.DataObject, steps: list[Callable[[Ledger, Draw], None]]) -> None:
    ledger = Ledger()
    for step in (by_hand, promote_any, *steps, expire):
        step(ledger, lambda n: data.draw(st.integers(0, n - 1)))


@pytest.fixture
def ledger() -> Ledger:
    """Twelve generations, each weighed fifteen times, and at last a challenger that was refused."""
    made = Ledger()
    made.move("promote", made.register())
    for _ in range(12):
        grow(made, lambda n: 0)
        for _ in range(15):
            reweigh(made, lambda n: 0)
    refuse(made, lambda n: 0)
    refuse(made, lambda n: 0)
    return made


def test_the_newest_ten_versions_of_the_last_ten_generations_stay_with_their_members_and_the_first_version(ledger: Ledger) -> None:
    first, generations = next(iter(ledger.ever)), list(dict.fromkeys(move.version for move in ledger.moves if move.action == "promote"))

    kept = ledger.expire(10)

    mixtures = [record for record in ledger.present if record.members]
    assert {record.generation for record in mixtures} == set(generations[-10:])
    assert sorted(int(record.manifest["reweighed"]) for record in mixtures) == sorted([*range(6, 16)] * 10)
    assert kept[first].startswith("the history of ")
    fitted = [record.version for record in ledger.present if not record.members]
    newcomers = [name for name, record in ledger.ever.items() if record.run_id is not None and not record.members]
    assert fitted == [first, *newcomers[:-2], newcomers[-1]]  # as members of the ten; of those that were refused the last


def test_of_one_generation_previous_stays_and_is_gone_back_to(ledger: Ledger) -> None:
    before = ledger.stack

    ledger.expire(1)
    roll_back(ledger, lambda n: 0)

    assert ledger.stack[-1] == before[-2]


def test_what_answered_until_it_was_rolled_back_stays(ledger: Ledger) -> None:
    taken_back = ledger.stack[-1]
    roll_back(ledger, lambda n: 0)

    kept = ledger.expire(2)

    assert kept[taken_back] == f"it is of {generation_of(taken_back)}, one of the last 2 generations"
