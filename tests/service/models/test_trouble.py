"""Whatever one model raises is that model's refusal, with its reason; models before and after it are loaded and followed."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from service.models.deployments import Deployments
from service.models.following import RegistryFollower
from service.models.load_attempts import LoadAttempts
from service.models.loading import VersionLoader
from service.models.retrials import FIRST_WAIT_SECONDS
from service.models.watched_loads import Patience
from service.telemetry.metrics import ServiceMetrics
from tests.conftest import Once
from tests.patience import LONGER_SECONDS
from tests.service.conftest import NOW, Place, Trained
from tests.trouble import FOLDER, HANG, ROOT, Troubled, die_twice
from training.artifacts.artifact import Artifact
from training.artifacts.signing import load_or_make_key, sign
from training.model_file.model_spec import ModelSpec, parse_spec
from training.registry import tables
from training.registry.registry import Registry
from training.registry.tables import Cause
from training.run import wrap_imported
from training.settings import Home
from training.storage.database import open_database

SPEC = """
model: abacus
schema: {target: y, task: regression, features: {a: numeric, b: numeric}}
"""
CAUSE = Cause("test", "test")


@dataclass
class Changing:
    """A `Patience` that a test ends when all that is not to hang has been loaded."""

    waited_seconds: float
    longest_seconds: float = LONGER_SECONDS


@dataclass
class Followed:
    """A home whose models are abacus, bikes and fares, and one worker that follows them."""

    place: Place
    artifact: Artifact
    trouble: Path
    samples: CollectorRegistry
    metrics: ServiceMetrics
    deployments: Deployments
    follower: RegistryFollower

    def follow_with(self, patience: Patience | Changing, registry: Registry | None = None) -> RegistryFollower:
        """Return another follower of the same home, for the same deployments."""
        return follower_of(self.place, self.deployments, self.metrics, patience, registry)

    @property
    def folder(self) -> Path:
        """Where the artifact of abacus lies."""
        return self.place.home.artifacts / "abacus" / self.artifact.version

    def versions(self) -> dict[str, str]:
        """Return which versions answer, by model."""
        return {deployment.model: deployment.version for deployment in self.deployments.all()}

    def reason(self) -> str:
        """Return why the service is not ready."""
        return str(self.deployments.why_not_ready())


def make_abacus(folder: Path, key: Path) -> None:
    home = Home(folder / "home").ensure()
    shutil.copy(key, home.signing_key)
    spec = parse_spec(SPEC)
    table = pd.DataFrame({"a": range(120), "b": 1.0, "y": range(1, 121)})
    (folder / "made.pickle").write_bytes(pickle.dumps((wrap_imported(Troubled(), spec, table, home=home, now=NOW).artifact, spec)))


@pytest.fixture
def followed(place: Place, trained: Trained, once: Once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    made: tuple[Artifact, ModelSpec] = pickle.loads(
        (once("abacus", lambda folder: make_abacus(folder, trained.home.signing_key)) / "made.pickle").read_bytes()
    )
    artifact, spec = made
    shutil.copytree(artifact.path, place.home.artifacts / "abacus" / artifact.version)
    place.registry.put_model(spec, now=NOW)
    place.registry.register(artifact, cause=CAUSE, now=NOW)
    place.registry.promote("abacus", artifact.version, expected=None, cause=CAUSE, now=NOW)
    trouble = tmp_path / "trouble"
    trouble.mkdir()
    monkeypatch.setenv(FOLDER, str(trouble))
    monkeypatch.setenv("EVERGREEN_CODE", str(ROOT))
    samples, deployments = CollectorRegistry(), Deployments()
    metrics = ServiceMetrics(samples)
    yield Followed(place, artifact, trouble, samples, metrics, deployments, follower_of(place, deployments, metrics, Patience()))
    for path in trouble.iterdir():
        path.unlink()  # what hangs goes on


def follower_of(
    place: Place, deployments: Deployments, metrics: ServiceMetrics, patience: Patience | Changing, registry: Registry | None = None
) -> RegistryFollower:
    key, registry = load_or_make_key(place.home.signing_key), registry or place.registry
    loader = VersionLoader(registry=registry, home=place.home, signing_key=key, clock=lambda: NOW, patience=patience)  # type: ignore[arg-type]
    return RegistryFollower(
        registry=registry, loader=loader, deployments=deployments, champions_folder=place.home.champions, metrics=metrics
    )


RAISED = {
    "ValueError": "ValueError: so not",
    "a multi-line error": 'ValueError: line "one"\nline <two>\x00 xxx',
    "half a pair": "ValueError: \\ud800",
    "MemoryError": "MemoryError",
    "RecursionError": "RecursionError: maximum recursion depth exceeded",
    "StopIteration": "StopIteration: 1",
    "GeneratorExit": "GeneratorExit",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "SystemExit": "SystemExit: 3",
    "OwnError": "OwnError",
}


@pytest.mark.parametrize("moment", ["unpickle", "predict"])
@pytest.mark.parametrize(("kind", "reason"), RAISED.items(), ids=RAISED.keys())
def test_what_a_model_raises_is_its_refusal_and_the_others_are_followed(
    followed: Followed, caplog: pytest.LogCaptureFixture, kind: str, reason: str, moment: str
) -> None:
    (followed.trouble / moment).write_text(kind)

    followed.follower.refresh()
    followed.place.promote(1, 0)
    followed.follower.refresh()

    assert followed.versions() == {"bikes": followed.place.bikes[1].version, "fares": followed.place.fares.version}
    assert followed.reason().startswith(f"abacus: champion {followed.artifact.version} was refused: {reason}")
    assert len(followed.reason()) < 600
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    assert followed.samples.get_sample_value("evergreen_model_swaps_total", {"model": "abacus", "result": "refused"}) == 1


def missing(folder: Path, _key: bytes) -> None:
    shutil.rmtree(folder)


def empty(folder: Path, _key: bytes) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def a_file(folder: Path, _key: bytes) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def truncated(folder: Path, _key: bytes) -> None:
    (folder / "model.joblib").write_bytes((folder / "model.joblib").read_bytes()[:-7])


def wrongly_signed(folder: Path, _key: bytes) -> None:
    (folder / "signature").write_text("0" * 64)


def no_json(folder: Path, key: bytes) -> None:
    (folder / "manifest.json").write_bytes(b'{"model": "abacus", ')
    (folder / "signature").write_text(sign(key, b'{"model": "abacus", '))


def no_manifest(folder: Path, key: bytes) -> None:
    (folder / "manifest.json").write_bytes(b"[" * 100_000)
    (folder / "signature").write_text(sign(key, b"[" * 100_000))


DAMAGE = {
    missing: "it is not in this home",
    empty: "the artifact is not signed",
    a_file: "cannot be read: Not a directory",
    truncated: "model.joblib is truncated",
    wrongly_signed: "was signed with another key",
    no_json: "manifest.json is not a manifest",
    no_manifest: "manifest.json is not a manifest",
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.items(), ids=[damage.__name__ for damage in DAMAGE])
def test_what_is_wrong_with_an_artifact_is_its_refusal_and_the_others_are_followed(
    followed: Followed, damage: Callable[[Path, bytes], None], reason: str
) -> None:
    damage(followed.folder, load_or_make_key(followed.place.home.signing_key))

    followed.follower.refresh()
    followed.place.promote(1, 0)
    followed.follower.refresh()

    assert followed.versions() == {"bikes": followed.place.bikes[1].version, "fares": followed.place.fares.version}
    assert reason in followed.reason()


@pytest.mark.parametrize("name", ["", "../bikes", "Abacus", 'a "b"', "a\nb", "x" * 65, "ä", "/etc/passwd"])
def test_a_model_that_no_request_can_name_is_refused_and_the_others_are_followed(followed: Followed, name: str) -> None:
    database = open_database(followed.place.database_url)
    with database.write() as connection:
        connection.execute(tables.models.insert().values(model=name, spec_text="", contract_hash="", paused=False, created_us=0))
        connection.execute(tables.aliases.insert().values(model=name, alias="champion", version="v1", changed_us=0, move=0))
    database.close()

    followed.follower.refresh()

    assert list(followed.versions()) == ["abacus", "bikes", "fares"]
    assert followed.reason() == f"{name}: champion v1 was refused: no request can name this model: wanted letters a to z, digits, " + (
        "'.', '_' and '-', at most 64"
    )


def test_a_damaged_line_of_the_registry_is_the_trouble_of_its_model(followed: Followed) -> None:
    database = open_database(followed.place.database_url)
    with database.write() as connection:
        connection.execute(tables.versions.update().where(tables.versions.c.model == "abacus").values(manifest="{", path="\x00"))
    database.close()

    followed.follower.refresh()

    assert list(followed.versions()) == ["bikes", "fares"]
    assert "abacus: champion" in followed.reason()


def test_a_version_on_which_two_workers_died_is_refused_until_its_alias_moves(followed: Followed) -> None:
    attempts = LoadAttempts(followed.place.home.loading)
    die_twice(attempts, "abacus", followed.artifact.version, move=1)

    followed.follower.refresh()
    refused = followed.reason()
    database = open_database(followed.place.database_url)
    with database.write() as connection:
        connection.execute(tables.aliases.update().where(tables.aliases.c.model == "abacus").values(move=2))
    database.close()
    followed.follower.refresh()

    assert "2 workers died while they loaded it" in refused
    assert (followed.reason(), list(followed.versions())) == ("None", ["abacus", "bikes", "fares"])
    assert attempts.deaths("abacus", followed.artifact.version) == 0


@pytest.mark.parametrize(("trouble", "is_served"), [("", True), ("SIGSEGV", False)], ids=["killed from outside", "it kills"])
def test_a_version_on_which_workers_died_is_tried_in_a_process_of_its_own(followed: Followed, trouble: str, is_served: bool) -> None:
    version, loading = followed.artifact.version, followed.place.home.loading
    (followed.trouble / "predict").write_text(trouble)
    die_twice(LoadAttempts(loading), "abacus", version, move=1)
    followed.follower.refresh()
    refused = followed.reason()

    waited = json.loads((loading / "abacus.trials").read_text()) | {"at": time.monotonic() - FIRST_WAIT_SECONDS}
    (loading / "abacus.trials").write_text(json.dumps(waited))
    followed.follow_with(Patience()).refresh()

    died = "2 workers died while they loaded it or asked it for its golden rows"
    assert refused == f"abacus: champion {version} was refused: {died}; it is tried again in a process of its own, ever more rarely"
    assert ("abacus" in followed.versions()) == is_served
    assert followed.reason() == ("None" if is_served else f"{refused}; the last time: the process that loaded it died of SIGSEGV")
    assert LoadAttempts(loading).deaths("abacus", version) == (0 if is_served else 2)


def test_a_version_is_written_down_before_it_is_loaded_and_no_longer_than_that(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Troubled, "__setstate__", lambda self, state: seen.extend(sorted(map(str, followed.place.home.loading.iterdir()))))

    followed.follower.refresh()

    assert [Path(path).suffix for path in seen] == [".loading"]
    assert list(followed.place.home.loading.iterdir()) == []


@pytest.mark.parametrize("moment", ["unpickle", "predict"])
def test_a_model_that_hangs_is_refused_and_the_others_are_followed_meanwhile(
    followed: Followed, until: Callable[..., Any], moment: str
) -> None:
    (followed.trouble / moment).write_text(HANG)
    patience = Changing(waited_seconds=0.1)
    follower = followed.follow_with(patience)
    moved = {"bikes": followed.place.bikes[1].version, "fares": followed.place.fares.version}

    follower.refresh()
    waiting = followed.reason()
    followed.place.promote(1, 0)
    until(lambda: follower.refresh() or followed.versions() == moved)
    patience.longest_seconds = 0.1
    follower.refresh()

    assert f"abacus: champion {followed.artifact.version} is still being loaded" in waiting
    assert followed.reason() == f"abacus: champion {followed.artifact.version} was refused: it is not loaded after 0.1 s: it hangs"
    assert LoadAttempts(followed.place.home.loading).deaths("abacus", followed.artifact.version) == 1


def test_a_model_that_takes_long_is_taken_when_it_is_loaded_after_all(followed: Followed, until: Callable[..., Any]) -> None:
    (followed.trouble / "unpickle").write_text(HANG)
    follower = followed.follow_with(Patience(waited_seconds=0.1))

    follower.refresh()
    before = followed.versions()
    (followed.trouble / "unpickle").unlink()
    until(lambda: follower.refresh() or len(followed.versions()) == 3)

    assert "abacus" not in before
    assert followed.reason() == "None"
    assert list(followed.place.home.loading.iterdir()) == []
    assert followed.samples.get_sample_value("evergreen_model_swaps_total", {"model": "abacus", "result": "swapped"}) == 1


def test_a_version_that_hangs_is_left_when_its_alias_moves(followed: Followed, until: Callable[..., Any]) -> None:
    (followed.trouble / "unpickle").write_text(HANG)
    patience = Changing(waited_seconds=0.1, longest_seconds=0.1)
    follower = followed.follow_with(patience)
    until(lambda: follower.refresh() or "it hangs" in followed.reason())

    patience.longest_seconds = LONGER_SECONDS
    (followed.trouble / "unpickle").write_text("")
    database = open_database(followed.place.database_url)
    with database.write() as connection:
        connection.execute(tables.aliases.update().where(tables.aliases.c.model == "abacus").values(move=2))
    database.close()
    until(lambda: follower.refresh() or "abacus" in followed.versions())

    assert LoadAttempts(followed.place.home.loading).deaths("abacus", followed.artifact.version) == 0


def test_a_noted_champion_that_hangs_holds_up_no_other(followed: Followed, until: Callable[..., Any], tmp_path: Path) -> None:
    followed.follower.refresh()
    followed.deployments = Deployments()
    (followed.trouble / "unpickle").write_text(HANG)
    away = Registry(open_database(f"sqlite:///{tmp_path}/gone/evergreen.db", create=False))
    follower = followed.follow_with(Patience(waited_seconds=0.1), away)

    until(lambda: follower.refresh() or list(followed.versions()) == ["bikes", "fares"])
    waiting = followed.reason()
    (followed.trouble / "unpickle").unlink()
    until(lambda: follower.refresh() or list(followed.versions()) == ["abacus", "bikes", "fares"])

    assert waiting == f"abacus: the noted champion {followed.artifact.version} is still being loaded"


def test_a_start_goes_on_without_a_model_that_hangs(followed: Followed, until: Callable[..., Any]) -> None:
    (followed.trouble / "unpickle").write_text(HANG)
    follower = followed.follow_with(Patience(waited_seconds=0.1))

    follower.start(0.1)
    until(lambda: list(followed.versions()) == ["bikes", "fares"])
    follower.stop()

    assert followed.reason() == f"abacus: champion {followed.artifact.version} is still being loaded"
    assert list(followed.place.home.loading.iterdir()) == []
