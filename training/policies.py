"""The policies of a model file: how to train, serve, watch and retrain. Each default is a sane one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

CandidateName = Literal["linear", "forest", "boosting"]
CANDIDATES: tuple[CandidateName, ...] = ("linear", "forest", "boosting")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a search may cost: seconds (for people) or fits (repeatable); exactly one is set."""

    seconds: float | None = 30.0
    fits: int | None = None

    def __str__(self) -> str:
        return f"{self.fits} fits" if self.fits is not None else f"{self.seconds:g}s"


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """When labels arrive: after a duration or after a number of rows; and when one is too late to count."""

    delay: timedelta | None = timedelta(days=1)
    delay_rows: int | None = None
    too_late: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class TrainingPolicy:
    """How a version is made.

    Parameters
    ----------
    window
        Learn from the rows of the last `window` of model time; None means all.
    holdout
        The share of the newest rows kept for the figures of the model card.
    calibrate
        Whether probabilities are calibrated.
    """

    candidates: tuple[CandidateName, ...] = CANDIDATES
    budget: Budget = field(default_factory=Budget)
    window: timedelta | None = None
    holdout: float = 0.2
    seed: int = 0
    calibrate: bool = True


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When inputs count as moved: false discovery level, and the least PSI worth a word."""

    level: float = 0.01
    psi_floor: float = 0.1


@dataclass(frozen=True, slots=True)
class FaultPolicy:
    """When a bucket counts as broken; shares are what comes **on top** of the reference's own worst bucket.

    Parameters
    ----------
    null_share, out_of_range_share, new_category_share, reject_share
        More missing values, values outside the reference's range, unknown categories, refused rows than that.
    minimum_rows
        Fewer rows in a bucket are not judged.
    """

    null_share: float = 0.2
    out_of_range_share: float = 0.2
    new_category_share: float = 0.2
    reject_share: float = 0.2
    minimum_rows: int = 30


@dataclass(frozen=True, slots=True)
class PerformancePolicy:
    """When live performance counts as worse than the baseline: level of the test, tolerance, least rows."""

    level: float = 0.01
    tolerance: float = 0.02
    minimum_rows: int = 100


@dataclass(frozen=True, slots=True)
class WatchingPolicy:
    """How often to look, how far back, and how rows are counted.

    Parameters
    ----------
    every
        The distance of two looks in model time, a multiple of `bucket`.
    window
        The span of the rows one look compares with the reference.
    bucket
        The width of the buckets in which profile counts are kept.
    clock_bound
        Rows further ahead of the model's clock than this do not move it.
    """

    every: timedelta = timedelta(days=7)
    window: timedelta = timedelta(days=14)
    bucket: timedelta = timedelta(days=1)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    faults: FaultPolicy = field(default_factory=FaultPolicy)
    performance: PerformancePolicy = field(default_factory=PerformancePolicy)
    clock_bound: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What a challenger must show: rows judged, least gain, level, least rows to learn from."""

    rows: int = 1000
    minimum_gain: float = 0.0
    level: float = 0.05
    min_train_rows: int = 200


@dataclass(frozen=True, slots=True)
class ProbationPolicy:
    """How long a promotion can be taken back: looks, rows a look, level over all looks."""

    looks: int = 3
    rows: int = 300
    level: float = 0.05


@dataclass(frozen=True, slots=True)
class RetrainingPolicy:
    """When to retrain, and whether the loop may act or only notify.

    Parameters
    ----------
    schedule
        Retrain this often in model time; None means never by the calendar.
    min_new_labels
        Retrain when this many labels are new; None means never for that reason.
    """

    act: Literal["auto", "notify"] = "auto"
    schedule: timedelta | None = None
    min_new_labels: int | None = None
    on_performance: bool = True
    on_drift: bool = False
    cool_down: timedelta = timedelta(days=14)
    budget_per_week: int = 3
    gate: GatePolicy = field(default_factory=GatePolicy)
    probation: ProbationPolicy = field(default_factory=ProbationPolicy)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long the prediction log keeps rows (model time)."""

    log: timedelta = timedelta(days=400)
