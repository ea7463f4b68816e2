"""Members of versions for tests: small fitted models of each task, saved and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from training.artifacts.artifact import Artifact, LoadedArtifact, load_verified, save_artifact
from training.artifacts.draft import Draft
from training.artifacts.golden_rows import choose_golden
from training.artifacts.members import Member
from training.artifacts.mixtures import save_mixture
from training.clock import from_us
from training.compiling.compiling import read_pipeline
from training.fitting.calibration import CalibratedPipeline
from training.fitting.fitted_model import FittedModel
from training.fitting.preprocessing import build_pipeline
from training.model_file.model_spec import parse_spec
from training.policies import WatchingPolicy
from training.profiles.reference import build_reference
from training.schema.rows import Columns, Rows
from training.schema.schema import Schema, frame

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = b"k" * 32
HOUR_US = 3_600_000_000
TASKS = {
    "binary": "{target: y, task: binary, classes: ['no', 'yes'], positive: 'yes', %s}",
    "multiclass": "{target: y, task: multiclass, %s}",
    "regression": "{target: y, task: regression, %s}",
}
COLUMNS = "time: {column: t, kind: timestamp, clock: event}, features: {a: numeric, c: {kind: categorical, nullable: true}}"
NAMES = {"binary": ("no", "yes"), "multiclass": ("low", "mid", "high")}


def spec_text_of(task: str, more: str = "", model: str = "small") -> str:
    """A model file."""
    return f"model: {model}\nschema: {TASKS[task] % COLUMNS}\nwatching: {{bucket: 1d, window: 7d}}\n{more}"


def rows_of(task: str, seed: int = 0, n: int = 300, classes: Sequence[str] | None = None) -> Rows:
    """Rows with a learnable target, of some of the classes only where they are named."""
    rng = np.random.default_rng(seed)
    a, c = rng.normal(size=n), rng.choice(np.array(["u", "v", None], object), n)
    score = a + np.where(c == "u", 1.0, 0.0) + 0.5 * rng.normal(size=n)
    if task == "regression":
        target: Any = score
    else:
        names = np.array(classes or NAMES[task], object)
        target = names[np.digitize(score, np.quantile(score, np.arange(1, len(names)) / len(names)))]
    return Rows({"a": a, "c": c}, target, np.arange(n, dtype=np.int64) * HOUR_US)


def fitted(schema: Schema, rows: Rows, *, forest: bool = False, calibration: tuple[float, float] | None = None) -> FittedModel:
    """Fit a small model, maybe with a map of its own."""
    if schema.task == "regression":
        estimator: Any = Ridge()
    else:
        estimator = RandomForestClassifier(3, max_depth=3, random_state=0) if forest else LogisticRegression()
    scale = not forest
    pipeline = build_pipeline(schema, estimator, scale=scale, encode="onehot" if scale else "ordinal")
    pipeline.fit(frame(rows.columns, schema), rows.target)
    return FittedModel.of(pipeline if calibration is None else CalibratedPipeline(pipeline, *calibration), schema)


@dataclass(frozen=True)
class Pool:
    """Loaded members of one model, and where they lie."""

    task: str
    folder: Path
    members: tuple[LoadedArtifact, ...]
    key: bytes = KEY

    @property
    def artifacts(self) -> Path:
        """Where the artifacts are."""
        return self.folder / "artifacts"

    @property
    def cache(self) -> Path:
        """Where verified copies are."""
        return self.folder / "cache"

    @property
    def known(self) -> dict[str, LoadedArtifact]:
        """The members by digest."""
        return {each.digest: each for each in self.members}

    def weighed(self, *weights: float, maps: Sequence[tuple[float, float] | None] = ()) -> tuple[Member, ...]:
        """The members with weights, and maps."""
        points = [*maps, *[None] * len(weights)]
        return tuple(
            replace(each.manifest.as_member("all"), weight=weight, map=point)
            for each, weight, point in zip(self.members, weights, points, strict=False)
        )

    def save(self, members: Sequence[Member], *, now: datetime = NOW + timedelta(days=9), more: str = "", **options: Any) -> Artifact:
        """Save a version of members."""
        given = {"parent": self.members[0].version, "generation": None, "weighed_through_us": 5, "spec_text": spec_text_of(self.task, more)}
        return save_mixture(members, self.known, home_artifacts=self.artifacts, key=self.key, now=now, **{**given, **options})

    def load(self, artifact: Artifact, **options: Any) -> LoadedArtifact:
        """Load a version."""
        return load_verified(artifact.path, self.cache, self.key, **options)


def save_member(folder: Path, task: str, number: int = 0, *, compiled: bool = True, model: str = "small", **options: Any) -> Artifact:
    """Fit and save one member; a later number is a later one."""
    spec = parse_spec(spec_text_of(task, options.pop("more", ""), model))
    key = options.pop("key", KEY)
    rows = rows_of(task, number, classes=options.pop("classes", None))
    fitted_model = fitted(spec.schema, rows, **options)
    form = read_pipeline(fitted_model)[0] if compiled else None
    through_us = int(rows.time_us[-1]) + number * HOUR_US
    draft = Draft(
        name=model,
        model=fitted_model,
        reference=build_reference(rows, spec.schema, WatchingPolicy(bucket=timedelta(days=1), window=timedelta(days=2))),
        golden=choose_golden(fitted_model, rows, spec.schema, 6),
        spec_text=spec.text,
        data_start=from_us(0),
        data_end=from_us(through_us),
        trained_through_us=through_us,
        algorithm="linear",
        compiled=form,
        rows_digest=f"rows-{number}",
        card=f"# {model} {number}\n",
        page=f"<body><h1>{model}</h1><p>page {number}</p></body>",
        report={
            "data": {},
            "serving": {
                "engine": "linear" if compiled else "plain",
                "cost": {"one_row_seconds": 1e-5 * (1 + number), "rows_32_seconds": 1e-4},
            },
        },
    )
    return save_artifact(draft, folder / "artifacts", key, NOW + timedelta(hours=number))


def make_pool(folder: Path, task: str, *options: dict[str, Any], key: bytes = KEY) -> Pool:
    """Save and load some members, each with its own options."""
    saved = [save_member(folder, task, number, key=key, **each) for number, each in enumerate(options)]
    return Pool(task, folder, tuple(load_verified(each.path, folder / "cache", key) for each in saved), key)


def columns_of(task: str) -> Columns:
    """Rows that no member has seen."""
    return rows_of(task, 99, 50).columns
