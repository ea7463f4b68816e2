"""After a promotion: the champion before comes back, or the new one stays."""

from tests.monitoring.world import World, weather
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
    assert world.champion == good
    assert world.probations() == [("rolled_back", 0)]
    [message] = [one for one, _ in world.stores.journal.outbox.last("rain", 9) if one.type == "model.rolled_back"]
    assert (message.content["version"], message.content["champion"]) == (good, bad)
    assert message.content["evidence"][0].startswith("probation: ")


def test_a_good_promotion_passes_its_probation(world: World) -> None:
    watch = world.monitor()
    first = world.champion
    world.answer(weather(1, 60, 9))
    world.settle(watch)
    other = world.train(weather(4, 0, 61))
    world.stores.registry.promote("rain", other, expected=first, cause=Cause("person", "newer"), now=world.machine_now)

    world.answer(weather(1, 69, 20))
    world.settle(watch)

    assert world.champion == other
    assert world.probations() == [("passed", 2)]
    assert world.verdicts() == ["keep"] * 4
