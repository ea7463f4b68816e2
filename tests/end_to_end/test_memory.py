"""What a worker keeps in memory: one mapped copy of a forest for all processes, and nothing of what it served before."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil
import pytest
from prometheus_client import CollectorRegistry
from sklearn.ensemble import RandomForestRegressor

from service.models.deployments import Deployments
from service.models.following import RegistryFollower
from service.models.loading import VersionLoader
from service.models.served_model import Deployment
from service.telemetry.metrics import ServiceMetrics
from tests.end_to_end.arena import Arena
from tests.end_to_end.puppet import HOLD, entries
from tests.patience import PATIENCE_SECONDS
from tests.ports import free_port
from training.artifacts.signing import load_or_make_key
from training.fitting.preprocessing import build_pipeline
from training.model_file.model_spec import parse_spec
from training.registry.registry import Registry
from training.schema.rows import Columns
from training.schema.schema import frame
from training.storage.database import open_database

pytestmark = [pytest.mark.xdist_group("memory"), pytest.mark.slow]

SWAPS = 200
NAMES = [f"f{place}" for place in range(8)]
FOREST = f"""
model: forest
schema: {{target: y, task: regression, features: {{{", ".join(f"{name}: numeric" for name in NAMES)}}}}}
training: {{candidates: [forest]}}
watching: {{every: 1d, window: 1d, bucket: 1h}}
"""


class Served(NamedTuple):
    """What answers, and what keeps it at the champions."""

    deployments: Deployments
    follower: RegistryFollower

    def current(self, model: str) -> Deployment:
        """Return what answers for a model."""
        return self.deployments.current(model)


Follow = Callable[[Arena], Served]


def table(n_rows: int) -> pd.DataFrame:
    """Return noise with a little sense in it, which trees follow to the last row."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=n_rows) for name in NAMES}
    return pd.DataFrame({**columns, "y": columns["f0"] * columns["f1"] + rng.normal(size=n_rows)})


@pytest.fixture(scope="module")
def forests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A home with two forests of full depth, 3 MB each."""
    schema, rows = parse_spec(FOREST).schema, table(3000)
    features = frame({name: rows[name].to_numpy() for name in NAMES}, schema)
    pipelines = [
        build_pipeline(schema, RandomForestRegressor(30, random_state=seed), scale=False, encode="ordinal").fit(features, rows["y"])
        for seed in range(2)
    ]
    with Arena(tmp_path_factory.mktemp("forests"), free_port(), pipelines, FOREST, rows) as arena:
        yield arena


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Follow the champions of a home, as each worker does."""
    databases = []

    def served(arena: Arena) -> Served:
        databases.append(open_database(f"sqlite:///{arena.home.database}"))
        registry, deployments = Registry(databases[-1]), Deployments()
        loader = VersionLoader(
            registry=registry,
            home=arena.home,
            signing_key=load_or_make_key(arena.home.signing_key),
            clock=lambda: datetime(2026, 3, 1, tzinfo=UTC),
        )
        follower = RegistryFollower(
            registry=registry,
            loader=loader,
            deployments=deployments,
            champions_folder=arena.home.champions,
            metrics=ServiceMetrics(CollectorRegistry()),
        )
        follower.refresh()
        return Served(deployments, follower)

    yield served
    for database in databases:
        database.close()


@pytest.fixture
def columns() -> Columns:
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=500) for name in NAMES}


def swap(arena: Arena, served: Served, times: int, columns: Columns) -> None:
    """Promote back and forth, each time answering with the one that was promoted."""
    for _ in range(times):
        before = arena.versions.index(served.current(arena.model).version)
        promoted = arena.promote(1 - before)
        served.follower.refresh()
        deployment = served.current(arena.model)
        assert deployment.version == promoted
        deployment.predict(columns)


def mapped(name: str) -> list[Any]:
    """Return the mappings of a file in this process, with the bytes it holds of each."""
    return [each for each in psutil.Process().memory_maps(grouped=False) if each.path.endswith(name)]


def anonymous_bytes() -> int:
    """Return what this process holds for itself alone and could not read again from a file."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024


def test_memory_is_flat_over_two_hundred_swaps(forests: Arena, follow: Follow, columns: Columns) -> None:
    served, process = follow(forests), psutil.Process()
    swap(forests, served, 20, columns)
    gc.collect()
    before = process.memory_info().rss

    swap(forests, served, SWAPS, columns)
    gc.collect()

    assert process.memory_info().rss < 1.1 * before
    assert len(mapped("compiled.joblib")) <= 2


def test_a_forest_is_read_where_it_is_mapped_and_never_copied(forests: Arena, follow: Follow, columns: Columns) -> None:
    served = follow(forests)
    served.current("forest").predict(columns)
    grown = []
    for _ in range(5):
        gc.collect()
        before = anonymous_bytes()
        swap(forests, served, 1, columns)
        grown.append(anonymous_bytes() - before)

    size = served.current("forest").artifact.manifest.files["compiled.joblib"].size
    held = mapped("compiled.joblib")
    assert sum(each.rss for each in held) > 0.5 * size
    assert [each.anonymous for each in held] == [0] * len(held)
    assert min(grown) < 0.25 * size  # of this process, in which other tests ran before


def test_the_plain_pipeline_is_not_in_memory_where_a_compiled_one_answers(forests: Arena, follow: Follow, columns: Columns) -> None:
    deployment = follow(forests).current("forest")

    deployment.predict(columns)

    assert deployment.artifact.compiled is not None
    assert "model" not in vars(deployment.artifact)
    assert mapped("model.joblib") == []


def test_a_deployment_leaves_the_memory_when_it_is_swapped_out(forests: Arena, follow: Follow, columns: Columns) -> None:
    served = follow(forests)
    old = [weakref.ref(part) for part in (served.current("forest"), served.current("forest").artifact)]

    swap(forests, served, 1, columns)
    gc.collect()

    assert [part() for part in old] == [None, None]


def test_a_request_in_progress_ends_on_the_deployment_it_began_on_which_then_goes(puppets: Arena, follow: Follow, strings: Path) -> None:
    served, began = follow(puppets), threading.Event()
    old = weakref.ref(served.current("fares").artifact)
    held: Columns = {"distance": np.array([HOLD]), "hour": np.array([0.0])}

    def ask() -> float:
        deployment = served.current("fares")
        began.set()
        return float(deployment.predict(held).label[0])

    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(ask)
        assert began.wait(PATIENCE_SECONDS)
        puppets.until(lambda: (strings / "entered").exists())
        puppets.promote(1)
        served.follower.refresh()
        assert served.current("fares").version == puppets.versions[1]
        is_alive = old() is not None
        (strings / "go").touch()
        assert answer.result(PATIENCE_SECONDS) == HOLD

    gc.collect()
    assert is_alive
    assert old() is None
    assert entries(strings, "left.0")
