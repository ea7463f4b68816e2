"""One loaded version, ready to answer: verified, pinned to one thread, tested on its golden rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.columns import ColumnReader
from service.label_log import LabelRules
from training.artifact import LoadedArtifact
from training.clock import duration_us
from training.prediction import Prediction
from training.rows import Columns
from training.spec import ModelSpec, parse_spec


@dataclass(frozen=True)
class Deployment:
    """One loaded, verified, tested version, ready to answer."""

    model: str
    version: str
    move: int
    artifact: LoadedArtifact
    spec: ModelSpec
    reader: ColumnReader
    label_rules: LabelRules
    loaded_at: datetime
    is_degraded: bool = False

    @property
    def bins_id(self) -> str:
        """The bins its rows are counted under."""
        return self.artifact.manifest.bins_id

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes in the order of the probabilities."""
        return self.artifact.predictor.classes

    def predict(self, columns: Columns) -> Prediction:
        """Answer valid columns."""
        return self.artifact.predictor.predict(columns)


def deploy(artifact: LoadedArtifact, *, model: str, version: str, move: int, loaded_at: datetime, is_degraded: bool = False) -> Deployment:
    """Let a verified artifact reproduce its golden rows, and make it a deployment.

    Raises
    ------
    GoldenRowsError
        It answers its golden rows otherwise than it did when it was made.
    SpecError
        Its model file cannot be read any more.
    """
    pin_to_one_thread(artifact)
    artifact.self_test()
    spec = parse_spec(artifact.spec_text)
    return Deployment(
        model=model,
        version=version,
        move=move,
        artifact=artifact,
        spec=spec,
        reader=ColumnReader(artifact.schema),
        label_rules=rules_of(artifact, spec),
        loaded_at=loaded_at,
        is_degraded=is_degraded,
    )


def rules_of(artifact: LoadedArtifact, spec: ModelSpec) -> LabelRules:
    """Say which labels a version's model takes: declared classes, or the two of a binary task; else any."""
    schema = artifact.schema
    classes = schema.classes or (artifact.predictor.classes if schema.task == "binary" else None)
    return LabelRules(schema.task, classes, duration_us(spec.labels.too_late) if spec.labels.too_late > timedelta() else None)


def pin_to_one_thread(artifact: LoadedArtifact) -> None:
    """Let the estimators of a pipeline use one thread: parallelism belongs to the workers."""
    if artifact.compiled is not None:
        return
    pipeline = artifact.model.pipeline
    parameters = pipeline.get_params(deep=True) if hasattr(pipeline, "get_params") else {}
    parallel = {name: 1 for name, value in parameters.items() if name.endswith("n_jobs") and value not in (None, 1)}
    if parallel:
        pipeline.set_params(**parallel)
