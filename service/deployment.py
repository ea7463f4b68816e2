"""One loaded version, ready to answer: verified, pinned to one thread, tested on its golden rows; dear ones in the lane."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.batching import Lane
from service.columns import ColumnReader
from service.culprits import blame
from service.label_log import LabelRules
from service.row_fields import MAX_LETTERS
from training.artifact import LoadedArtifact
from training.clock import duration_us
from training.prediction import Prediction
from training.rows import Columns
from training.spec import ModelSpec, parse_spec

UNMEASURED_DEAR_SECONDS = 0.005
UNMEASURED_CHEAP_SECONDS = 0.00002


@dataclass(frozen=True)
class Deployment:
    """One loaded, verified, tested version, ready to answer.

    Parameters
    ----------
    lane
        Where dear models of this process predict, one call at a time.
    is_dear
        Whether even one row takes so long that it is predicted in the lane, where the caller may have to wait. Others
        answer at once, in any thread.
    is_joined
        Whether requests that wait together are predicted together: where that was measured to pay.
    """

    model: str
    version: str
    move: int
    artifact: LoadedArtifact
    spec: ModelSpec
    reader: ColumnReader
    label_rules: LabelRules
    loaded_at: datetime
    lane: Lane
    is_dear: bool
    is_joined: bool
    is_degraded: bool = False

    @property
    def bins_id(self) -> str:
        """The bins its rows are counted under."""
        return self.artifact.manifest.bins_id

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes in the order of the probabilities."""
        return self.artifact.predictor.classes

    def seconds(self, n_rows: int) -> float:
        """Estimate the processor time of predicting so many rows, from what was measured when the version was made."""
        cost = self.artifact.cost
        if cost is None:
            return UNMEASURED_DEAR_SECONDS if self.is_dear else UNMEASURED_CHEAP_SECONDS * n_rows
        return cost.seconds(n_rows)

    def predict(self, columns: Columns) -> Prediction:
        """Answer valid columns.

        Raises
        ------
        FailedRowsError
            The model fails on some of these rows.
        """
        predictor = self.artifact.predictor
        n_rows = len(next(iter(columns.values())))
        if self.is_dear:
            return self.lane.predict(predictor, columns, n_rows, joins=self.is_joined)
        try:
            return predictor.predict(columns)
        except Exception as error:  # noqa: BLE001 - named by its rows, or raised again
            blame(error, predictor.predict, columns, n_rows)


def deploy(
    artifact: LoadedArtifact,
    *,
    model: str,
    version: str,
    move: int,
    loaded_at: datetime,
    lane: Lane,
    max_letters: int = MAX_LETTERS,
    is_degraded: bool = False,
) -> Deployment:
    """Let a verified artifact reproduce its golden rows, and make it a deployment.

    Where no cost was measured, a plain pipeline is taken for dear and a compiled model for cheap.

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
    cost, is_plain = artifact.cost, artifact.compiled is None
    return Deployment(
        model=model,
        version=version,
        move=move,
        artifact=artifact,
        spec=spec,
        reader=ColumnReader(artifact.schema, max_letters),
        label_rules=rules_of(artifact, spec),
        loaded_at=loaded_at,
        lane=lane,
        is_dear=is_plain if cost is None else cost.is_dear,
        is_joined=is_plain if cost is None else cost.is_shared_with_gain,
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
