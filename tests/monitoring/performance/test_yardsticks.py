"""What a constant guess, and the challenger that was refused last, would score on the rows that a champion is judged by."""

from collections.abc import Callable

from tests.monitoring.world import DAY_US, MODEL_FILE, World, weather
from training.registry.tables import Cause

NOTIFIES = MODEL_FILE.replace("act: auto", "act: notify")


def known(world: World) -> dict[int, list[dict[str, object]]]:
    verdicts = world.stores.journal.verdicts("rain", limit=None)
    return {one.slot_us // DAY_US: list(one.evidence.get("yardsticks", ())) for one in verdicts}


def reasons(world: World) -> dict[int, str]:
    return {one.slot_us // DAY_US: "; ".join(one.reasons) for one in world.stores.journal.verdicts("rain", limit=None)}


def refuse(world: World, version: str) -> None:
    """Write down what the gate would."""
    cause = Cause("monitor", "worse")
    world.stores.registry.record("rain", "refuse", version=version, previous=world.champion, cause=cause, now=world.machine_now)


def test_a_champion_that_is_worse_than_a_constant_guess_is_said_to_be(make: Callable[..., World]) -> None:
    world = make(model_file=NOTIFIES)
    world.answer(weather(1, 60, 40, flipped_from=77))

    world.settle(world.monitor())

    gains = {day: [one["gain"] for one in some if one["name"] == "a constant guess"] for day, some in known(world).items()}
    assert gains[77][0] < 0 < gains[91][0]
    assert "a constant guess does better than the champion on 280 rows: gain in log_loss" in reasons(world)[91]
    assert "constant guess" not in reasons(world)[77]


def test_a_challenger_that_was_refused_and_would_do_better_now_is_named(make: Callable[..., World]) -> None:
    world = make(model_file=NOTIFIES)
    watch = world.monitor()
    world.answer(weather(1, 60, 12))
    world.settle(watch)
    early = world.train(weather(7, 0, 60, flipped_from=0))
    world.stores.registry.record(
        "rain", "refuse", version=early, previous=world.champion, cause=Cause("monitor", "worse"), now=world.machine_now
    )
    world.answer(weather(1, 72, 20, flipped_from=77))
    world.settle(watch)

    assert [one["name"] for one in known(world)[70]] == ["a constant guess"]
    assert [str(one["name"]).split(",")[0] for one in known(world)[91]] == ["a constant guess", early]
    assert f"{early}, which the gate refused on" in reasons(world)[91]
    assert early not in reasons(world)[77]


def test_what_the_gate_refused_before_the_last_promotion_is_not_asked(make: Callable[..., World]) -> None:
    world = make(model_file=NOTIFIES)
    bad = world.train(weather(7, 0, 60, flipped_from=0))
    world.stores.registry.record(
        "rain", "refuse", version=bad, previous=world.champion, cause=Cause("monitor", "worse"), now=world.machine_now
    )
    better = world.train(weather(8, 0, 60))
    world.stores.registry.promote("rain", better, expected=world.champion, cause=Cause("ann", "newer"), now=world.machine_now)
    world.answer(weather(1, 60, 12))

    world.settle(world.monitor())

    assert [one["name"] for one in known(world)[70]] == ["a constant guess"]


def test_one_that_cannot_be_loaded_any_more_fails_no_slot(make: Callable[..., World]) -> None:
    world = make(model_file=NOTIFIES)
    gone = world.train(weather(7, 0, 60, flipped_from=0))
    world.stores.registry.record(
        "rain", "refuse", version=gone, previous=world.champion, cause=Cause("monitor", "worse"), now=world.machine_now
    )
    path = world.stores.home.artifacts / world.stores.registry.version("rain", gone).path
    path.rename(path.with_name("hidden"))
    world.stores.loaded.clear()
    world.answer(weather(1, 60, 12))

    world.settle(world.monitor())

    assert [one["name"] for one in known(world)[70]] == ["a constant guess"]
