"""How often a mixture grows: faster while new members bring much, slower while they bring nothing (pure).

A growth costs a fit, and on a stream that stands still it buys nothing. So each new member is rated once, when it has been weighed for the
first time: by how much less the mixture loses with it than the best one without it, on rows that none of them was trained on.

References
----------
Žliobaitė, Budka and Stahl: Towards cost-sensitive adaptation: when is it worth updating your predictive model? Neurocomputing 150, 2015.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from training.evaluation.losses import METRICS
from training.mixing.labelled_rows import Floats, LabelledRows
from training.mixing.mixture import mix
from training.mixing.weights import learn_weights
from training.policies import GROWTH_SLOTS
from training.schema.prediction import Prediction

EVERY, SHORTEST, LONGEST = GROWTH_SLOTS, 1, 8
"""Slots between two growths: at first, at least, at most. A stream with seasons waits too long with 16 (docs/members.md)."""
MUCH = 0.05
"""What a member brings is much from this share of the loss on."""
NOTHING, PROVEN = 1.0, 2.0
"""Standard errors up to which it counts as nothing, and from which on it is something; in between nobody knows."""
_BLOCKS, _BLOCK_ROWS = 25, 8


@dataclass(frozen=True, slots=True)
class Rating:
    """What the newest member of a mixture brings.

    Attributes
    ----------
    version
        Its name.
    gain
        By which share of the loss without it the mixture loses less.
    errors
        How many standard errors of the blocks of time that is.
    """

    version: str
    gain: float
    errors: float


def rate(version: str, answers: Sequence[Prediction], newest: int, rows: LabelledRows) -> Rating | None:
    """Rate a member: the mixture with it against that of the others, both weighed by the same rows.

    Parameters
    ----------
    version
        Its name.
    answers
        Of each member what it answers, mapped, to rows that none of them was trained on.
    newest
        The place of the one to rate.

    Returns
    -------
    None where it is alone, or rows are too few for two blocks.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> rows = LabelledRows(np.arange(400), random.normal(0, 9, 400))
    >>> poor, good = (Prediction(rows.y + random.normal(0, spread, 400)) for spread in (9, 3))
    >>> rating = rate("b", [poor, good], 1, rows)
    >>> round(rating.gain, 1), rating.errors > PROVEN
    (0.7, True)
    """
    blocks = min(_BLOCKS, len(rows) // _BLOCK_ROWS)
    if len(answers) < 2 or blocks < 2:
        return None
    without = [answer for place, answer in enumerate(answers) if place != newest]
    before, after = (_losses(each, rows) for each in (without, answers))
    means = np.array([part.mean() for part in np.array_split(before - after, blocks)])
    gain, spread = float(means.mean()), float(means.std(ddof=1)) / math.sqrt(blocks)
    loss = float(before.mean())
    return Rating(version, gain / loss if loss > 0 else 0.0, gain / spread if spread > 0 else 0.0)


def _losses(answers: Sequence[Prediction], rows: LabelledRows) -> Floats:
    """Return what rows lose by the mixture with the weights learned from them, times how many each stands for."""
    loss = METRICS["mae" if answers[0].probability is None else "log_loss"].per_row_loss
    assert loss is not None  # both are means over rows
    return np.asarray(rows.counts * loss(rows.y, mix(answers, learn_weights(answers, rows).tolist())))


@dataclass(frozen=True, slots=True)
class Cadence:
    """How many slots lie between two growths.

    Attributes
    ----------
    slots
        From a growth to the next.
    rated
        The member rated last; each is rated once.

    Examples
    --------
    >>> cadence = Cadence().after(Rating("b", 0.001, 0.3))
    >>> cadence.slots, cadence.alarmed().slots
    (4, 2)
    """

    slots: int = EVERY
    rated: str | None = None

    def after(self, rating: Rating | None) -> Self:
        """Return the cadence after a member was rated.

        One that brings much halves it, to what it was at first or, from there, less; one that brings nothing doubles it; one that brings
        something makes it shorter by one.
        """
        if rating is None or rating.version == self.rated:
            return self
        if rating.gain > MUCH and rating.errors >= PROVEN:
            slots = EVERY if self.slots > EVERY else max(self.slots // 2, SHORTEST)
        elif rating.errors < NOTHING:
            slots = min(self.slots * 2, LONGEST)
        else:
            slots = self.slots if rating.errors < PROVEN else min(self.slots, max(self.slots - 1, EVERY))
        return replace(self, slots=slots, rated=rating.version)

    def alarmed(self) -> Self:
        """Return the cadence after an alarm of harm: what was learned of the stream before it counts no more."""
        return replace(self, slots=min(self.slots, EVERY))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; of nothing that of the beginning."""
        return cls(**stored)
