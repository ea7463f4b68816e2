"""Rows whose numbers are correlated in pairs: what the derived columns of the product see of a change that no column shows alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from benchmarks.monitoring.streams import MONDAY_US
from monitoring.drift.e_detector import Look, Rule, look
from monitoring.drift.watch_state import State, advance
from training.policies import WatchingPolicy
from training.profiles.reference import Reference, build_reference
from training.schema.feature import Feature
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema
from training.schema.time_column import TimeColumn

PAIRS, CORRELATION = 6, 0.5
ROWS, REFERENCE_ROWS, REFERENCE_CHECKS = 200, 50, 28 * 144
WIDTH_US = 600_000_000
NAMES = [f"number{j}" for j in range(2 * PAIRS)]
SCHEMA = Schema(tuple(Feature(name, "numeric") for name in NAMES), "y", "regression", time=TimeColumn("at", "timestamp"))
POLICY = WatchingPolicy(every=timedelta(minutes=10), bucket=timedelta(minutes=10))


@dataclass(frozen=True)
class PairedRows:
    """A watch of rows of six correlated pairs."""

    reference: Reference
    rule: Rule

    @classmethod
    def make(cls, generator: np.random.Generator) -> PairedRows:
        """Draw a reference of 28 days and learn it as training does."""
        n = REFERENCE_ROWS * REFERENCE_CHECKS
        time_us = MONDAY_US - WIDTH_US * REFERENCE_CHECKS + np.arange(n) * (WIDTH_US // REFERENCE_ROWS)
        return cls(build_reference(Rows(draw(generator, n, CORRELATION), None, time_us), SCHEMA, POLICY), Rule())

    def looks(self, generator: np.random.Generator, before: int, correlation: float) -> Iterator[tuple[State, Look]]:
        """Look after each check from the change on, which comes after `before` checks."""
        assert self.reference.variation is not None
        state = State.begin(self.reference.variation, MONDAY_US, WIDTH_US)
        number = 0
        while True:
            start_us = MONDAY_US + number * WIDTH_US
            columns = draw(generator, ROWS, CORRELATION if number < before else correlation)
            profiles = self.reference.measures.profiles(columns, start_us + np.arange(ROWS, dtype=np.int64))
            state = advance(state, start_us + WIDTH_US, [(start_us, WIDTH_US, segment, profile) for segment, profile in profiles])
            number += 1
            if number > before:
                yield state, look(state, self.reference.variation, self.rule)


def draw(generator: np.random.Generator, n: int, correlation: float) -> Columns:
    """Return standard normal numbers, each second one correlated with the one before it."""
    z = generator.standard_normal((n, 2 * PAIRS))
    z[:, 1::2] = correlation * z[:, ::2] + np.sqrt(1 - correlation**2) * z[:, 1::2]
    return {name: np.ascontiguousarray(column) for name, column in zip(NAMES, z.T, strict=True)}
