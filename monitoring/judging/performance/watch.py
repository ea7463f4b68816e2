"""What is known of a model's performance from slot to slot: its baseline, and the evidence that it got worse since (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from monitoring.judging.performance.baseline import Baseline, BucketLoss
from monitoring.judging.performance.bets import Null
from monitoring.judging.performance.harm import HarmLook, HarmState, Rule, advance, look
from monitoring.judging.performance.scores import Score
from training.clock import from_us
from training.evaluation.losses import COST

RELATIVE = frozenset({"log_loss", "absolute_error", COST})  # losses without a natural scale: their tolerance is a share of the baseline
LEAST_OF_SCALE = 0.01
WORDS = {"miss": "share of wrong answers", "log_loss": "log loss", "absolute_error": "absolute error", "brier": "Brier score", COST: "cost"}


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which losses were worse than the baseline.

    Attributes
    ----------
    since_us
        Since when it is likeliest, as of the alarm (model time).
    back
        The evidence, since the alarm, that losses are back: of one that ended its `alarm_us` says when that was proven.
    """

    since_us: int
    back: HarmState

    def sentence(self) -> str:
        """Say from when until when it was."""
        return f"from {_day(self.since_us)}" + ("" if self.end_us is None else f" until {_day(self.end_us)}, as far as is proven")

    @property
    def end_us(self) -> int | None:
        """When it was proven that losses are back; None while it goes on."""
        return self.back.alarm_us

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"since_us": self.since_us, "back": self.back.to_dict()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(stored["since_us"], HarmState.from_dict(stored["back"]))


@dataclass(frozen=True, slots=True)
class HarmWatch:
    """The evidence against a baseline, and whether an episode is open.

    Attributes
    ----------
    null
        The baseline, and what is no harm yet.
    state
        The evidence since the baseline, or since the last episode.
    episode
        The one that is open; None where none is.
    ended
        Those that ended in the buckets that were looked at last, in order; they are not handed on.
    """

    null: Null
    state: HarmState
    episode: Episode | None = None
    ended: tuple[Episode, ...] = field(default=(), compare=False)

    @classmethod
    def since(cls, null: Null) -> Self:
        """Return the watch of rows behind a baseline."""
        return cls(null, HarmState(null.baseline.end_us))

    @property
    def is_open(self) -> bool:
        """Whether losses are worse than the baseline, as far as is known."""
        return self.episode is not None

    @property
    def tolerance(self) -> float:
        """What the loss may rise above the baseline's upper bound, in its unit."""
        return self.null.center - self.null.baseline.upper - (0.0 if self.null.rest is None else self.null.rest.level)

    def after(self, losses: Sequence[BucketLoss], rule: Rule, rest: Mapping[int, BucketLoss] | None = None) -> Self:
        """Return it after some more buckets, in order, one by one or together; those that were looked at are left out.

        `rest` as in `harm.advance`.
        """
        after = replace(self, ended=())
        for one in losses:
            if one.bucket_us >= after.state.through_us:
                after = after._after_one(one, rule, rest)
        return after

    def _after_one(self, loss: BucketLoss, rule: Rule, rest: Mapping[int, BucketLoss] | None) -> Self:
        state, episode = advance(self.state, self.null, rule, [loss], rest), self.episode
        if episode is None:
            is_alarm = state.alarm_us is not None
            began = (
                Episode(look(state, rule).since_us or loss.bucket_us, HarmState(state.through_us, square=state.square))
                if is_alarm
                else None
            )
            return replace(self, state=state, episode=began)
        episode = replace(episode, back=advance(episode.back, self.null, rule, [loss], rest, is_return=True))
        if episode.back.alarm_us is None:
            return replace(self, state=state, episode=episode)
        return replace(self, state=HarmState(state.through_us), episode=None, ended=(*self.ended, episode))

    def anew(self, from_us: int) -> Self:
        """Return it against the same baseline, as if nothing was known of it before a model time."""
        return replace(self, state=HarmState(max(self.state.through_us, from_us)), episode=None, ended=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        episode = None if self.episode is None else self.episode.to_dict()
        return {"null": self.null.to_dict(), "state": self.state.to_dict(), "episode": episode}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        episode = None if stored["episode"] is None else Episode.from_dict(stored["episode"])
        return cls(Null.from_dict(stored["null"]), HarmState.from_dict(stored["state"]), episode)


@dataclass(frozen=True, slots=True)
class SegmentWatch:
    """The evidence that a segment got worse against the rest; its baseline is learned from `since_us` on, and None until then."""

    since_us: int
    harm: HarmWatch | None = None


@dataclass(frozen=True, slots=True)
class PerformanceWatch:
    """What one slot hands to the next of a model's performance: the rows of all its champions count.

    Attributes
    ----------
    champion
        Who answers.
    tested_us
        Labelled rows before it are spent.
    since_us
        The baseline is learned from rows from here on.
    harm
        The evidence against it; None while there are too few rows: then a champion is held to what was known of it.
    score
        The metric that is watched, over the rows of the baseline, for people.
    segments
        Those that are held against the rest.
    renewal
        The last ledger line by which a person renewed the baseline.
    is_accepted
        Whether it is as it is, by a person or because nothing better could be learned: then it is not held to what was known before.
    worse_since
        The last ledger line before it was worse than it should be; None where it is not.
    """

    champion: str = ""
    tested_us: int = 0
    since_us: int = 0
    harm: HarmWatch | None = None
    score: Score | None = None
    segments: Mapping[str, SegmentWatch] = field(default_factory=dict)
    renewal: int = 0
    is_accepted: bool = False
    worse_since: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is worse than the baseline, as far as is known."""
        return self.harm is not None and self.harm.is_open

    def under(self, champion: str, from_us: int, *, is_return: bool = False) -> Self:
        """Return it under a champion that answers from a model time on.

        The baseline is the model's and is kept. Where the model, or a segment, had got worse, another version is the end of that episode:
        it is held to the same baseline anew; as is one that returns, which answers for nothing that the one before it did.
        """
        if champion == self.champion:
            return self

        def anew(harm: HarmWatch | None) -> HarmWatch | None:
            return harm.anew(from_us) if harm is not None and (harm.is_open or is_return) else harm

        segments = {name: replace(one, harm=anew(one.harm)) for name, one in self.segments.items()}
        return replace(self, champion=champion, harm=anew(self.harm), segments=segments, is_accepted=False, worse_since=None)

    def renewed(self, at_us: int) -> Self:
        """Return it with a baseline still to be learned, of rows from a model time on; those before it are spent."""
        tested_us = max(self.tested_us, at_us)
        return replace(self, tested_us=tested_us, since_us=at_us, harm=None, score=None, segments={})

    def accepted(self, at_us: int) -> Self:
        """Return it as it is now: the baseline is learned anew, and the champion not held to what was known of it."""
        return replace(self.renewed(at_us), is_accepted=True, worse_since=None)

    def noticed(self, line: int, *, is_worse: bool) -> Self:
        """Return it with the ledger line behind which it is worse than it should be, if it is."""
        if not is_worse:
            return replace(self, worse_since=None)
        return self if self.worse_since is not None else replace(self, worse_since=line)

    def to_dict(self) -> dict[str, Any]:
        """Return what is no column of its own as plain JSON values."""
        return {
            "since_us": self.since_us,
            "harm": None if self.harm is None else self.harm.to_dict(),
            "score": None if self.score is None else self.score.to_dict(),
            "segments": {
                name: {"since_us": one.since_us, "harm": None if one.harm is None else one.harm.to_dict()}
                for name, one in self.segments.items()
            },
            "renewal": self.renewal,
            "is_accepted": self.is_accepted,
            "worse_since": self.worse_since,
        }

    @classmethod
    def from_dict(cls, champion: str, tested_us: int, stored: Mapping[str, Any] | None) -> Self:
        """Read what `to_dict` wrote; of a slot that wrote nothing the watch begins where its test ended.

        Examples
        --------
        >>> watch = PerformanceWatch("v1", 70, 3, segments={"place=coast": SegmentWatch(5)})
        >>> PerformanceWatch.from_dict("v1", 70, watch.to_dict()) == watch
        True
        """
        if stored is None:
            return cls(champion, tested_us, tested_us)
        score = stored["score"]
        return cls(
            champion,
            tested_us,
            stored["since_us"],
            _harm(stored["harm"]),
            None if score is None else Score(**score),
            {name: SegmentWatch(one["since_us"], _harm(one["harm"])) for name, one in stored["segments"].items()},
            stored["renewal"],
            stored["is_accepted"],
            stored["worse_since"],
        )


def _harm(stored: Mapping[str, Any] | None) -> HarmWatch | None:
    return None if stored is None else HarmWatch.from_dict(stored)


def _day(moment_us: int) -> str:
    return f"{from_us(moment_us):%Y-%m-%d %H:%M}"


def tolerance_of(baseline: Baseline, tolerance: float, scale: float = 0.0) -> float:
    """Return by how much a loss may rise, in its unit.

    Parameters
    ----------
    tolerance
        In the unit of a loss that has one, as the share of wrong answers; a share of the baseline for log loss, absolute error and cost.
    scale
        Of an absolute error the standard deviation of the target, of a cost what the dearest answer costs more than the cheapest. A
        baseline of less than a hundredth of it has the tolerance of that: of one that is 0 a share would be nothing.
    """
    return tolerance * max(abs(baseline.mean), LEAST_OF_SCALE * scale) if baseline.loss in RELATIVE else tolerance


@dataclass(frozen=True, slots=True)
class HarmTest:
    """One look at the evidence that the model is worse than its baseline.

    Attributes
    ----------
    live
        The score of newly matured rows; None where too few came.
    null, score
        See `HarmWatch`, `PerformanceWatch`.
    tolerance
        What the loss may rise above the baseline's upper bound, in its unit.
    look
        The evidence.
    through_us
        Rows up to here are spent.
    episode, back
        The one that is open, and the evidence that losses are back; None where none is.
    ended
        Episodes that ended since the last look.
    """

    live: Score | None
    null: Null
    score: Score | None
    tolerance: float
    look: HarmLook
    through_us: int
    episode: Episode | None = None
    back: HarmLook | None = None
    ended: tuple[Episode, ...] = ()

    @classmethod
    def of(cls, watch: PerformanceWatch, live: Score | None, rule: Rule) -> Self | None:
        """Return how a watch stands; None without a baseline."""
        if watch.harm is None:
            return None
        harm, episode = watch.harm, watch.harm.episode
        back = None if episode is None else look(episode.back, rule, is_return=True)
        seen = look(harm.state, rule)
        return cls(live, harm.null, watch.score, harm.tolerance, seen, watch.tested_us, episode, back, harm.ended)

    @property
    def is_degraded(self) -> bool:
        """Whether an episode is open."""
        return self.episode is not None

    @property
    def source(self) -> str:
        """What the baseline is."""
        baseline = self.null.baseline
        return f"the model's first {(baseline.end_us - baseline.start_us) / 86_400_000_000:.3g} days"

    @property
    def against(self) -> str:
        """What the loss is held against, in words."""
        base = self.null.baseline
        return f"{base.mean:.4g} in the baseline ({self.source}, {base.n} rows), tolerance {self.tolerance:.3g}"

    def endings(self) -> tuple[str, ...]:
        """Say what ended since the last look."""
        return tuple(f"{WORDS[self.null.baseline.loss]} was worse than {self.against} {one.sentence()}" for one in self.ended)

    def sentence(self) -> str:
        """Say the result in words."""
        look, what = self.look, ""
        if self.live is not None:
            live = self.live
            what = f"{live.metric} {live.value:.4g} [{live.low:.4g}, {live.high:.4g}] on {live.n} labelled rows; "
        loss, against = WORDS[self.null.baseline.loss], self.against
        covered = "" if self.live is None else f"; {self.live.coverage:.0%} of these predictions are labelled"
        if not self.null.bets():
            return f"{what}{loss} cannot be held against {against}: no row of it lost more or less than another{covered}"
        back = "" if self.back is None else f", 10^{self.back.log10_evidence:.1f} of 10^{self.back.log10_threshold:.1f} that it is back"
        if look.since_us is None and self.episode is not None:
            return f"{what}{loss} is worse than {against} since {_day(self.episode.since_us)}: evidence{back[1:]}{covered}"
        if look.since_us is None:
            return f"{what}{loss} is within {against}; nothing speaks for more{covered}"
        since = f"{loss} {look.mean:.4g} on {look.n} rows since {_day(look.since_us)}"
        verb = "is worse than" if self.is_degraded else "is within"
        evidence = f"evidence 10^{look.log10_evidence:.1f} of 10^{look.log10_threshold:.1f} days{back}"
        return f"{what}{since} {verb} {against}; {evidence}{covered}"

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values."""
        base, look = self.null.baseline, self.look
        shown = {"metric": base.loss, "value": round(base.mean, 6), "n": base.n} if self.score is None else self.score.to_dict()
        return {
            "live": None if self.live is None else self.live.to_dict(),
            "baseline": {**shown, "n": base.n},
            "source": self.source,
            "harm": {
                "loss": base.loss,
                "baseline": round(base.mean, 6),
                "baseline_upper": round(base.upper, 6),
                "design_effect": round(base.design_effect, 4),
                "since_us": look.since_us,
                "mean": round(look.mean, 6),
                "rows": look.n,
                "log10_evidence": round(look.log10_evidence, 4) if math.isfinite(look.log10_evidence) else None,
                "log10_threshold": round(look.log10_threshold, 4),
                "log10_back": round(self.back.log10_evidence, 4)
                if self.back is not None and math.isfinite(self.back.log10_evidence)
                else None,
            },
            "tolerance": self.tolerance,
            "is_degraded": self.is_degraded,
            "ended": [{"since_us": one.since_us, "end_us": one.end_us} for one in self.ended],
            "through_us": self.through_us,
        }
