"""The watch of one model on its way through one slot, and by which numbers it is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from monitoring.drift.e_detector import Rule, window_psi
from monitoring.drift.episodes import Episode
from monitoring.drift.watch_state import State
from monitoring.journal.drift_watch import WatchState
from monitoring.log_windows import Range
from monitoring.loop.references import InForce, count_under, of_window, rebinned, with_variation
from monitoring.stores import Stores
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.policies import WatchingPolicy
from training.profiles.bins import OUTPUTS, is_derived
from training.profiles.reference import Reference
from training.profiles.variation import ColumnVariation, key_of, parts_of_key

FOR_EVER_US = 1 << 62
DRIFT_SHARE = 0.5  # of the promise; the rest is kept for alarms of harm and of disparity


@dataclass(frozen=True, slots=True)
class Slot:
    """What is watched at one slot.

    Attributes
    ----------
    champion, trained_through_us
        Whose members answer: its generation; and the newest row they learned from.
    version
        Which of the generation answers.
    aside
        Ranges that are left out of all counts.
    """

    stores: Stores
    spec: ModelSpec
    slot_us: int
    champion: str
    trained_through_us: int
    aside: tuple[Range, ...]
    version: str

    @property
    def policy(self) -> WatchingPolicy:
        """How the model is watched."""
        return self.spec.watching

    @property
    def window_us(self) -> int:
        """The length of a window."""
        return duration_us(self.policy.window)


@dataclass(frozen=True, slots=True)
class Watched:
    """The watch on its way through one slot; each step returns another one.

    Attributes
    ----------
    base
        The number of the reference of the slot before.
    waits
        What a person asked for that cannot be done yet.
    distances
        Population stability index of the last window by key of a column, as `measured`.
    """

    slot: Slot
    base: int
    in_force: InForce
    state: WatchState
    detector: State
    waits: str = ""
    distances: Mapping[str, float] = field(default_factory=dict)

    def renew(self, why: str, columns: list[ColumnVariation], *, is_enough: bool | None = None) -> Watched:
        """Take other references of some columns; what came before is not held against them."""
        slot_us, known = self.slot.slot_us, self.in_force.variation
        variation = known.with_columns(columns)
        variation = variation if is_enough is None else replace(variation, is_enough=is_enough)
        renewed = self.in_force.renewed(slot_us, why, with_variation(self.in_force.reference, variation), self.base)
        resting = {**self.state.resting, **{one.key: slot_us for one in columns}}
        return replace(self, in_force=renewed, state=replace(self.state, resting=resting))

    def recount(self, why: str) -> Watched:
        """Learn bins and reference anew from the last window, for all columns; the sums begin anew."""
        slot = self.slot
        reference = of_window(slot.stores, slot.spec, slot.slot_us, slot.aside)
        if reference is None:
            return self
        ended = tuple(e if e.ended_us is not None else e.end(slot.slot_us, why) for e in self.state.episodes)
        return replace(self, state=replace(self.state, episodes=ended)).begin_anew(why, reference)

    def rebin(self, names: set[str], moved: set[str], span: Range) -> Watched:
        """Learn the bins of some columns, and the reference of what moved, anew from a range; the sums begin anew."""
        slot = self.slot
        reference = rebinned(slot.stores, slot.spec, self.in_force.reference, (names, moved), span, slot.slot_us, slot.aside)
        if reference is None:
            return self
        return self.begin_anew(f"new bins of {', '.join(sorted(names))}", reference)

    def begin_anew(self, why: str, reference: Reference) -> Watched:
        """Count under the measures of another reference, the last window too; the sums begin anew."""
        slot = self.slot
        renewed = self.in_force.renewed(slot.slot_us, why, reference, self.base)
        count_under(slot.stores, slot.spec, renewed.measures, slot.slot_us - slot.window_us)
        detector = State.begin(renewed.variation, slot.slot_us, duration_us(slot.policy.every))
        return replace(self, in_force=renewed, detector=detector, state=replace(self.state, resting={}))

    def measured(self) -> Watched:
        """Measure how far the columns are, once no reference changes any more at this slot."""
        distances = window_psi(self.detector, self.in_force.variation, self.slot.slot_us - self.slot.window_us)
        return replace(self, distances=distances)


def resting_columns(columns: Sequence[ColumnVariation], episodes: Iterable[Episode]) -> set[str]:
    """Return the columns that rest while episodes are open: theirs, in all segments, and what is computed of inputs."""
    names = {name for episode in episodes for name in episode.names}
    features = {name for name, segment in map(parts_of_key, names) if not segment}
    if not names:
        return set()
    return names | {c.key for c in columns if c.name in features or is_derived(c.name) or c.name in OUTPUTS}


def rule_of(watched: Watched) -> Rule:
    """Return the numbers behind an alarm: those of the model file, and what rests."""
    slot, state = watched.slot, watched.state
    policy, variation = slot.policy.drift, watched.in_force.variation
    by_key = {key_of(name, ""): one for name, one in policy.columns.items()}
    is_gathering = state.outputs_since_us is not None
    resting = dict(state.resting)
    resting.update({c.key: FOR_EVER_US for c in variation.columns if is_gathering and c.name in OUTPUTS})
    resting.update(dict.fromkeys(resting_columns(variation.columns, state.open), FOR_EVER_US))
    return Rule(
        promise_days=duration_us(slot.policy.promise) / duration_us(timedelta(days=1)),
        share=DRIFT_SHARE,
        floor=policy.floor,
        weights={**dict.fromkeys(OUTPUTS, 0.0), **{key: one.weight if one.watch else 0.0 for key, one in by_key.items()}},
        floors={key: one.floor for key, one in by_key.items() if one.floor is not None},
        resting=resting,
    )


def lesson_us(slot: Slot) -> int:
    """Return for how long the first live rows teach, where they do."""
    chosen = slot.policy.drift.reference
    return duration_us(chosen) if isinstance(chosen, timedelta) else slot.window_us


def feature_of(key: str) -> str:
    """Return the column of a key: ``wind where place=coast`` is of ``wind``."""
    return parts_of_key(key)[0]
