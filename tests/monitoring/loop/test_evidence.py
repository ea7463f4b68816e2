"""What stands behind a verdict: how a reference is read."""

from __future__ import annotations

from monitoring.loop.evidence import find_faults
from tests.monitoring.world import DAY_US, MODEL_FILE, World
from training.model_file.model_spec import parse_spec


def test_what_a_reference_says_of_faults_is_learned_once_until_the_rules_or_the_reference_change(world: World) -> None:
    reference = world.stores.load("rain", world.champion).reference
    other = parse_spec(MODEL_FILE.replace("bucket: 1d}", "bucket: 1d, faults: {null_share: 0.1}}"))

    known = []
    for spec in (world.spec, world.spec, other, other):
        find_faults(world.stores, spec, reference, 70 * DAY_US)
        known.append(world.stores.known_faults["rain"][1])
    world.stores.loaded.clear()
    again = world.stores.load("rain", world.champion).reference
    find_faults(world.stores, other, again, 70 * DAY_US)

    assert known[0] is known[1]
    assert known[2] is known[3]
    assert (known[0].policy, known[2].policy) == (world.spec.watching.faults, other.watching.faults)
    assert world.stores.known_faults["rain"][0] is again
