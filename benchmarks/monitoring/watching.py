"""The product's own detector, fed with the counts of one check after another, as the slots of a monitor feed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.monitoring.streams import MONDAY_US, World
from monitoring.drift.e_detector import Look, Rule, look
from monitoring.drift.watch_state import Row, State, advance
from training.profiles.bins import Profile
from training.profiles.variation import Variation, learn_variation

BINS = "simulated"
RULE = Rule()


@dataclass(frozen=True)
class Watch:
    """A detector of a world, with what it learned of the reference."""

    world: World
    variation: Variation
    rule: Rule

    @classmethod
    def of(cls, world: World, rule: Rule = RULE) -> Watch:
        """Learn the reference, as training does."""
        return cls(world, learn_variation(BINS, world.reference), rule)

    def begin(self) -> State:
        """Return the state before the first live row."""
        return State.begin(self.variation, MONDAY_US, self.world.stream.width_us)

    def rows(self, checks: Iterable[tuple[npt.NDArray[np.int64], ...]], first: int) -> Iterator[Row]:
        """Yield each check as the bucket of a ledger."""
        width, names = self.world.stream.width_us, self.world.names
        for number, counts in enumerate(checks, start=first):
            profile = Profile(BINS, int(counts[0].sum()), dict(zip(names, counts, strict=True)), {}, {})
            yield MONDAY_US + number * width, width, "", profile

    def looks(self, state: State, checks: Iterable[tuple[npt.NDArray[np.int64], ...]], first: int) -> Iterator[tuple[State, Look]]:
        """Look after each check, the first of which has the number `first`."""
        for row in self.rows(checks, first):
            state = advance(state, row[0] + row[1], [row])
            yield state, look(state, self.variation, self.rule)
