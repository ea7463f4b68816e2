"""What a version comes from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from training.registry.lineage import pool_of
from training.registry.tables import VersionRecord

GENERATION = "2026010{}T000000Z-" + "a" * 12


def record(number: int, parent: str | None = None, members: int = 0) -> VersionRecord:
    """The first version of a generation."""
    manifest: dict[str, Any] = {"members": [{}] * members, "trained_through_us": number} if members else {"trained_through_us": number}
    made = {"version": GENERATION.format(number), "model": "m", "parent": parent, "manifest": manifest, "run_id": None}
    known = {name: made.get(name) for name in VersionRecord.__dataclass_fields__}
    return VersionRecord(**{**known, "created": datetime(2026, 1, 1, tzinfo=UTC)})


class Registry:
    """Versions by name."""

    def __init__(self, *records: VersionRecord) -> None:
        self.known = {one.version: one for one in records}

    def version(self, model: str, version: str) -> VersionRecord:
        return self.known[version]


def test_a_version_grew_through_generations_from_one_that_is_no_mixture() -> None:
    first = record(1)
    second = record(2, parent=f"{first.version}.0003", members=2)  # of a weighing of the first
    third = record(3, parent=f"{second.version}.0001", members=3)
    weighed = VersionRecord(**{**{name: getattr(third, name) for name in third.__dataclass_fields__}, "version": f"{third.version}.0007"})

    assert pool_of(Registry(first, second, third), weighed) == [third, second, first]
    assert pool_of(Registry(first, second, third), first) == [first]


def test_a_challenger_that_replaced_another_one_begins_anew() -> None:
    first = record(1)
    challenger = record(2, parent=first.version)

    assert pool_of(Registry(first, challenger), challenger) == [challenger]
