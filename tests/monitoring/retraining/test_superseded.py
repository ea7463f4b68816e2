"""A training child that was superseded writes nothing, whenever that happened; the attempt that took its place does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from monitoring.__main__ import main
from monitoring.errors import LeaseLostError, MonitoringError, RunEndedError
from monitoring.journal.leases import MONITOR
from monitoring.journal.tables import RETRAIN, Run
from monitoring.journal.tables import leases as lease_table
from monitoring.loop.tick import Watch, tick
from monitoring.retraining.training_process import carry_out
from tests.monitoring.world import HANGS, ON_LABELS, World, weather
from training.artifacts.artifact import Artifact
from training.registry.registry import Registry
from training.registry.tables import Cause, Guard, VersionRecord


class Interrupted(Registry):
    """A registry beside which something happens at one moment of a child: before it saves, before it registers, or after."""

    moment, happens = "", staticmethod(lambda: None)

    def check(self, guard: Guard) -> None:
        self._at("before it saves")
        super().check(guard)
        self._at("before it registers")

    def register(self, artifact: Artifact, *, cause: Cause, guard: Guard | None = None, **more: object) -> VersionRecord:
        record = super().register(artifact, cause=cause, guard=guard, **more)  # type: ignore[arg-type]
        self._at("before it ends")
        return record

    def _at(self, moment: str) -> None:
        if moment == self.moment:
            self.happens()


@dataclass
class Retraining:
    """A world in which a monitor has begun a retraining whose child the test itself carries out."""

    world: World
    monitor: Watch
    run: Run

    def carry_out(self, moment: str = "", happens: Callable[[], object] = lambda: None) -> str:
        registry = Interrupted(self.world.stores.database)
        registry.moment, registry.happens = moment, happens  # type: ignore[assignment]
        return carry_out(replace(self.world.stores, registry=registry), self.run.as_attempted, clock=lambda: self.world.machine_now)

    def take_over(self) -> Watch:
        """Let the lease end and another monitor take it; it abandons the run."""
        self._end_lease()
        heir = self.world.monitor("heir")
        assert heir.leadership.lead(self.world.machine_now) is not None
        return heir

    def take_lease(self) -> None:
        """Let another monitor get the lease and nothing more: it has abandoned no run yet."""
        self._end_lease()
        assert self.world.stores.journal.acquire(MONITOR, "heir", timedelta(hours=1), self.world.machine_now) is not None

    def begin_again(self) -> None:
        """Let the same monitor give the run up and begin it again."""
        turn = self.monitor.leadership.lead(self.world.machine_now)
        assert turn is not None
        self.world.stores.journal.fail_run(turn, self.run.run_id, "it took too long")
        assert self.world.stores.journal.begin_run(turn, "rain", RETRAIN, self.run.slot_us, again=True) is not None

    def versions(self) -> list[str]:
        return [record.version for record in self.world.stores.registry.versions("rain")]

    def registered(self) -> list[object]:
        """Return which attempts at runs have registered a version."""
        lines = self.world.stores.registry.ledger("rain", None)
        return [line.evidence["fencing"] for line in lines if line.action == "register" and "fencing" in line.evidence]

    def _end_lease(self) -> None:
        with self.world.stores.database.write() as connection:
            connection.execute(lease_table.update().values(expires_us=0))


@pytest.fixture
def retraining(make: Callable[..., World], database_url: str) -> Retraining:
    world = make(model_file=ON_LABELS, database_url=database_url)
    monitor = world.monitor("first", command=HANGS)
    world.answer(weather(1, 60, 18))
    while not world.stores.journal.runs("rain", RETRAIN):
        tick(monitor, world.machine_now)
    world.machine_now += timedelta(seconds=1)  # versions are named by it
    return Retraining(world, monitor, world.stores.journal.runs("rain", RETRAIN)[0])


def test_a_child_that_is_not_disturbed_registers_and_ends_its_run(retraining: Retraining) -> None:
    version = retraining.carry_out()

    assert retraining.versions()[-1] == version
    assert retraining.registered() == [{"attempt": 1, "token": retraining.run.token}]
    assert retraining.world.stores.journal.run(retraining.run.run_id).state == "done"


@pytest.mark.parametrize("database_url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize("moment", ["before it saves", "before it registers"])
@pytest.mark.parametrize(
    ("happens", "error"),
    [(Retraining.take_over, LeaseLostError), (Retraining.take_lease, LeaseLostError), (Retraining.begin_again, RunEndedError)],
    ids=["another monitor", "the lease alone", "begun again"],
)
def test_a_child_that_was_superseded_registers_nothing(
    retraining: Retraining, moment: str, happens: Callable[[Retraining], object], error: type[MonitoringError]
) -> None:
    before, at_that_moment = retraining.versions(), []

    def supersede() -> None:
        happens(retraining)
        at_that_moment.append(retraining.world.stores.journal.run(retraining.run.run_id))

    with pytest.raises(error):
        retraining.carry_out(moment, supersede)

    assert (retraining.versions(), retraining.registered()) == (before, [])
    assert [retraining.world.stores.journal.run(retraining.run.run_id)] == at_that_moment


def test_a_child_that_was_superseded_saves_nothing(retraining: Retraining) -> None:
    folder = retraining.world.stores.home.artifacts / "rain"
    before = sorted(folder.iterdir())

    with pytest.raises(LeaseLostError):
        retraining.carry_out("before it saves", retraining.take_lease)

    assert sorted(folder.iterdir()) == before


def test_a_child_that_was_superseded_after_it_registered_does_not_end_the_run(retraining: Retraining) -> None:
    with pytest.raises(LeaseLostError):
        retraining.carry_out("before it ends", retraining.take_over)

    assert retraining.world.stores.journal.run(retraining.run.run_id).state == "abandoned"


def test_the_attempt_that_took_its_place_registers(retraining: Retraining) -> None:
    heirs: list[Watch] = []
    with pytest.raises(LeaseLostError):
        retraining.carry_out("before it registers", lambda: heirs.append(retraining.take_over()))

    retraining.world.settle(heirs[0])

    run = retraining.world.stores.journal.run(retraining.run.run_id)
    assert (run.state, run.attempt) == ("done", 2)
    assert retraining.registered() == [{"attempt": 2, "token": retraining.run.token + 1}]
    assert retraining.versions()[-1] == run.result["version"]
    assert retraining.world.actions() == ["promote", "refuse"]


def test_a_child_that_starts_late_does_not_take_the_place_of_a_newer_attempt(retraining: Retraining) -> None:
    retraining.begin_again()

    with pytest.raises(RunEndedError, match="is running in attempt 2"):
        retraining.carry_out()

    assert retraining.world.stores.journal.run(retraining.run.run_id).state == "running"


@pytest.mark.parametrize("wrong", [["rain.retrain.0"], ["rain.retrain.0", "1"], ["rain.retrain.0", "one", "1"]], ids=len)
def test_a_child_must_be_told_its_attempt_and_token(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["retrain-run", *wrong])

    assert (code, capsys.readouterr().err) == (2, "usage: python -m monitoring [retrain-run RUN_ID ATTEMPT TOKEN]\n")
