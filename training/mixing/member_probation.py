"""The probation of a new member: the mixture with it against the mixture without it, on the same rows, until it is proven worse (pure).

Rows come in blocks of 100, whose mean differences in loss are nearly independent where those of rows are not. With y the mean
difference of a block (positive: worse with the member) in standard deviations s of the blocks before it, a bet of size b multiplies its
money by

    exp(b y - b^2 (y^2 + 2) / 6),   which is 1 or less on average where E y <= 0 and E y^2 <= 1 (Delyon)

without any bound of the losses; one block in which the member is of great use counts in full, one in which it does great harm as three
standard deviations. The money of all bets is an e-process: a member that is no worse is expelled with a probability of `level` at
most, however often one looks.

References
----------
Delyon, "Exponential inequalities for sums of weakly dependent variables" (2009), as in "bets" of the harm alarm. Ramdas, Grünwald, Vovk
and Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023). Henzi and Ziegel, "Valid sequential inference on
probability forecast performance" (2022), for forecasts that are compared by e-processes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from training.evaluation.losses import METRICS
from training.mixing.labelled_rows import Floats, LabelledRows
from training.mixing.mixture import mix
from training.schema.prediction import Prediction

BLOCK_ROWS = 100
"""Rows of a block: with 100, streams whose neighbours correlate by 0.95 keep the level; with 50 they do not."""
FIRST_BLOCKS = 4
"""Blocks to learn the spread from, before any bet."""
MOST_HARM = 3.0
_LN10 = math.log(10.0)
BETS = (0.25, 0.5, 1.0, 2.0)
"""By how many standard deviations of a block the bets expect the mixture to be worse."""
MOST_BLOCKS = 60
"""Blocks after which a member has passed: by then one that makes 0.1 standard deviations of a row's difference is long proven."""


@dataclass(frozen=True, slots=True)
class MemberProbation:
    """The state of a probation; fed with differences in any pieces it comes to the same.

    Attributes
    ----------
    level
        The probability of expelling a member that is no worse.
    log_money
        Of each bet.
    blocks, mean, squares
        How many whole blocks there were, the mean of their means, and the sum of the squares of how far they were from it.
    open_sum, open_rows
        Of the block that is not whole yet: the sum of its differences, and its rows.

    Examples
    --------
    >>> probation, random = MemberProbation(), np.random.default_rng(0)
    >>> probation.after(random.normal(0.0, 1.0, 3000)).outcome, probation.after(random.normal(0.2, 1.0, 3000)).outcome
    ('open', 'worse')
    """

    level: float = 0.05
    log_money: tuple[float, ...] = (0.0,) * len(BETS)
    blocks: int = 0
    mean: float = 0.0
    squares: float = 0.0
    open_sum: float = 0.0
    open_rows: int = 0

    @property
    def log_e(self) -> float:
        """The logarithm of the mean money of all bets."""
        top = max(self.log_money)
        return top + math.log(sum(math.exp(money - top) for money in self.log_money) / len(self.log_money))

    @property
    def log_threshold(self) -> float:
        """Where the evidence is enough."""
        return -math.log(self.level)

    @property
    def outcome(self) -> Literal["open", "worse", "passed"]:
        """Whether the mixture is proven worse with the member, or it has passed."""
        if self.log_e >= self.log_threshold:
            return "worse"
        return "passed" if self.blocks >= MOST_BLOCKS else "open"

    def after(self, differences: Floats | Sequence[float]) -> Self:
        """Return the state after some rows, in the order of time; once it is decided, more rows change nothing.

        Parameters
        ----------
        differences
            Loss of the mixture with the member less that without it, shape (n,).

        Raises
        ------
        ValueError
            One is no finite number.
        """
        values = np.asarray(differences, np.float64)
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            raise ValueError(f"row {bad[0]} has the difference {values[bad[0]]}, wanted a number")
        state = self
        while len(values) and state.outcome == "open":
            part, values = np.split(values, [BLOCK_ROWS - state.open_rows])
            state = state._with(part)
        return state

    def _with(self, part: Floats) -> Self:
        """Return the state after rows of which none belongs to a block after the open one."""
        total, rows = self.open_sum, self.open_rows + len(part)
        for value in part.tolist():  # one after the other, so that pieces do not matter
            total += value
        if rows < BLOCK_ROWS:
            return replace(self, open_sum=total, open_rows=rows)
        away = total / BLOCK_ROWS - self.mean
        return replace(
            self,
            log_money=self._money(total / BLOCK_ROWS),
            blocks=self.blocks + 1,
            mean=self.mean + away / (self.blocks + 1),
            squares=self.squares + away * away * self.blocks / (self.blocks + 1),
            open_sum=0.0,
            open_rows=0,
        )

    def _money(self, block: float) -> tuple[float, ...]:
        """Return the logarithm of the money of each bet after a block."""
        if self.blocks < FIRST_BLOCKS or not self.squares > 0.0:
            return self.log_money
        few = 1 + 4 / self.blocks  # the fewer blocks there were, the more their spread may be too small
        y = min(block / math.sqrt(few * self.squares / (self.blocks - 1)), MOST_HARM)
        return tuple(money + bet * y - bet**2 * (y**2 + 2) / 6 for bet, money in zip(BETS, self.log_money, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, to store."""
        return {**asdict(self), "log_money": list(self.log_money)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{**stored, "log_money": tuple(stored["log_money"])})

    @property
    def evidence(self) -> dict[str, Any]:
        """What was decided, by which numbers, as plain JSON values."""
        return {
            "outcome": self.outcome,
            "log10_evidence": round(self.log_e / _LN10, 6),
            "log10_threshold": round(self.log_threshold / _LN10, 6),
            "level": self.level,
            "blocks": self.blocks,
            "most_blocks": MOST_BLOCKS,
            "rows": self.blocks * BLOCK_ROWS + self.open_rows,
            "worse_by": self.mean if self.blocks else None,
        }


def differences(answers: Sequence[Prediction], weights: Sequence[float], without: Sequence[float], rows: LabelledRows) -> Floats:
    """Return by how much each row's loss is larger with a member than without it, shape (n,).

    Parameters
    ----------
    answers, weights
        Of each member as it is in the mixture: mapped, to the same rows.
    without
        The weights there would be without it: 0 for itself.

    Raises
    ------
    ValueError
        No member has a weight.

    Examples
    --------
    >>> rows = LabelledRows(np.arange(2), np.array([1.0, 2.0]))
    >>> differences([Prediction(np.array([1.0, 2.0])), Prediction(np.array([3.0, 2.0]))], [0.5, 0.5], [1, 0], rows).tolist()
    [1.0, 0.0]
    """
    metric = METRICS["mae" if answers[0].probability is None else "log_loss"]
    loss = metric.per_row_loss
    assert loss is not None  # both are means over rows
    return np.asarray(rows.counts * (loss(rows.y, mix(answers, weights)) - loss(rows.y, mix(answers, without))))
