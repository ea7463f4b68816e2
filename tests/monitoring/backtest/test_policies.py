"""The policies: variants of the model file, and blocks to paste that make it one of them."""

from __future__ import annotations

import pytest
import yaml

from monitoring.backtest.policies import NEVER, YOURS, Policy, chosen, merged, other_file, policies_of
from monitoring.errors import InputError
from tests.monitoring.world import DAY_US, MODEL_FILE
from training.clock import duration_us
from training.errors import SpecError
from training.model_file.model_spec import parse_spec

SPEC = parse_spec(MODEL_FILE)
KNOWN = policies_of(SPEC, 400 * DAY_US, 30)
NAMES = [
    *("yours", "never", "maps", "every3-all", "every3-recent", "every9-all", "every9-recent", "every27-all", "every27-recent"),
    *("alarm", "keeper", "hindsight"),
]


def test_the_periodic_policies_are_three_cadences_and_two_windows() -> None:
    assert [one.name for one in KNOWN] == NAMES
    assert [duration_us(one.variant(SPEC).retraining.schedule) // DAY_US for one in KNOWN[3:9]] == [21, 21, 63, 63, 189, 189]  # type: ignore[arg-type]
    assert {one.variant(SPEC).training.window for one in KNOWN[3:9:2]} == {None}
    assert {duration_us(one.variant(SPEC).training.window) // DAY_US for one in KNOWN[4:9:2]} == {64}  # type: ignore[arg-type]


def test_a_cadence_that_is_no_shorter_than_the_table_is_left_out() -> None:
    known = [one.name for one in policies_of(SPEC, 60 * DAY_US, 8)]

    assert known == ["yours", "never", "maps", "every3-all", "every3-recent", "alarm", "keeper", "hindsight"]


def test_the_recent_window_is_the_model_files_own_where_it_has_one() -> None:
    spec = parse_spec(MODEL_FILE.replace("budget: 2 fits", "budget: 2 fits, window: 45d"))

    recent = next(one for one in policies_of(spec, 400 * DAY_US, 30) if one.name == "every3-recent")

    assert recent.variant(spec).training.window == spec.training.window


@pytest.mark.parametrize("policy", [one for one in KNOWN if one.changes], ids=lambda one: one.name)
def test_what_is_to_be_pasted_makes_the_model_file_the_variant(policy: Policy) -> None:
    file = yaml.safe_load(MODEL_FILE.replace("act: auto", "act: auto\n  min_new_labels: 250\n  schedule: 7d"))
    gone = {line.removeprefix("# ").split(":")[0] for line in policy.block.splitlines() if line.startswith("#")}

    pasted = merged(file, yaml.safe_load(policy.block))
    for key in gone:
        outer, _, inner = key.partition(".")
        pasted.get(outer, {}).pop(inner, None)

    assert pasted == merged(file, policy.changes)


def test_the_contract_of_every_variant_is_that_of_the_model() -> None:
    assert {one.variant(SPEC).schema.contract_hash for one in KNOWN} == {SPEC.schema.contract_hash}


def test_the_users_own_is_always_among_those_that_are_chosen() -> None:
    assert [one.name for one in chosen(KNOWN, [NEVER])] == [YOURS, NEVER]
    assert [one.name for one in chosen(KNOWN, ["periodic"])] == ["yours", *NAMES[3:9]]
    assert chosen(KNOWN, []) == KNOWN


def test_a_policy_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match="no policy 'sometimes' for this table; there are yours, never, maps, every3-all"):
        chosen(KNOWN, ["sometimes"])


def test_another_model_file_is_a_policy() -> None:
    policy = other_file("other.yaml", MODEL_FILE.replace("cool_down: 14d", "cool_down: 21d"), SPEC)

    assert policy.variant(SPEC).retraining.cool_down.days == 21
    assert policy.block == ""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("wind: numeric", "wind: {kind: numeric, nullable: true}", "answers other requests"),
        ("model: rain", "model: snow", "of another model"),
        ("every: 7d", "every: 14d", "says watching.every: 14d, the model file 7d"),
    ],
)
def test_a_model_file_that_is_not_comparable_is_refused(before: str, after: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        other_file("other.yaml", MODEL_FILE.replace(before, after), SPEC)


def test_what_is_no_model_file_is_refused_by_line() -> None:
    with pytest.raises(SpecError, match="line 1"):
        other_file("other.yaml", "model: 3", SPEC)
