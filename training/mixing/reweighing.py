"""A slot's weighing: each member's map, then all weights, from the newest labels, and what was done (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from training.evaluation.decision_threshold import ThresholdChoice, choose_threshold
from training.evaluation.losses import METRICS, Metric
from training.evaluation.weighted import effective, weighted
from training.mixing.cadence import Rating, rate
from training.mixing.labelled_rows import LabelledRows
from training.mixing.map_trials import MapTrial, judge_maps
from training.mixing.maps import LEAST_ROWS, Map, fit_map, has_two_classes, mapped
from training.mixing.mixture import mix
from training.mixing.weights import learn_weights
from training.schema.prediction import Prediction

LEAST_MOVE = 0.01
"""A weighing that moves no weight and no map by more than this is not worth a version."""
_IDENTITY: Map = (1.0, 0.0)


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member, as it is before or after a weighing.

    Attributes
    ----------
    version
        The name of its artifact.
    family
        The window it was trained on.
    trained_through_us
        Model time of the newest row it was trained on, microseconds.
    weight
        None for one that came since the last weighing.
    map
        None for the identity.
    trial
        How its maps have done on what was answered with them.
    """

    version: str
    family: str
    trained_through_us: int
    weight: float | None = None
    map: Map | None = None
    trial: MapTrial = field(default=MapTrial())


@dataclass(frozen=True, slots=True)
class Reweighed:
    """What a weighing came to.

    Attributes
    ----------
    members
        With their new weights, which sum to 1, and maps; in the order given.
    moved
        The most that a weight or a number of a map moved; the intercept of numbers in standard deviations of the labels.
    evidence
        For the ledger, as plain JSON values.
    rating
        What the newest scored member brings, for the cadence of growths; None where nothing was learned, or it is alone.
    choice
        Of the threshold; None where none is chosen.
    """

    members: tuple[MemberState, ...]
    moved: float
    evidence: Mapping[str, Any]
    rating: Rating | None = None
    choice: ThresholdChoice | None = None

    @property
    def has_moved(self) -> bool:
        """Whether it is worth a version."""
        return self.moved > LEAST_MOVE or (self.choice is not None and self.choice.has_moved)


@dataclass(frozen=True, slots=True)
class Deciding:
    """By which threshold a version decides the positive of two classes, and the metric that is to be good by it.

    Attributes
    ----------
    present
        None decides the most probable class.
    """

    metric: Metric
    present: float | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """The weight and map of a member, and of which other one it has them."""

    weight: float
    map: Map | None
    source: int | None = None


def reweigh(  # 7 parameters: members, what they answer to which rows, and by what they are weighed
    members: Sequence[MemberState],
    answers: Sequence[Prediction],
    rows: LabelledRows,
    *,
    slot_us: int,
    is_squared: bool = False,
    has_maps: bool = True,
    deciding: Deciding | None = None,
) -> Reweighed:
    """Learn maps, then weights, then the threshold.

    A member is *scored* when it has `LEAST_ROWS` rows later than all it was trained on. Each scored member has a map of its own from
    those; the weights of all of them are learned on the rows later than what any of them was trained on. A member that is not scored
    takes the place of its family's newest scored one: its map and its weight, shared where several take it. Without such a one it has
    the map and half of the weight of the heaviest. Where no member is scored, those that have a weight stay what they are.

    Parameters
    ----------
    answers
        Of each member what it answers to all rows, without a map.
    rows
        Matured, covered, not quarantined: the `newest_rows`.
    slot_us
        Model time of the slot: from then on the new maps answer.
    is_squared
        Numbers: that the model's metric counts squared errors.
    has_maps
        Whether members are mapped.
    deciding
        Chooses the threshold anew, by what the scored members answer with their new maps and weights to the rows that these are learned
        from; None where none is chosen.

    Raises
    ------
    ValueError
        No member, or not an answer of each to each row; none of them is scored or has a weight.

    Examples
    --------
    >>> y = np.tile([1.0, 2.0, 3.0], 100)
    >>> rows = LabelledRows(np.arange(300), y)
    >>> members = [MemberState("a", "all", -1, 0.5), MemberState("b", "half", -1, 0.5)]
    >>> result = reweigh(members, [Prediction(y), Prediction(np.full(300, 9.0))], rows, slot_us=300, has_maps=False)
    >>> [round(member.weight, 2) for member in result.members], result.has_moved
    ([0.95, 0.05], True)
    """
    if not members or len(members) != len(answers):
        raise ValueError(f"{len(members)} members, but the answers of {len(answers)}")
    if wrong := [f"{m.version} answers {len(a)} of {len(rows)} rows" for m, a in zip(members, answers, strict=True) if len(a) != len(rows)]:
        raise ValueError("; ".join(wrong))
    unseen = [rows.after(member.trained_through_us) for member in members]
    counts = [effective(rows.take(part).counts) for part in unseen]
    scored = [i for i, count in enumerate(counts) if count >= LEAST_ROWS]
    trials = [
        _tried(member.trial, answer.take(part), rows.take(part), slot_us, is_squared=is_squared) if has_maps else MapTrial()
        for member, answer, part in zip(members, answers, unseen, strict=True)
    ]
    judged = rows.after(max(members[i].trained_through_us for i in scored)) if scored else slice(len(rows), None)
    is_learned = bool(scored) and (answers[0].probability is None or has_two_classes(rows.y[judged]))
    rating = None
    if is_learned:
        judged_answers = [mapped(answers[i].take(judged), trials[i].used) for i in scored]
        learned = learn_weights(judged_answers, rows.take(judged))
        newest = max(range(len(scored)), key=lambda place: members[scored[place]].trained_through_us)
        rating = rate(members[scored[newest]].version, judged_answers, newest, rows.take(judged))
        known = {i: _Place(float(weight), trials[i].used) for i, weight in zip(scored, learned, strict=True)}
    else:
        off = [trial.is_off for trial in trials]
        known = {i: _Place(m.weight, None if off[i] else m.map) for i, m in enumerate(members) if m.weight is not None}
    places = _places(members, answers, known)
    after = tuple(
        replace(member, weight=place.weight, map=place.map, trial=trial)
        for member, place, trial in zip(members, places, trials, strict=True)
    )
    choice = None
    if deciding is not None and is_learned:
        mixed = mix([mapped(answers[i].take(judged), known[i].map) for i in scored], [known[i].weight for i in scored])
        part = rows.take(judged)
        choice = choose_threshold(part.y, mixed, deciding.metric, deciding.present, weights=part.weights)
    moved = max(_move(old, new, answer, rows) for old, new, answer in zip(members, after, answers, strict=True))
    evidence = {
        **_span(rows),
        "weighed_rows": len(rows.take(judged)),
        "is_learned": is_learned,
        **_losses(members, after, [answer.take(judged) for answer in answers], rows.take(judged)),
        "moved": round(moved, 6),
        "least_move": LEAST_MOVE,
        "maps_laid_aside": [new.version for old, new in zip(members, after, strict=True) if new.trial.is_off and not old.trial.is_off],
        "newest": None if rating is None else asdict(rating),
        **({} if choice is None else {"threshold": dict(choice.evidence)}),
        "members": [
            _line(old, new, count, None if place.source is None else members[place.source].version)
            for old, new, count, place in zip(members, after, counts, places, strict=True)
        ],
    }
    return Reweighed(after, moved, evidence, rating, choice)


def loss_of(answers: Prediction, *, is_squared: bool = False) -> Metric:
    """Return what maps are learned by: log-loss of classes, absolute or squared error of numbers."""
    return METRICS["log_loss" if answers.probability is not None else "rmse" if is_squared else "mae"]


def _tried(trial: MapTrial, answers: Prediction, rows: LabelledRows, slot_us: int, *, is_squared: bool) -> MapTrial:
    """Judge the maps learned before by the labels that came since, then learn the next one."""
    trial = judge_maps(trial, answers, rows, loss_of(answers, is_squared=is_squared))
    learned = fit_map(answers, rows.y, weights=rows.weights, is_squared=is_squared)
    return trial if learned is None else trial.with_learned(learned, slot_us)


def _places(members: Sequence[MemberState], answers: Sequence[Prediction], known: Mapping[int, _Place]) -> list[_Place]:
    """Return the place of each member: the known ones share theirs with those that are not."""
    if not known:
        raise ValueError("no member has a weight, or rows enough to get one")
    weights = {i: place.weight for i, place in known.items()}
    heaviest = max(known, key=lambda i: weights[i])
    sources = {i: _sibling(members, known, i) for i in range(len(members)) if i not in known}
    places = dict(known)
    for source in {*sources.values()}:
        heirs = [i for i, at in sources.items() if at == source]
        at = heaviest if source is None else source
        given = weights[at] if source is not None else weights[at] / 2
        places[at] = replace(places[at], weight=places[at].weight - given)
        for i in heirs:
            inherited = members[i].map or _inherited(known[at].map, answers[at], answers[i])
            places[i] = _Place(given / len(heirs), inherited, at)
    total = sum(place.weight for place in places.values())
    return [replace(places[i], weight=places[i].weight / total) for i in range(len(members))]


def _inherited(by: Map | None, source: Prediction, heir: Prediction) -> Map | None:
    """Return a member's map for another: of the intercept, which is about one class, nothing where they know different ones."""
    return by if by is None or source.classes == heir.classes else (by[0], 0.0)


def _sibling(members: Sequence[MemberState], known: Mapping[int, _Place], i: int) -> int | None:
    siblings = [k for k in known if members[k].family == members[i].family]
    return max(siblings, key=lambda k: members[k].trained_through_us) if siblings else None


def _move(old: MemberState, new: MemberState, answers: Prediction, rows: LabelledRows) -> float:
    """Return by how much the weight or the map of a member moved; the map of one without weight moves no answer."""
    weight = abs((new.weight or 0.0) - (old.weight or 0.0))
    if not (new.weight or old.weight):
        return weight
    (slope, intercept), (before, intercept_before) = new.map or _IDENTITY, old.map or _IDENTITY
    shift = abs(intercept - intercept_before)
    if answers.probability is None and len(rows):
        mean, spread = float(np.mean(answers.label)), float(np.std(np.asarray(rows.y, np.float64)))
        shift = abs(intercept - intercept_before + (slope - before) * mean) / spread if spread else 0.0
    return float(max(weight, abs(slope - before), shift))


def _span(rows: LabelledRows) -> dict[str, Any]:
    if not len(rows):
        return {"rows": 0, "from_us": None, "through_us": None}
    return {"rows": len(rows), "from_us": int(rows.time_us[0]), "through_us": int(rows.time_us[-1])}


def _losses(
    before: Sequence[MemberState], after: Sequence[MemberState], answers: Sequence[Prediction], rows: LabelledRows
) -> dict[str, Any]:
    """Return the mixture's loss on the weighed rows as it was and as it became; the latter was learned from them."""
    metric = METRICS["mae"] if answers[0].probability is None else METRICS["log_loss"]
    losses: list[float | None] = []
    for members in (before, after):
        weights = [member.weight or 0.0 for member in members]
        if not len(rows) or not sum(weights):
            losses.append(None)
            continue
        mixed = mix([mapped(each, member.map) for each, member in zip(answers, members, strict=True)], weights)
        losses.append(round(weighted(metric, rows.y, mixed, rows.counts), 6))
    return {"loss": metric.name, "loss_before": losses[0], "loss_after": losses[1]}


def _line(old: MemberState, new: MemberState, unseen: float, source: str | None) -> dict[str, Any]:
    """Return what was done to a member."""
    return {
        "version": new.version,
        "family": new.family,
        "trained_through_us": new.trained_through_us,
        "unseen_rows": round(unseen),
        "wanted_rows": LEAST_ROWS,
        "like": source,
        "weight_before": None if old.weight is None else round(old.weight, 6),
        "weight": round(new.weight or 0.0, 6),
        "map_before": None if old.map is None else list(old.map),
        "map": None if new.map is None else list(new.map),
        "trial": {"worse": new.trial.worse, "is_off": new.trial.is_off},
    }
