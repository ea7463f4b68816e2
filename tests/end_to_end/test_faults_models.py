"""One service of several models, some of which take their workers along; workers that cannot start; keys and disks that go away."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tests.end_to_end.arena import NOW, PREDICT, Arena, fare_table
from tests.end_to_end.fault_report import Probes, note
from tests.end_to_end.wire import request
from tests.patience import PATIENCE_SECONDS
from tests.trouble import HANG, TROUBLES, Troubled
from training.model_file.model_spec import parse_spec
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.run import wrap_imported
from training.storage.database import open_database

pytestmark = pytest.mark.slow

KEY = "eg_" + "k" * 40
FARE = {"distance": 3.0, "hour": 8.0}
KEYED = (f"X-API-Key: {KEY}",)


class Home:
    """An arena whose home has the model abacus too, before `fares` by name, and a folder that says what trouble it makes."""

    def __init__(self, arena: Arena, folder: Path) -> None:
        self.arena = arena
        self.trouble = folder / "trouble"
        self.trouble.mkdir()
        self._database = open_database(f"sqlite:///{arena.home.database}")
        self._registry = Registry(self._database)
        spec = parse_spec("model: abacus\nschema: {target: y, task: regression, features: {a: numeric}}\n")
        self._registry.put_model(spec, now=NOW)
        table = pd.DataFrame({"a": range(120), "y": range(120)})
        self.versions = [
            wrap_imported(Troubled(name), spec, table, home=arena.home, registry=self._registry, now=NOW + timedelta(hours=place)).version
            for place, name in enumerate(("", "", "last"))
        ]
        self._database.close()
        self.promote(0)

    def promote(self, place: int) -> None:
        """Make a version of abacus the champion."""
        database = open_database(f"sqlite:///{self.arena.home.database}")
        registry = Registry(database)
        before = registry.alias("abacus", "champion")
        expected = None if before is None else before.version
        registry.promote("abacus", self.versions[place], expected=expected, cause=Cause("test", "test"), now=NOW)
        database.close()

    def ask(self, path: str, content: Any = None, *headers: str) -> tuple[int, Any]:
        """Send a request over a connection of its own; 0 where nobody answers."""
        try:
            with self.arena.wire() as wire:
                reply = wire.ask(request(path, content, *headers))
            return reply.status, json.loads(reply.body)
        except (OSError, EOFError):
            return 0, None

    def fares(self, *headers: str) -> int:
        """Return the status of a prediction of fares."""
        return self.ask("/models/fares/predict", {"rows": [FARE]}, *headers)[0]

    def abacus(self) -> Any:
        """Return the version that answers for abacus; None where none does."""
        status, content = self.ask("/models/abacus/predict", {"rows": [{"a": 2.0}]})
        return content["version"] if status == 200 else None

    def why(self, *headers: str) -> str:
        """Return the reason that the service gives for not being ready, or for being degraded."""
        return str((self.ask("/readyz", None, *headers)[1] or {}).get("reason"))

    def up(self) -> set[int]:
        """Return the workers that live and have loaded fares."""
        loaded = {line["pid"] for line in self.logged() if line.get("model") == "fares" and "answers now" in line["msg"]}
        return loaded & self.arena.workers()

    def loading(self) -> set[int]:
        """Return the workers that live and are loading a version."""
        return {int(path.name.partition("-")[0]) for path in self.arena.home.loading.glob("*.loading")} & self.arena.children()

    def failures(self) -> int:
        """Return how often a worker could not start."""
        return sum("another tries in" in line.get("msg", "") for line in self.logged())

    def kill_one(self) -> int:
        """Kill a worker that serves; return which one."""
        pid = min(self.up())
        os.kill(pid, signal.SIGKILL)
        return pid

    def replace_one(self) -> None:
        """Kill a worker that serves, and wait until two serve again."""
        killed = self.kill_one()
        self.arena.until(lambda: killed not in self.up() and len(self.up()) == 2)

    def logged(self) -> list[dict[str, Any]]:
        """Return the log lines."""
        return [json.loads(line) for line in self.arena.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture
def home(arena: Callable[..., Arena], tmp_path: Path) -> Home:
    """Return a home with abacus and fares; its service is not started."""
    table = fare_table()
    made = arena(LinearRegression().fit(table[["distance", "hour"]], table["fare"]))
    return Home(made, tmp_path)


@pytest.mark.parametrize("moment", ["unpickle", "predict"])
@pytest.mark.parametrize("kind", [kind for kind in TROUBLES if kind.startswith(("os.", "SIG")) or kind == "SystemExit"])
def test_a_model_that_takes_its_workers_along_is_refused_after_two_and_the_other_is_served(home: Home, kind: str, moment: str) -> None:
    (home.trouble / moment).write_text(kind)

    home.arena.launch(TROUBLE_FOLDER=str(home.trouble))
    home.arena.until(lambda: home.fares() == 200 and "was refused" in home.why())
    with Probes(home.arena.port) as probes:
        status, content = home.ask("/readyz")
        (home.trouble / moment).unlink()
        home.promote(1)
        home.arena.until(lambda: home.abacus() == home.versions[1] and home.ask("/readyz")[0] == 200)
    home.arena.stop()
    note("13", probes.ids, home.arena.logged_ids(), probes.longest_silence())

    died = kind != "SystemExit"
    assert set(probes.ids) <= home.arena.logged_ids()
    assert (status, list(content["models"])) == (503, ["fares"])
    assert f"abacus: champion {home.versions[0]} was refused: " in content["reason"]
    assert ("2 workers died while they loaded it" in content["reason"]) == died


def test_a_champion_that_kills_leaves_the_one_before_it_answering_and_the_same_master(home: Home) -> None:
    home.arena.start(TROUBLE_FOLDER=str(home.trouble))
    (home.trouble / "last.predict").write_text("SIGSEGV")
    master = home.arena.process.pid

    with Probes(home.arena.port) as probes:
        home.promote(2)
        home.arena.until(lambda: "2 workers died" in home.why() and len(home.up()) == 2)
        answering = home.arena.until(home.abacus)

    assert (answering, home.fares(), home.arena.process.pid, home.arena.process.poll()) == (home.versions[0], 200, master, None)
    home.arena.stop()
    note("13a", probes.ids, home.arena.logged_ids(), probes.longest_silence())
    assert set(probes.ids) <= home.arena.logged_ids()


def test_a_model_that_hangs_while_it_is_loaded_holds_up_no_other(home: Home) -> None:
    home.arena.start(TROUBLE_FOLDER=str(home.trouble))
    (home.trouble / "last.unpickle").write_text(HANG)
    home.promote(2)
    home.arena.until(lambda: len(home.loading()) == 2)

    # it hangs in both workers, which go on to answer for all models; then in a new one, which comes up without it
    with Probes(home.arena.port) as probes:
        before = home.abacus()
        home.replace_one()
        home.arena.until(lambda: len(home.loading()) == 2)
        statuses = {home.fares() for _ in range(20)}
        (home.trouble / "last.unpickle").unlink()
        home.arena.until(lambda: home.abacus() == home.versions[2] and home.ask("/readyz")[0] == 200)
    home.arena.stop()
    note("13d", probes.ids, home.arena.logged_ids(), probes.longest_silence())

    assert (before, statuses) == (home.versions[0], {200})
    assert set(probes.ids) <= home.arena.logged_ids()


def test_a_model_whose_workers_were_killed_from_outside_is_served_after_a_process_of_its_own_has_loaded_it(home: Home) -> None:
    (home.trouble / "unpickle").write_text(HANG)
    home.arena.launch(TROUBLE_FOLDER=str(home.trouble))
    for killed in range(2):
        pid = home.arena.until(lambda: next(iter(home.loading()), None))
        os.kill(pid, signal.SIGKILL)
        home.arena.until(lambda wanted=killed + 1: len(list(home.arena.home.loading.glob("*.died"))) == wanted)

    with Probes(home.arena.port) as probes:
        home.arena.until(lambda: home.fares() == 200 and "2 workers died" in home.why())
        refused = home.abacus()
        (home.trouble / "unpickle").unlink()
        home.arena.until(lambda: home.abacus() == home.versions[0] and home.ask("/readyz")[0] == 200)
    home.arena.stop()
    note("13e", probes.ids, home.arena.logged_ids(), probes.longest_silence())

    assert refused is None
    assert any("was loaded well by a process of its own" in line.get("msg", "") for line in home.logged())
    assert set(probes.ids) <= home.arena.logged_ids()


def test_a_worker_that_cannot_start_is_tried_again_while_the_others_serve(home: Home, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    entry = {"id": "all", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "scopes": ["predict", "read"]}
    whole = json.dumps({"keys": [entry]})
    keys.write_text(whole)
    arena = home.arena
    arena.launch(KEYS_FILE=str(keys), TROUBLE_FOLDER=str(home.trouble))
    arena.until(lambda: home.fares(*KEYED) == 200 and len(home.up()) == 2)
    master = arena.process.pid

    with Probes(arena.port, request(PREDICT, {"rows": [FARE]}, *KEYED)) as probes:
        # the key file is half-written: whoever starts has the keys that were good last
        keys.write_text(whole[:40])
        for _ in range(2):
            home.replace_one()
        statuses = {(home.fares(*KEYED), home.fares(), home.fares("X-API-Key: other")) for _ in range(10)}
        keys.unlink()
        home.replace_one()
        statuses |= {(home.fares(*KEYED), home.fares(), home.fares("X-API-Key: other")) for _ in range(10)}
        keys.write_text(whole)

        # the signing key can be read by others: nobody starts, who is there goes on
        arena.home.signing_key.chmod(0o644)
        home.kill_one()
        arena.until(lambda: home.failures() > 0)
        alone = {home.fares(*KEYED) for _ in range(10)}
        arena.home.signing_key.chmod(0o600)
        arena.until(lambda: len(home.up()) == 2)

    # the home is not there: nobody starts and nobody makes another one
    failures = home.failures()
    away = arena.home.path.rename(tmp_path / "away")
    arena.home.path.mkdir()
    home.kill_one()
    arena.until(lambda: home.failures() > failures)
    made = list(arena.home.path.iterdir())
    arena.home.path.rmdir()
    away.rename(arena.home.path)
    arena.until(lambda: len(home.up()) == 2 and home.fares(*KEYED) == 200)

    assert statuses == {(200, 401, 401)}
    assert (alone, made) == ({200}, [])
    assert (arena.process.pid, arena.process.poll()) == (master, None)
    arena.stop()
    note("M3", probes.ids, arena.logged_ids(), probes.longest_silence())
    assert set(probes.ids) <= arena.logged_ids()


def test_a_master_whose_workers_never_start_ends_and_says_why(home: Home) -> None:
    home.arena.home.signing_key.chmod(0o644)

    process = home.arena.launch()

    assert process.wait(PATIENCE_SECONDS) == 3
    assert any("others may use it, wanted 0600" in line.get("msg", "") for line in home.logged())
