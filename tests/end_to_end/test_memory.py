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
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from prometheus_client import CollectorRegistry
from sklearn.ensemble import RandomForestRegressor

from service.deployments import Deployments
from service.metrics import ServiceMetrics
from tests.end_to_end.arena import Arena
from tests.end_to_end.puppet import HOLD, entries
from tests.ports import free_port
from training.database import open_database
from training.preprocessing import build_pipeline
from training.registry import Registry
from training.rows import Columns
from training.schema import frame
from training.signing import load_or_make_key
from training.spec import parse_spec

SWAPS = 200
NAMES = [f"f{place}" for place in range(8)]
FOREST = f"""
model: forest
schema: {{target: y, task: regression, features: {{{", ".join(f"{name}: numeric" for name in NAMES)}}}}}
watching: {{every: 1d, window: 1d, bucket: 1h}}
"""
Follow = Callable[[Arena], Deployments]


def table(n_rows: int) -> pd.DataFrame:
    """Return noise with a little sense in it, which trees follow to the last row."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=n_rows) for name in NAMES}
    return pd.DataFrame({**columns, "y": columns["f0"] * columns["f1"] + rng.normal(size=n_rows)})


@pytest.fixture(scope="module")
def forests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A home with two forests of full depth, 7 MB each."""
    schema, rows = parse_spec(FOREST).schema, table(3000)
    features = frame({name: rows[name].to_numpy() for name in NAMES}, schema)
    pipelines = [
        build_pipeline(schema, RandomForestRegressor(60, random_state=seed), scale=False, encode="ordinal").fit(features, rows["y"])
        for seed in range(2)
    ]
    with Arena(tmp_path_factory.mktemp("forests"), free_port(), pipelines, FOREST, rows) as arena:
        yield arena


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Follow the champions of a home, as each worker does."""
    databases = []

    def deployments(arena: Arena) -> Deployments:
        databases.append(open_database(f"sqlite:///{arena.home.database}"))
        made = Deployments(
            registry=Registry(databases[-1]),
            home=arena.home,
            signing_key=load_or_make_key(arena.home.signing_key),
            metrics=ServiceMetrics(CollectorRegistry()),
            clock=lambda: datetime(2026, 3, 1, tzinfo=UTC),
        )
        made.refresh()
        return made

    yield deployments
    for database in databases:
        database.close()


@pytest.fixture
def asked() -> Columns:
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=500) for name in NAMES}


def swap(arena: Arena, deployments: Deployments, times: int, asked: Columns) -> None:
    """Promote back and forth, each time answering with the one that was promoted."""
    for _ in range(times):
        before = arena.versions.index(deployments.current(arena.model).version)
        promoted = arena.promote(1 - before)
        deployments.refresh()
        deployment = deployments.current(arena.model)
        assert deployment.version == promoted
        deployment.predict(asked)


def mapped(name: str) -> list[Any]:
    """Return the mappings of a file in this process, with the bytes it holds of each."""
    return [each for each in psutil.Process().memory_maps(grouped=False) if each.path.endswith(name)]


def anonymous_bytes() -> int:
    """Return what this process holds for itself alone and could not read again from a file."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024


def test_memory_is_flat_over_two_hundred_swaps(forests: Arena, follow: Follow, asked: Columns) -> None:
    deployments, process = follow(forests), psutil.Process()
    swap(forests, deployments, 20, asked)
    gc.collect()
    before = process.memory_info().rss

    swap(forests, deployments, SWAPS, asked)
    gc.collect()

    assert process.memory_info().rss < 1.1 * before
    assert len(mapped("compiled.joblib")) <= 2


def test_a_forest_is_read_where_it_is_mapped_and_never_copied(forests: Arena, follow: Follow, asked: Columns) -> None:
    deployments = follow(forests)
    deployments.current("forest").predict(asked)
    swap(forests, deployments, 1, asked)
    gc.collect()
    before = anonymous_bytes()

    swap(forests, deployments, 1, asked)

    size = deployments.current("forest").artifact.manifest.files["compiled.joblib"].size
    held = mapped("compiled.joblib")
    assert sum(each.rss for each in held) > 0.5 * size
    assert [each.anonymous for each in held] == [0] * len(held)
    assert anonymous_bytes() - before < 0.25 * size


def test_the_plain_pipeline_is_not_in_memory_where_a_compiled_one_answers(forests: Arena, follow: Follow, asked: Columns) -> None:
    deployment = follow(forests).current("forest")

    deployment.predict(asked)

    assert deployment.artifact.compiled is not None
    assert "model" not in vars(deployment.artifact)
    assert mapped("model.joblib") == []


def test_a_deployment_leaves_the_memory_when_it_is_swapped_out(forests: Arena, follow: Follow, asked: Columns) -> None:
    deployments = follow(forests)
    old = [weakref.ref(part) for part in (deployments.current("forest"), deployments.current("forest").artifact)]

    swap(forests, deployments, 1, asked)
    gc.collect()

    assert [part() for part in old] == [None, None]


def test_a_request_in_progress_ends_on_the_deployment_it_began_on_which_then_goes(puppets: Arena, follow: Follow, strings: Path) -> None:
    deployments, began = follow(puppets), threading.Event()
    old = weakref.ref(deployments.current("fares").artifact)
    held: Columns = {"distance": np.array([HOLD]), "hour": np.array([0.0])}

    def ask() -> float:
        deployment = deployments.current("fares")
        began.set()
        return float(deployment.predict(held).label[0])

    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(ask)
        assert began.wait(20)
        puppets.until(lambda: (strings / "entered").exists())
        puppets.promote(1)
        deployments.refresh()
        assert deployments.current("fares").version == puppets.versions[1]
        is_alive = old() is not None
        (strings / "go").touch()
        assert answer.result(30) == HOLD

    gc.collect()
    assert is_alive
    assert old() is None
    assert entries(strings, "left.0")
