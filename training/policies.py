"""The policies of a model file: how to train, serve, watch and retrain. Each default is a sane one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from training.clock import format_duration

CandidateName = Literal["linear", "forest", "boosting"]
CANDIDATES: tuple[CandidateName, ...] = ("linear", "forest", "boosting")
MONOTONIC: tuple[CandidateName, ...] = ("forest", "boosting")  # the families that can be held to features with a direction
ORIGINAL = "original"  # the family of an imported estimator


@dataclass(frozen=True, slots=True)
class OwnCandidate:
    """A family of one's own.

    Attributes
    ----------
    factory
        ``package.module:function``, called as ``function(schema, *, seed, **params)``.
    params
        What it is called with first.
    tune
        Values to try for some of its parameters.
    """

    name: str
    factory: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Original:
    """An imported estimator before it was fitted: what refits clone where a model file names no candidates.

    Attributes
    ----------
    classes
        Its classes in the type it knows them by; None for a regression.
    dtype
        numpy's name of that type.
    content
        These as they are stored.
    """

    estimator: Any
    classes: tuple[Any, ...] | None
    dtype: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a search may cost: seconds (for people in a hurry) or fits (repeatable); neither means the whole search."""

    seconds: float | None = None
    fits: int | None = None

    def __str__(self) -> str:
        if self.fits is not None:
            return f"{self.fits} fit{'s' * (self.fits != 1)}"
        return "all" if self.seconds is None else format_duration(timedelta(seconds=self.seconds))


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """When labels arrive: after a duration or after a number of rows; and when one is too late to count.

    A label by a caller's own id goes to the rows that carry it where their features are equal, or to ``all`` of them.

    Attributes
    ----------
    coverage
        Rows are judged and learned from where at least this share of the labels that are due is there.
    """

    delay: timedelta | None = timedelta(days=1)
    delay_rows: int | None = None
    too_late: timedelta = timedelta(days=90)
    own_id: Literal["equal", "all"] = "equal"
    coverage: float = 0.9


@dataclass(frozen=True, slots=True)
class Weighing:
    """How much each row counts when a candidate is fitted.

    Attributes
    ----------
    class_weight
        ``balanced``: all classes count the same in sum.
    half_life
        A row that is this much older than the newest counts half.
    is_undone
        Whether what class weights do to the probabilities is taken back.
    """

    class_weight: Literal["balanced"] | None = None
    half_life: timedelta | None = None
    is_undone: bool = True


MEMBERS = 6  # of a version, unless a model file says another number: by measurement, see docs/members.md
MOST_MEMBERS = 16  # each of them answers every row


@dataclass(frozen=True, slots=True)
class TrainingPolicy:
    """How a version is made.

    Attributes
    ----------
    window
        Learn from the rows of the last `window` of model time; None means all.
    holdout
        The share of the newest rows kept for the figures of the model card.
    split
        ``random`` shuffles the rows of a table without times before they are parted; else the order of the file counts.
    calibrate
        Whether probabilities are calibrated.
    class_weight, half_life
        See `Weighing`; None for neither.
    costs
        What it costs to decide a class (column) where another is true (row), in the order of the declared classes; None where
        the most probable class is decided.
    threshold
        From which probability on the positive of two classes is decided; None has it chosen where the metric counts labels.
    search
        What finds the settings: ``halving`` of some that are drawn at the start, or the sampler of ``optuna``, one after another.
    members
        How many models a version mixes at most; 1 means one model that a better one replaces.
    is_mapped
        Whether answers are mapped, slot by slot, by what came true lately.
    names_candidates
        Whether the model file names candidates; where it does not, an imported model is refitted as what it was.
    """

    candidates: tuple[CandidateName | OwnCandidate | Original, ...] = CANDIDATES
    budget: Budget = field(default_factory=Budget)
    window: timedelta | None = None
    holdout: float = 0.2
    seed: int = 0
    calibrate: bool = True
    class_weight: Literal["balanced"] | None = None
    half_life: timedelta | None = None
    costs: tuple[tuple[float, ...], ...] | None = None
    threshold: float | None = None
    split: Literal["time", "random"] = "time"
    search: Literal["halving", "optuna"] = "halving"
    members: int = MEMBERS
    is_mapped: bool = True
    names_candidates: bool = field(default=False, compare=False)

    @property
    def weighing(self) -> Weighing | None:
        """How much each row counts; None where all count the same."""
        if self.class_weight is None and self.half_life is None:
            return None
        return Weighing(self.class_weight, self.half_life, self.calibrate)

    @property
    def own(self) -> tuple[OwnCandidate, ...]:
        """The candidates that are a user's own."""
        return tuple(c for c in self.candidates if isinstance(c, OwnCandidate))

    @property
    def original(self) -> Original | None:
        """The imported estimator that is refitted; None where candidates compete."""
        return next((c for c in self.candidates if isinstance(c, Original)), None)


@dataclass(frozen=True, slots=True)
class ColumnPolicy:
    """How one column is watched for drift.

    Attributes
    ----------
    weight
        Its part of the promise, to those of the others: a heavier one is called sooner.
    floor
        The least PSI worth a word; None for that of all columns.
    watch
        Whether it is watched at all.
    """

    weight: float = 1.0
    floor: float | None = None
    watch: bool = True


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When inputs count as moved.

    Attributes
    ----------
    level, psi_floor
        Of the classic rule: false discovery level, and the least PSI worth a word.
    rule
        ``classic`` tests two windows at each look, as was done before there was a promise; where `level` or `psi_floor` are set by hand.
    floor
        The least PSI worth a word, less what chance adds.
    reference
        What inputs are compared with: the rows of the ``training``, those of the first while after a promotion, or a table.
    columns
        How some columns are watched, by name.
    """

    level: float = 0.01
    psi_floor: float = 0.1
    rule: Literal["sequential", "classic"] = "sequential"
    floor: float = 0.01
    reference: Literal["training"] | timedelta | Path = "training"
    columns: Mapping[str, ColumnPolicy] = field(default_factory=dict)

    def of(self, column: str) -> ColumnPolicy:
        """Return how a column is watched."""
        return self.columns.get(column, _PLAIN_COLUMN)

    def floor_of(self, column: str) -> float:
        """Return the least PSI of a column that is worth a word."""
        own = self.of(column).floor
        return self.floor if own is None else own


_PLAIN_COLUMN = ColumnPolicy()


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What a number must be, as a person knows it: of the known values of a bucket at most a share may lie outside of the bounds."""

    between: tuple[float, float]
    share: float = 0.01


@dataclass(frozen=True, slots=True)
class FaultPolicy:
    """When a bucket counts as broken; shares are what comes **on top** of the reference's own worst bucket.

    Attributes
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

    Attributes
    ----------
    every
        The distance of two looks in model time, a multiple of `bucket`.
    window
        The span of the rows one look compares with the reference.
    bucket
        The width of the buckets in which profile counts are kept.
    clock_bound
        Rows further ahead of the model's clock than this do not move it.
    promise
        Without change, the first alarm takes at least this long in model time, on average.
    segments
        The features by whose values inputs are watched apart.
    rules
        What numbers must be, by name.
    """

    every: timedelta = timedelta(days=7)
    window: timedelta = timedelta(days=14)
    bucket: timedelta = timedelta(days=1)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    faults: FaultPolicy = field(default_factory=FaultPolicy)
    performance: PerformancePolicy = field(default_factory=PerformancePolicy)
    clock_bound: timedelta = timedelta(days=30)
    promise: timedelta = timedelta(days=1800)
    segments: tuple[str, ...] = ()
    rules: Mapping[str, ColumnRule] = field(default_factory=dict)


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


GROWTH_SLOTS = 2
"""Slots from one new member to the next: at every slot, twice the fits bring a tenth of a point of mean regret; every third costs 3.6."""
GROWTH_ROWS = 200
"""Rows a growth is judged by: it is refused when it is proven worse, and rows held back from its forerunner cost freshness."""


@dataclass(frozen=True, slots=True)
class RetrainingPolicy:
    """When to retrain, and whether the loop may act or only notify.

    Attributes
    ----------
    schedule
        Retrain this often in model time; None means never by the calendar (of several members: see `growing`).
    min_new_labels
        Retrain when this many labels are new; None means never for that reason.
    grows
        Whether a retraining makes one more member of a version, in place of a challenger.
    written
        What of it a model file says, other than null; of the gate, whether it says how many rows.
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
    grows: bool = False
    written: frozenset[str] = field(default=frozenset(), compare=False)

    def growing(self, every: timedelta) -> Self:
        """Return it for versions of several members: one more every second slot, judged by 200 rows, where nothing else is written.

        The budget of a week has room for two beside those.
        """
        two_slots, gate = GROWTH_SLOTS * every, replace(self.gate, rows=GROWTH_ROWS)
        budget = max(self.budget_per_week, math.ceil(timedelta(days=7) / two_slots) + 2)
        usual: dict[str, Any] = {"schedule": two_slots, "cool_down": two_slots, "gate": gate, "budget_per_week": budget}
        usual["grows"] = True
        return replace(self, **{name: value for name, value in usual.items() if name not in self.written})

    @property
    def is_paced(self) -> bool:
        """Whether it is rarer or more frequent by what new members bring: a schedule that is written is kept."""
        return self.grows and "schedule" not in self.written

    def paced(self, slots: int, every: timedelta) -> Self:
        """Return it with so many slots from one new member to the next."""
        schedule = slots * every
        cool_down = self.cool_down if "cool_down" in self.written else min(self.cool_down, schedule)
        return replace(self, schedule=schedule, cool_down=cool_down)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long the prediction log keeps rows, and how many generations keep their files.

    Attributes
    ----------
    log
        From the arrival of a row on (machine time).
    versions
        The versions of so many generations stay after they were champion.
    """

    log: timedelta = timedelta(days=400)
    versions: int = 10
