"""Why too few labels are there, and what would end it, in words (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from monitoring.judging.label_delays import QUANTILE, ClassDelay
from monitoring.judging.labels.counts import THIRDS, Counts
from training.clock import duration_us

LEAST_DUE_OF_THIRD = 20
SAID_APART = 2.0  # times by which the delays of two classes differ


def apart(due: Counts, labelled: Counts) -> str:
    """Say in which third of the score labels are rarest, where thirds differ."""
    shares = labelled[:-1] / np.maximum(due[:-1], 1)
    rarest = int(np.argmin(np.where(due[:-1] >= LEAST_DUE_OF_THIRD, shares, np.inf)))
    if due[rarest] < LEAST_DUE_OF_THIRD or shares[rarest] * SAID_APART > shares.max():
        return ""
    return f" (of the {THIRDS[rarest]} third of the score {shares[rarest]:.0%})"


def differing(delays: Sequence[ClassDelay]) -> str | None:
    """Say how late the labels of the quickest and of the slowest class come, where these differ."""
    by_length = sorted(delays, key=lambda one: one.quantile_us)
    if len(by_length) < 2 or by_length[-1].quantile_us < SAID_APART * by_length[0].quantile_us:
        return None
    return f"{by_length[0].sentence()}, {by_length[-1].sentence()}"


def remedy(delays: Sequence[ClassDelay], patience_us: int, share: float, *, is_apart: bool) -> str:
    """Say what would end it; where thirds differ, or only one falls short, the labels that are there are no sample of all."""
    late = [one for one in delays if one.quantile_us > patience_us]
    if late:
        slowest = max(late, key=lambda one: one.quantile_us)
        wanted = math.ceil(1.05 * slowest.quantile_us / duration_us(timedelta(days=1)))
        what = differing(delays) or slowest.sentence()
        return f"labels {what}: set labels.delay to {wanted}d{'' if slowest.is_known else ' or more'}"
    ends, least = "it ends when the missing labels come", math.floor(100 * share / QUANTILE) / 100
    return ends if is_apart or least < 0.01 else f"{ends}; if those there are were drawn at random, set labels.coverage to {least:g}"
