"""A version grows by one member: what that is learned from, whether its forerunner may be let in, and the version with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pyarrow import parquet

from monitoring.journal.tables import RETRAIN, Run
from monitoring.judging.cohorts import Cohorts
from monitoring.log_windows import Times, ranges, take
from monitoring.retraining.plan import Plan
from monitoring.retraining.probation import judging_metric
from monitoring.retraining.records import rows_of
from monitoring.retraining.weighing import SQUARED, members_of, sibling_of, state_of
from monitoring.stores import Stores
from service.prediction_log.reading import LoggedRows
from training.artifacts.artifact import Artifact, LoadedArtifact
from training.artifacts.draft import HELD_OUT
from training.artifacts.held_out import read_held_out
from training.artifacts.members import Member
from training.artifacts.mixtures import save_mixture
from training.artifacts.signing import load_or_make_key
from training.errors import ArtifactError
from training.json_text import from_text
from training.mixing.families import STALEST_EVERY, Standing, distinct_families, leaving, next_family
from training.mixing.growth_gate import GrowthDecision, GrowthRule, judge_growth
from training.mixing.labelled_rows import LabelledRows
from training.mixing.maps import Map, fit_map, mapped
from training.mixing.mixture import mix
from training.mixing.reweighing import MemberState, reweigh
from training.mixing.weights import FLOOR
from training.model_file.model_spec import ModelSpec
from training.registry.lineage import history_of
from training.schema.prediction import Prediction

Places = npt.NDArray[np.intp]
MOST_GROWN = 24  # growths that are remembered
FRUITLESS = 3  # growths in a row


def growth_of(stores: Stores, spec: ModelSpec, champion: str, cohorts: Cohorts, trigger: str) -> Mapping[str, Any] | None:
    """Return what one more member is learned from; None where a challenger is to replace the champion.

    So it is where the model file says ``members: 1``, and where requests are others than those the champion answers.

    Parameters
    ----------
    cohorts
        The mature rows as of the slot.
    trigger
        What asks for it: where answers got worse than the baseline, the shortest window that is not of the newest member.

    Returns
    -------
    The `family`, those that have `grown` so far, and the candidate to fit again (`like`: its family and parameters; None: search).
    """
    loaded = stores.load(spec.model, champion)
    if spec.training.members == 1 or loaded.manifest.contract_hash != spec.schema.contract_hash:
        return None
    before = stores.journal.runs(spec.model, RETRAIN, limit=FRUITLESS + 1)
    before = [run for run in before if run.slot_us < cohorts.slot_us][:FRUITLESS]  # of this slot there may be one that was cut short
    grown = list(before[0].payload["growth"]["grown"]) if before and before[0].payload.get("growth") else []
    members = present(stores, loaded)
    n_labelled, most = _n_labelled(stores, spec, champion, cohorts), spec.training.members
    if trigger == "performance":
        family = next((each for each in reversed(distinct_families(n_labelled)) if each != (grown or [""])[-1]), "all")
    else:
        family = next_family(standings(stores, spec, members), grown, n_labelled, most)
    like = None if are_fruitless(before, members) else [loaded.manifest.algorithm, dict(loaded.manifest.params)]
    return {"family": family, "grown": shortened([*grown, family]), "like": like}


def are_fruitless(runs: Sequence[Run], members: Sequence[Member]) -> bool:
    """Return whether the last growths brought nothing: then another candidate is searched for than the one they all fitted.

    A growth brought nothing if it failed, was refused, or made a member that is out again, or has hardly more than what is dealt out to
    all alike.

    Parameters
    ----------
    runs
        The newest retraining runs, the newest first: fewer than `FRUITLESS` tell nothing.
    members
        Those that answer.
    """
    heavy = {member.version for member in members if member.weight > 2 * FLOOR / len(members)}
    return len(runs) >= FRUITLESS and all(
        (run.payload.get("growth") or {}).get("like") is not None and run.result.get("version") not in heavy for run in runs
    )


def _n_labelled(stores: Stores, spec: ModelSpec, champion: str, cohorts: Cohorts) -> int:
    """Return how many mature labelled rows there are, of the history and of the log."""
    root = history_of(stores.registry, stores.registry.version(spec.model, champion))
    first_us, stored = 0, 0
    if root is not None:
        first_us = int(root.manifest["trained_through_us"]) + 1
        stored = parquet.read_metadata(stores.home.rows / f"{root.manifest['rows_digest']}.parquet").num_rows
    without = ranges((*cohorts.aside, *cohorts.uncovered))
    return stored + len(stores.windows(spec).labelled_times(first_us, cohorts.end_us or 0, cohorts.slot_us - 1, without))


def shortened(grown: list[str]) -> list[str]:
    """Return the last growths, as many as tell whose turn it is.

    Examples
    --------
    >>> len(shortened(["all"] * 24)), len(shortened(["all"] * 25)), len(shortened(["all"] * 28))
    (24, 22, 22)
    """
    return grown if len(grown) <= MOST_GROWN else grown[-(MOST_GROWN - STALEST_EVERY + len(grown) % STALEST_EVERY) :]


def standings(stores: Stores, spec: ModelSpec, members: Sequence[Member]) -> list[Standing]:
    """Return members as families see them."""
    known = [stores.load(spec.model, member.version).predictor.classes for member in members]
    pairs = zip(members, known, strict=True)
    return [Standing(one.version, one.family, one.trained_through_us, one.weight, classes) for one, classes in pairs]


def judge(stores: Stores, spec: ModelSpec, plan: Plan, version: str) -> GrowthDecision:
    """Hold what was answered against the same with the forerunner of a new member at its sibling's weight: to rows nobody had seen then.

    Raises
    ------
    ArtifactError
        One of them cannot be verified, or kept no answers.
    CandidateError
        The user's own metric cannot be asked.
    """
    assert plan.growth is not None
    newcomer, champion = stores.load(spec.model, version), stores.load(spec.model, plan.champion)
    logged, own, of = judged_rows(stores, spec, plan, newcomer)
    place = place_of(present(stores, champion), str(plan.growth["family"]))
    rows = LabelledRows(logged.rows.time_us, logged.rows.labels, logged.weights)
    is_squared = spec.judged_by.name in SQUARED
    points = cross_fitted(own, rows, is_squared=is_squared) if spec.training.is_mapped else (None, None)
    forerunner = by_halves(own, points)
    threshold = threshold_of(spec, champion)
    before = mix([logged.prediction], [1.0], spec.costs, threshold)
    after = mix([logged.prediction, forerunner], [1.0 - place.weight, place.weight], spec.costs, threshold)
    metric = judging_metric(spec, logged.rows.labels, [before, after], newcomer.manifest.code)
    rule = GrowthRule(spec.retraining.gate.level, spec.retraining.gate.rows)
    segments = {f"{name}={value}": mask for name in spec.segments for value, mask in parted(logged.rows.columns[name])}
    decision = judge_growth(before, after, rows, metric, weight=place.weight, segments=segments, rule=rule)
    point = fit_map(own, rows.y, weights=rows.weights, is_squared=is_squared) if spec.training.is_mapped else None
    digests = {"champion": champion.digest, "newcomer": newcomer.digest}
    more = {"map": point, "judged": rows_of(logged.rows.time_us, of), "digests": digests}
    return replace(decision, evidence={**decision.evidence, **more})


def judged_rows(stores: Stores, spec: ModelSpec, plan: Plan, newcomer: LoadedArtifact) -> tuple[LoggedRows, Prediction, int]:
    """Return the rows a growth is judged by, what its forerunner answered to them, and of how many they are: of many it kept some.

    Raises
    ------
    ArtifactError
        The artifact kept no answers.
    """
    path = newcomer.path / HELD_OUT
    content = from_text(path.read_bytes()) if path.exists() else {}
    if "time_us" not in content:
        raise ArtifactError(f"{newcomer.version} kept no answers of its forerunner")
    windows = stores.windows(spec)
    logged = windows.labelled(plan.gate_start_us, plan.gate_end_us, plan.known_by_us, plan.without_labels, plan.requested)
    in_log, in_answers = same_rows(logged.rows.time_us, np.array(content["time_us"], dtype=np.int64))
    keep = np.zeros(len(logged), dtype=np.bool_)
    keep[in_log] = True
    return take(logged, keep), read_held_out(content)[1].take(in_answers), len(logged)


def threshold_of(spec: ModelSpec, champion: LoadedArtifact) -> float | None:
    """Return the threshold a version that follows a champion begins with: the model file's, or the champion's where it is chosen."""
    return champion.manifest.threshold if spec.chooses_threshold else spec.training.threshold


def cross_fitted(answers: Prediction, rows: LabelledRows, *, is_squared: bool) -> tuple[Map | None, Map | None]:
    """Return the maps by which a forerunner's answers to each half of the rows are mapped: each is learned from the other half."""
    half = len(rows) // 2
    first, second = (
        fit_map(answers.take(part), rows.y[part], weights=rows.take(part).weights, is_squared=is_squared)
        for part in (slice(0, half), slice(half, len(rows)))
    )
    return second, first


def by_halves(answers: Prediction, points: tuple[Map | None, Map | None]) -> Prediction:
    """Return answers with each half mapped by its own map."""
    half = len(answers) // 2
    parts = answers.take(slice(0, half)), answers.take(slice(half, len(answers)))
    return Prediction.concat([mapped(part, point) for part, point in zip(parts, points, strict=True)])


def parted(column: npt.NDArray[Any]) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return each value of a segment's column with the rows that have it."""
    words = np.array(["" if value is None or value != value else str(value) for value in column.tolist()], dtype=object)
    return [(word, words == word) for word in sorted(set(words.tolist()))]


def present(stores: Stores, champion: LoadedArtifact) -> list[Member]:
    """Return the members of a champion that were not expelled."""
    expelled = stores.journal.carry(champion.manifest.model).weighing.expelled
    return [member for member in members_of(champion) if member.version not in expelled]


def place_of(members: Sequence[Member], family: str) -> Member:
    """Return what a new member of a family takes the place of: its newest sibling, or half of the heaviest."""
    instead = sibling_of(members, family)
    return instead if instead.family == family else replace(instead, weight=instead.weight / 2)


def same_rows(ours: Times, theirs: Times) -> tuple[Places, Places]:
    """Return the places of the rows that two ordered lists of times share: those of a moment, where both have as many of it.

    Examples
    --------
    >>> [each.tolist() for each in same_rows(np.array([1, 2, 2, 3, 5]), np.array([1, 2, 2, 3, 3, 4]))]
    [[0, 1, 2], [0, 1, 2]]
    """
    moments = np.intersect1d(ours, theirs)
    first = [np.searchsorted(each, moments, side="left") for each in (ours, theirs)]
    counts = [np.searchsorted(each, moments, side="right") - start for each, start in zip((ours, theirs), first, strict=True)]
    moments = moments[counts[0] == counts[1]]
    return np.flatnonzero(np.isin(ours, moments)), np.flatnonzero(np.isin(theirs, moments))


def with_newcomer(stores: Stores, spec: ModelSpec, plan: Plan, version: str, point: Map | None) -> tuple[list[Member], Mapping[str, Any]]:
    """Return the members of a champion with a new one, at most as many as the model file says, and what was done to their weights.

    The new one has its sibling's weight, and the map that its forerunner needed; its sibling's where there were too few rows for one.
    """
    assert plan.growth is not None
    champion, newcomer = stores.load(spec.model, plan.champion), stores.load(spec.model, version)
    members = present(stores, champion)
    states = [state_of(member) for member in members]
    newest = newcomer.manifest.as_member(str(plan.growth["family"]))
    states.append(MemberState(newest.version, newest.family, newest.trained_through_us))
    rows = LabelledRows(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=object))
    nothing = [_no_answers(stores.load(spec.model, one.version).predictor.classes) for one in states]
    weighed = reweigh(states, nothing, rows, slot_us=plan.slot_us, has_maps=False).members
    joined = [replace(member, weight=new.weight or 0.0, map=new.map) for member, new in zip([*members, newest], weighed, strict=True)]
    joined[-1] = replace(joined[-1], map=point or joined[-1].map)
    gone = leaving(standings(stores, spec, [*joined[:-1], replace(newest, weight=0.0)]), spec.training.members)
    stay = [member for member in joined if member.version not in gone]
    total = sum(member.weight for member in stay)
    return [replace(member, weight=member.weight / total) for member in stay], {"left": list(gone)}


def _no_answers(classes: tuple[str, ...] | None) -> Prediction:
    """Return the answers to no rows: what can be mapped how is seen by their classes."""
    if classes is None:
        return Prediction(np.zeros(0))
    return Prediction(np.zeros(0, dtype=object), np.zeros((0, len(classes))), classes)


def save_grown(stores: Stores, spec: ModelSpec, plan: Plan, members: Sequence[Member], now: Any, report: Mapping[str, Any]) -> Artifact:
    """Write the version with the new member."""
    champion = stores.load(spec.model, plan.champion)
    return save_mixture(
        members,
        {member.digest: stores.load(spec.model, member.version) for member in members},
        spec_text=spec.text,
        parent=plan.champion,
        generation=None,
        weighed_through_us=champion.manifest.weighed_through_us,
        home_artifacts=stores.home.artifacts,
        key=load_or_make_key(stores.home.signing_key),
        now=now,
        report=report,
        threshold=threshold_of(spec, champion),
    )
