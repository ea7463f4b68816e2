from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from training.evaluation.losses import METRICS
from training.mixing.labelled_rows import LabelledRows
from training.mixing.map_trials import LearnedMap, MapTrial
from training.mixing.reweighing import Deciding, MemberState, Reweighed, reweigh
from training.schema.prediction import Prediction

N = 600


def rows(seed: int = 0, n: int = N) -> LabelledRows:
    return LabelledRows(np.arange(n), np.random.default_rng(seed).normal(100, 20, n))


def answering(labelled: LabelledRows, spread: float, seed: int = 1, shift: float = 0.0) -> Prediction:
    return Prediction(labelled.y + shift + np.random.default_rng(seed).normal(0, spread, len(labelled)))


def member(version: str, family: str = "all", through: int = -1, weight: float | None = 0.5) -> MemberState:
    return MemberState(version, family, through, weight)


def weights_of(result: Reweighed) -> dict[str, float]:
    return {each.version: round(each.weight or 0.0, 6) for each in result.members}


def test_maps_come_first_and_weights_are_of_what_is_mapped() -> None:
    labelled = rows()
    good, shifted = answering(labelled, 10), answering(labelled, 5, shift=80)

    plain = reweigh([member("good"), member("shifted")], [good, shifted], labelled, has_maps=False, slot_us=N)
    with_maps = reweigh([member("good"), member("shifted")], [good, shifted], labelled, slot_us=N)

    assert weights_of(plain)["good"] > 0.9
    assert weights_of(with_maps)["shifted"] > 0.6
    assert with_maps.members[1].map[1] < -60


def test_a_member_alone_weighs_one_and_is_mapped() -> None:
    labelled = rows()

    result = reweigh([member("only", weight=1.0)], [answering(labelled, 5, shift=40)], labelled, slot_us=N)

    assert result.members[0].weight == 1.0
    assert result.members[0].map is not None
    assert result.has_moved


def test_each_map_is_of_all_rows_its_member_was_not_trained_on_and_weights_of_what_none_was() -> None:
    labelled = rows()
    old, new = member("old", through=99), member("new", through=399)

    result = reweigh([old, new], [answering(labelled, 5), answering(labelled, 5, seed=2)], labelled, slot_us=N)

    assert [line["unseen_rows"] for line in result.evidence["members"]] == [500, 200]
    assert result.evidence["weighed_rows"] == 200


def test_what_members_answer_to_rows_they_were_trained_on_changes_nothing() -> None:
    labelled = rows()
    members = [member("old", through=99), member("new", through=399)]
    honest = [answering(labelled, 5), answering(labelled, 5, seed=2)]
    cheating = [
        Prediction(np.where(np.arange(N) <= m.trained_through_us, labelled.y, a.label)) for m, a in zip(members, honest, strict=True)
    ]

    assert reweigh(members, cheating, labelled, slot_us=N).members == reweigh(members, honest, labelled, slot_us=N).members


def test_an_unscored_member_takes_the_place_of_its_familys_newest_scored_one() -> None:
    labelled = rows()
    members = [
        member("a1", "all", 10),
        member("a2", "all", 200),
        member("h1", "half", 100),
        member("a3", "all", 550, None),
    ]
    answers = [answering(labelled, s, seed=i, shift=20) for i, s in enumerate((9, 8, 7, 6))]

    alone = reweigh(members[:3], answers[:3], labelled, slot_us=N)
    result = reweigh(members, answers, labelled, slot_us=N)

    assert weights_of(result) == {**weights_of(alone), "a2": 0.0, "a3": weights_of(alone)["a2"]}
    assert result.members[3].map == alone.members[1].map
    assert result.evidence["members"][3]["like"] == "a2"


def test_several_unscored_members_of_a_family_share_its_place() -> None:
    labelled = rows()
    members = [member("a1", "all", 10), member("h1", "half", 10), member("h2", "half", 520), member("h3", "half", 560)]
    answers = [answering(labelled, 5, seed=i) for i in range(4)]

    alone, result = (weights_of(reweigh(members[:k], answers[:k], labelled, slot_us=N)) for k in (2, 4))

    assert result["h1"] == 0.0
    assert result["h2"] == result["h3"] == pytest.approx(alone["h1"] / 2, abs=1e-5)


def test_the_first_member_of_a_family_takes_half_of_the_heaviest() -> None:
    labelled = rows()
    members = [member("a1", "all", 10), member("a2", "all", 20), member("h1", "half", 560, None)]
    answers = [answering(labelled, s, seed=s) for s in (30, 5, 5)]

    alone, result = (weights_of(reweigh(members[:k], answers[:k], labelled, slot_us=N)) for k in (2, 3))

    assert result["h1"] == result["a2"] == pytest.approx(alone["a2"] / 2, abs=1e-5)


def test_where_no_member_has_unseen_rows_those_of_before_stay_and_newcomers_stand_beside_them() -> None:
    labelled = rows()
    before = [replace(member("a1", "all", 590, 0.7), map=(1.1, 2.0)), member("h1", "half", 590, 0.3), member("a2", "all", 595, None)]

    result = reweigh(before, [answering(labelled, 5)] * 3, labelled, slot_us=N)

    assert weights_of(result) == {"a1": 0.0, "h1": 0.3, "a2": 0.7}
    assert result.members[2].map == (1.1, 2.0)
    assert result.evidence["weighed_rows"] == 0


def test_without_weight_or_rows_there_is_nothing_to_go_by() -> None:
    labelled = rows(n=20)

    with pytest.raises(ValueError, match="no member has a weight, or rows enough to get one"):
        reweigh([member("a", weight=None)], [answering(labelled, 5)], labelled, slot_us=N)
    with pytest.raises(ValueError, match="0 members"):
        reweigh([], [], labelled, slot_us=N)
    with pytest.raises(ValueError, match="a answers 10 of 20 rows"):
        reweigh([member("a")], [answering(labelled, 5).take(slice(10))], labelled, slot_us=N)


def test_weighing_again_by_the_same_rows_moves_nothing() -> None:
    labelled = rows()
    answers = [answering(labelled, 5, shift=20), answering(labelled, 15, seed=2)]

    first = reweigh([member("a"), member("b")], answers, labelled, slot_us=N)
    again = reweigh(first.members, answers, labelled, slot_us=N)

    assert first.has_moved
    assert again.moved == 0.0
    assert not again.has_moved


def test_an_intercept_of_numbers_moves_in_standard_deviations_of_the_labels() -> None:
    labelled = rows()
    thousandfold = LabelledRows(labelled.time_us, labelled.y * 1000)
    small, large = (
        reweigh([member("a", weight=1.0)], [Prediction(each.y - 4 * unit)], each, slot_us=N)
        for each, unit in ((labelled, 1.0), (thousandfold, 1000.0))
    )

    assert small.moved == pytest.approx(large.moved)
    assert 0.1 < small.moved < 0.3


def test_a_map_that_did_worse_on_what_came_since_for_the_third_time_is_not_used() -> None:
    labelled = rows()
    shifted = LabelledRows(labelled.time_us, labelled.y + np.where(np.arange(N) < 500, 40.0, 0.0))
    before = replace(member("a", weight=1.0), map=(1.0, 40.0), trial=MapTrial((LearnedMap(499, (1.0, 40.0)),), worse=2))

    judged_before = replace(before, trial=replace(before.trial, judged_through_us=N - 1))
    result, same_rows = (reweigh([each], [Prediction(labelled.y)], shifted, slot_us=N).members[0] for each in (before, judged_before))

    assert result.trial.is_off
    assert result.map is None
    assert result.trial.newest[1] > 20.0
    assert same_rows.trial.worse == 2
    assert same_rows.map == same_rows.trial.newest


def test_a_model_of_classes_is_weighed_by_log_loss() -> None:
    random = np.random.default_rng(0)
    logit = random.normal(0, 2, N)
    y = np.where(random.random(N) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)
    answers = [
        Prediction(np.where(z > 0, "yes", "no").astype(object), np.column_stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))]), ("no", "yes"))
        for z in (2 * logit + 1, random.normal(0, 2, N))
    ]

    result = reweigh([member("twice as sure"), member("noise")], answers, LabelledRows(np.arange(N), y), slot_us=N)

    assert result.members[0].map == pytest.approx((0.5, -0.4), abs=0.15)
    assert result.members[0].weight > 0.8
    assert result.evidence["loss_after"] < result.evidence["loss_before"]


def test_an_intercept_is_not_inherited_by_a_member_that_knows_other_classes() -> None:
    y = np.array(["a", "b"] * 300, dtype=object)
    two = Prediction(y, np.tile([0.9, 0.1], (N, 1)), ("a", "b"))
    three = Prediction(y, np.tile([0.6, 0.3, 0.1], (N, 1)), ("a", "b", "c"))

    old, new = reweigh(
        [member("old"), member("new", through=560, weight=None)], [two, three], LabelledRows(np.arange(N), y), slot_us=N
    ).members

    assert old.map[1] > 0.5
    assert new.map == (old.map[0], 0.0)


def test_labels_of_one_class_leave_weights_and_maps_as_they_are() -> None:
    certain, unsure = (Prediction(np.full(N, "no", object), np.tile([p, 1 - p], (N, 1)), ("no", "yes")) for p in (0.999, 0.6))
    before = [
        member("certain", weight=0.3),
        replace(member("unsure", through=5, weight=0.7), map=(1.2, 0.1)),
        member("comes", through=580, weight=None),
    ]

    result = reweigh(before, [certain, unsure, unsure], LabelledRows(np.arange(N), np.full(N, "no", object)), slot_us=N)

    assert weights_of(result) == {"certain": 0.3, "unsure": 0.0, "comes": 0.7}
    assert result.members[2].map == (1.2, 0.1)
    assert not result.evidence["is_learned"]


def test_a_map_that_does_great_harm_where_labels_are_of_one_class_is_laid_aside() -> None:
    certain = Prediction(np.full(N, "no", object), np.tile([0.99, 0.01], (N, 1)), ("no", "yes"))
    before = replace(member("only", weight=1.0), map=(0.3, 0.0), trial=MapTrial((LearnedMap(200, (0.3, 0.0)),)))

    result = reweigh([before], [certain], LabelledRows(np.arange(N), np.full(N, "no", object)), slot_us=N)

    assert not result.evidence["is_learned"]
    assert result.members[0].map is None
    assert result.evidence["maps_laid_aside"] == ["only"]


def test_the_newest_scored_member_is_rated() -> None:
    labelled = rows()
    members = [member("old", through=10), member("new", through=100), member("comes", through=590, weight=None)]

    result = reweigh(members, [answering(labelled, 10, 1), answering(labelled, 5, 2), answering(labelled, 5, 3)], labelled, slot_us=N)

    assert result.rating.version == "new"
    assert result.rating.gain > 0.3
    assert result.evidence["newest"]["gain"] == result.rating.gain


def test_what_was_done_is_plain_json() -> None:
    labelled = rows()

    result = reweigh([member("a"), member("b", weight=None)], [answering(labelled, 5), answering(labelled, 9)], labelled, slot_us=N)

    evidence = json.loads(json.dumps(result.evidence, allow_nan=False))
    assert evidence["rows"] == N
    assert [line["version"] for line in evidence["members"]] == ["a", "b"]
    assert evidence["members"][0]["trial"] == {"worse": 0, "is_off": False}


def test_the_threshold_is_chosen_by_what_scored_members_answer_with_their_new_maps() -> None:
    """One says four times the odds, which its map takes back; one has seen nearly all rows, and is sure of each of them."""
    random, n = np.random.default_rng(0), 2000
    logit = random.normal(-2.5, 1.5, n)
    y = np.where(random.random(n) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)

    def says(positive: np.ndarray) -> Prediction:
        return Prediction(y, np.column_stack([1 - positive, positive]), ("no", "yes"))

    loud, knows = says(1 / (1 + np.exp(-logit - np.log(4)))), says(np.where(y == "yes", 0.999, 0.001))
    members, labelled = [member("loud"), member("knows", through=n - 20)], LabelledRows(np.arange(n), y)

    result = reweigh(members, [loud, knows], labelled, deciding=Deciding(METRICS["f1"]), slot_us=N)
    again = reweigh(
        result.members, [loud, knows], labelled, deciding=Deciding(METRICS["f1"], result.choice and result.choice.threshold), slot_us=N
    )

    assert result.choice is not None
    assert 0.2 < (result.choice.threshold or 0) < 0.4
    assert result.evidence["threshold"]["after"] == result.choice.threshold
    assert (again.has_moved, again.choice and again.choice.threshold) == (False, result.choice.threshold)
    assert json.loads(json.dumps(result.evidence, allow_nan=False))["threshold"]["rows"] == n


def test_no_threshold_is_chosen_without_being_asked_for_or_by_labels_of_one_class() -> None:
    answers = Prediction(np.full(N, "no", object), np.tile([0.9, 0.1], (N, 1)), ("no", "yes"))
    two, one = (LabelledRows(np.arange(N), np.array(classes * (N // 2), object)) for classes in (["no", "yes"], ["no", "no"]))

    assert reweigh([member("only", weight=1.0)], [answers], two, slot_us=N).choice is None
    assert reweigh([member("only", weight=1.0)], [answers], one, deciding=Deciding(METRICS["f1"], 0.3), slot_us=N).choice is None


def test_the_map_of_a_member_without_weight_makes_no_version() -> None:
    labelled = rows()
    sibling = replace(member("sibling", weight=0.0), map=(2.0, -100.0))
    heir = replace(member("heir", through=N, weight=1.0), map=(1.0, 1.0))

    result = reweigh([sibling, heir], [answering(labelled, 5), answering(labelled, 5, seed=2)], labelled, slot_us=N)

    assert result.members[0].map != sibling.map
    assert [each.weight for each in result.members] == [0.0, 1.0]
    assert not result.has_moved
