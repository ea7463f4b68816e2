"""The members of a champion weighed anew, slot by slot: maps and weights from the newest labels, without any training."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monitoring.journal.carries import WeighingState
from monitoring.journal.leases import Turn
from monitoring.judging.cohorts import Cohorts
from monitoring.judging.verdict import Evidence, Verdict
from monitoring.log_windows import Range, ranges, take
from monitoring.retraining.records import within
from monitoring.stores import Stores
from service.prediction_log.reading import LoggedRows
from training.artifacts.artifact import LoadedArtifact
from training.artifacts.manifest import generation_of
from training.artifacts.members import ALL, Member
from training.artifacts.mixtures import save_mixture
from training.artifacts.signing import load_or_make_key
from training.clock import duration_us, from_us
from training.errors import ArtifactError, CandidateError, RegistryError
from training.mixing.cadence import Cadence
from training.mixing.labelled_rows import OLDEST_SLOTS, LabelledRows, newest_rows
from training.mixing.map_trials import MapTrial
from training.mixing.maps import LEAST_ROWS, mapped
from training.mixing.member_probation import MemberProbation, differences
from training.mixing.reweighing import Deciding, MemberState, Reweighed, reweigh
from training.model_file.model_spec import ModelSpec
from training.registry.tables import Cause
from training.schema.prediction import Prediction

logger = logging.getLogger(__name__)
WHO = "monitor"
SQUARED = ("rmse", "r2")  # metrics that count squared errors
MAY_LEARN = ("keep", "watch", "retrain", "quarantine")  # the verdicts after which labels are learned from; broken rows never are
MOST_ROWS = 20_000  # that are weighed by: of more every k-th


def members_of(artifact: LoadedArtifact) -> tuple[Member, ...]:
    """Return the members of a version: itself where it is no mixture."""
    return artifact.manifest.members or (artifact.manifest.as_member(ALL),)


def state_of(member: Member, trial: MapTrial | None = None) -> MemberState:
    """Return a member as it is weighed."""
    return MemberState(member.version, member.family, member.trained_through_us, member.weight, member.map, trial or MapTrial())


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a slot's labels say of the members of a champion.

    Attributes
    ----------
    members
        All of them, with new weights and maps; those that are expelled have the weight 0.
    is_new
        Whether that is worth a version.
    why
        In a sentence.
    seconds
        How long that took.
    threshold
        From which probability on the positive of two classes is decided; None where the most probable or the cheapest class is.
    """

    members: tuple[Member, ...]
    is_new: bool
    why: str
    evidence: Mapping[str, Any]
    seconds: float = 0.0
    threshold: float | None = None


def weigh(
    stores: Stores, spec: ModelSpec, evidence: Evidence, verdict: Verdict, state: WeighingState
) -> tuple[Weighed | None, WeighingState]:
    """Learn the maps and weights of a champion's members from the newest mature labels; return them, and what to hand on.

    First a member on probation that is proven to harm is expelled. None where nothing may be learned: in a blind slot,
    where the loop only notifies or is paused, or the model file says ``map: false`` of one member and no threshold is chosen; and where too
    few labels are there, or a member cannot be asked.
    """
    champion, began = stores.load(spec.model, evidence.champion), time.perf_counter()
    members, has_maps = members_of(champion), spec.training.is_mapped
    is_fixed = len(members) == 1 and not has_maps and not spec.chooses_threshold
    if verdict.kind not in MAY_LEARN or verdict.is_dry or evidence.cohorts is None or is_fixed:
        return None, state
    logged, chosen = rows_to_weigh_by(stores, spec, evidence.cohorts, [Range(span.start_us, span.end_us) for span in evidence.spans])
    if len(logged) < LEAST_ROWS:
        return None, state
    present = [member for member in members if member.version not in state.expelled]
    try:
        answers = [stores.load(spec.model, one.version).predictor.predict(logged.rows.columns) for one in present]
    except (ArtifactError, CandidateError, RegistryError) as error:
        logger.error("%s: %s is not weighed: %s", spec.model, evidence.champion, error)
        return None, state
    rows = LabelledRows(logged.rows.time_us, logged.rows.labels, logged.weights)
    probations = look(present, answers, rows, state)
    harmful = to_expel(present, answers, probations)
    stay = [place for place, member in enumerate(present) if member.version not in harmful]
    present_threshold = champion.manifest.threshold
    trials = {name: MapTrial.from_dict(stored) for name, stored in state.trials.items()}
    result = reweigh(
        [state_of(present[place], trials.get(present[place].version)) for place in stay],
        [answers[place] for place in stay],
        rows,
        slot_us=evidence.slot_us,
        is_squared=spec.judged_by.name in SQUARED,
        has_maps=has_maps,
        deciding=Deciding(spec.judged_by, present_threshold) if spec.chooses_threshold else None,
    )
    is_degraded = evidence.performance is not None and evidence.performance.is_degraded
    cadence = cadence_after(Cadence.from_dict(state.cadence), result, is_degraded=is_degraded, classes=answers[0].classes)
    new = {one.version: one for one in result.members}
    weighed = tuple(
        replace(one, weight=new[one.version].weight or 0.0, map=new[one.version].map)
        if one.version in new
        else replace(one, weight=0.0, map=None)
        for one in members
    )
    known = {name: probation.evidence for name, probation in probations.items()}
    shown = {
        **result.evidence,
        **chosen,
        "growth_every_slots": cadence.slots,
        **({"probations": known} if known else {}),
        **({"expelled": harmful} if harmful else {}),
    }
    still_open = {name: one.to_dict() for name, one in probations.items() if one.outcome == "open"}
    out = tuple(one.version for one in members if one.version in (*state.expelled, *harmful))
    trials_after = {one.version: one.trial.to_dict() for one in result.members}
    after = WeighingState(int(rows.time_us[-1]), trials_after, still_open, out, cadence.to_dict())
    seconds = round(time.perf_counter() - began, 3)
    threshold = present_threshold if result.choice is None else result.choice.threshold
    is_new = result.has_moved or bool(harmful)
    return Weighed(weighed, is_new, _sentence(result, harmful), shown, seconds, threshold), after


def cadence_after(cadence: Cadence, result: Reweighed, *, is_degraded: bool, classes: tuple[str, ...] | None) -> Cadence:
    """Return how often to grow after a weighing.

    Of more than two classes it stays as it is: they come and go, and a member that knows what comes next brings nothing before it does
    (kdd99 by these rules without the loop, behind the reference: 14 % with a member every second slot, 85 % where they got rarer).
    """
    cadence = cadence.alarmed() if is_degraded else cadence
    return cadence if classes is not None and len(classes) > 2 else cadence.after(result.rating)


def look(members: Sequence[Member], answers: Sequence[Prediction], rows: LabelledRows, state: WeighingState) -> dict[str, MemberProbation]:
    """Return the evidence against members that came since the champion was weighed first, with the rows that came since the last time.

    Held against each other are what the members answer as they are weighed now, with it and without it.
    """
    on_trial = {name: MemberProbation.from_dict(stored) for name, stored in state.probations.items()}
    if len(members) > 1 and state.trials:
        on_trial |= {one.version: MemberProbation() for one in members if one.version not in {**state.trials, **on_trial}}
    since = rows.after(rows.time_us[0] - 1 if state.through_us is None else state.through_us)
    part = rows.take(since)
    mixed = [mapped(each.take(since), member.map) for each, member in zip(answers, members, strict=True)]
    weights = [member.weight for member in members]
    seen = {one.version: on_trial[one.version] for one in members if one.version in on_trial and len(members) > 1}
    for place, one in enumerate(members):
        if one.version in seen and len(part):
            lost = differences(mixed, weights, without(members, place), part)
            seen[one.version] = on_trial[one.version].after(lost)
    return seen


def without(members: Sequence[Member], place: int) -> list[float]:
    """Return the weights of members were one of them not there: the one whose place it took, or takes the place of, has its weight."""
    others = [member for at, member in enumerate(members) if at != place]
    instead = sibling_of(others, members[place].family)
    return [
        0.0 if at == place else member.weight + (members[place].weight if member.version == instead.version else 0.0)
        for at, member in enumerate(members)
    ]


def sibling_of(members: Sequence[Member], family: str) -> Member:
    """Return the newest member of a family, or the heaviest of all where there is none."""
    siblings = [member for member in members if member.family == family]
    if siblings:
        return max(siblings, key=lambda member: (member.trained_through_us, member.version))
    return max(members, key=lambda member: member.weight)


def to_expel(members: Sequence[Member], answers: Sequence[Prediction], probations: Mapping[str, MemberProbation]) -> list[str]:
    """Return who is proven to harm, but for the last one that knows a class."""
    harmful: list[str] = []
    for place, member in enumerate(members):
        if member.version not in probations or probations[member.version].outcome != "worse":
            continue
        others = [each for at, each in enumerate(answers) if at != place and members[at].version not in harmful]
        if others and set(answers[place].classes or ()) <= {name for each in others for name in each.classes or ()}:
            harmful.append(member.version)
    return harmful


def rows_to_weigh_by(stores: Stores, spec: ModelSpec, cohorts: Cohorts, aside: Sequence[Range]) -> tuple[LoggedRows, dict[str, Any]]:
    """Return the newest matured labelled rows that may be learned from, and by what they were chosen."""
    windows, every_us, end_us = stores.windows(spec), duration_us(spec.watching.every), cohorts.covered_end_us or 0
    without = (*aside, *ranges((*cohorts.aside, *cohorts.uncovered)))
    requested, known_by_us = ranges(cohorts.by_requests), cohorts.slot_us - 1
    since_us = end_us - OLDEST_SLOTS * every_us
    times = windows.labelled_times(since_us, end_us, known_by_us, without, requested)
    chosen = newest_rows(times, every_us)
    start_us = int(times[chosen][0]) if len(times[chosen]) else end_us
    logged = windows.labelled(start_us, end_us, known_by_us, without, requested)
    one_in = max(1, -(-len(logged) // MOST_ROWS))
    logged = take(logged, np.arange(len(logged)) % one_in == 0)
    aside_of, uncovered = (*aside, *ranges(cohorts.aside)), ranges(cohorts.uncovered)
    without_of = {"quarantined": within(aside_of, start_us, end_us), "uncovered": within(uncovered, start_us, end_us)}
    requested_of = within(requested, start_us, end_us)
    return logged, {"known_by_us": known_by_us, "one_in": one_in, "end_us": end_us, **without_of, "by_requests": requested_of}


def carry_out(stores: Stores, turn: Turn, spec: ModelSpec, evidence: Evidence, weighed: Weighed | None) -> str:
    """Save and register a weighing that moved something, and let it answer; return who is the champion now.

    What goes wrong with it leaves the champion as it is: the next slot weighs again.
    """
    if weighed is None or not weighed.is_new:
        return evidence.champion
    registry, champion = stores.registry, stores.load(spec.model, evidence.champion)
    generation = generation_of(champion.version)
    slot = {"slot": from_us(evidence.slot_us).isoformat(), "generation": generation}
    try:
        artifact = save_mixture(
            weighed.members,
            {one.digest: stores.load(spec.model, one.version) for one in weighed.members},
            spec_text=champion.spec_text,
            parent=champion.version,
            generation=generation,
            reweighed=_next_number(stores, spec.model, generation),
            weighed_through_us=weighed.evidence["through_us"],
            home_artifacts=stores.home.artifacts,
            key=load_or_make_key(stores.home.signing_key),
            now=turn.now,
            report=weighed.evidence,
            threshold=weighed.threshold,
        )
        stores.failpoint("reweigh.saved")
        cause = Cause(WHO, weighed.why, {**slot, **weighed.evidence, "seconds": {"weighing": weighed.seconds}})
        version = registry.reweigh(artifact, expected=champion.version, cause=cause, now=turn.now, guard=turn.guard).version
        stores.failpoint("reweigh.done")
    except (ArtifactError, RegistryError) as error:
        logger.error("%s: %s keeps its weights: %s", spec.model, champion.version, error)
        return champion.version
    return version


def _next_number(stores: Stores, model: str, generation: str) -> int:
    """Return the number after that of every weighing there is of a generation, also of one that was never registered."""
    folders = (stores.home.artifacts / model).glob(f"{generation}.*")
    return 1 + max((int(folder.name.rpartition(".")[2]) for folder in folders), default=0)


def _sentence(result: Reweighed, expelled: Sequence[str]) -> str:
    evidence, out = result.evidence, "".join(f"{name} is proven to harm and left out; " for name in expelled)
    if result.choice is not None and result.choice.has_moved:
        out += f"positive from a probability of {result.choice.threshold:.4g} on; "
    for name in evidence["maps_laid_aside"]:
        out += f"{name} answers without a map from now on: what it answered with one was worse than without; "
    if evidence["loss_before"] is None:
        return f"{out}weighed by {evidence['rows']} rows"
    losses = f"{evidence['loss']} {evidence['loss_before']:.4g} before, {evidence['loss_after']:.4g} with what was learned from them"
    return f"{out}weighed by {evidence['rows']} rows: a weight or map moved by {evidence['moved']:.2g}; {losses}"
