"""After a promotion: the champion before comes back, or the new one stays."""

from collections.abc import Callable

from tests.monitoring.world import MODEL_FILE, World, weather
from training.artifacts.manifest import generation_of
from training.registry.tables import Cause


def test_a_bad_promotion_by_force_is_rolled_back(world: World) -> None:
    watch = world.monitor()
    good = world.champion
    world.answer(weather(1, 60, 9))
    world.settle(watch)
    bad = world.train(weather(3, 0, 60, flipped_from=0))
    world.stores.registry.promote("rain", bad, expected=good, cause=Cause("person", "I know better"), force=True, now=world.machine_now)

    world.answer(weather(1, 69, 20))
    world.settle(watch)

    assert world.verdicts() == ["keep", "keep", "roll_back", "keep"]
    assert world.actions() == ["promote", "promote", "rollback"]
    assert world.generation == good
    assert world.probations() == [("rolled_back", 0)]
    [message] = [one for one, _ in world.stores.journal.outbox.last("rain", 9) if one.type == "model.rolled_back"]
    assert (message.content["version"], generation_of(message.content["champion"])) == (good, bad)
    assert message.content["evidence"][0].startswith("probation: ")


def test_what_beats_a_bad_promotion_does_not_keep_the_version_before_it_from_coming_back(make: Callable[..., World]) -> None:
    weekly = MODEL_FILE.replace("cool_down: 14d", "cool_down: 7d\n  schedule: 7d").replace("rows: 150", "rows: 350")
    world = make(model_file=weekly.replace("delay: 1d", "delay: 1d, coverage: 0.7"))  # the last day of each answer has no labels
    watch, good = world.monitor(), world.champion
    world.answer(weather(1, 60, 4))
    world.settle(watch)
    bad = world.train(weather(3, 0, 60, flipped_from=0))
    world.stores.registry.promote("rain", bad, expected=good, cause=Cause("person", "I know better"), force=True, now=world.machine_now)

    for start, days in ((64, 6), (70, 7), (77, 8)):
        world.answer(weather(1, start, days))
        world.settle(watch)

    assert world.actions()[:4] == ["promote", "promote", "refuse", "rollback"]
    assert world.generation == good
    *_, refusal = (line for line in world.stores.registry.ledger("rain", 9) if line.action == "refuse")  # the oldest
    assert refusal.evidence["before"]["version"] == good
    assert refusal.evidence["gain_low"] > 0
    assert refusal.why.startswith(f"{good}, which may still come back, is not beaten: ")


def test_a_good_promotion_passes_its_probation(world: World) -> None:
    watch = world.monitor()
    first = world.champion
    world.answer(weather(1, 60, 9))
    world.settle(watch)
    other = world.train(weather(4, 0, 61))
    world.stores.registry.promote("rain", other, expected=first, cause=Cause("person", "newer"), now=world.machine_now)

    world.answer(weather(1, 69, 20))
    world.settle(watch)

    assert world.generation == other
    assert world.probations() == [("passed", 2)]
    assert world.verdicts() == ["keep"] * 4
