"""One loaded version, ready to answer: verified, pinned to one thread, tested on its golden rows; expensive ones in the batcher."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.columns.reader import ColumnReader
from service.models.batching import Batcher
from service.models.failed_rows import checked, raise_failed_rows
from service.prediction_log.labels import LabelRules
from training.artifacts.artifact import LoadedArtifact
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec, parse_spec
from training.schema.feature import MAX_LETTERS
from training.schema.prediction import Prediction
from training.schema.rows import Columns, count_rows

UNMEASURED_EXPENSIVE_SECONDS = 0.005
UNMEASURED_CHEAP_SECONDS = 0.00002


@dataclass(frozen=True)
class Deployment:
    """One loaded, verified, tested version, ready to answer.

    Attributes
    ----------
    batcher
        Where expensive models of this process predict, one call at a time.
    is_expensive
        Whether even one row takes so long that it is predicted in the batcher, where the caller may have to wait. Others
        answer at once, in any thread.
    is_joined
        Whether requests that wait together are predicted together: where that was measured to pay.
    is_degraded
        Whether it answers in the place of a champion that was refused or that nothing is known of.
    """

    model: str
    version: str
    move: int
    artifact: LoadedArtifact
    spec: ModelSpec
    reader: ColumnReader
    label_rules: LabelRules
    loaded_at: datetime
    batcher: Batcher
    is_expensive: bool
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
            return UNMEASURED_EXPENSIVE_SECONDS if self.is_expensive else UNMEASURED_CHEAP_SECONDS * n_rows
        return cost.seconds(n_rows)

    def predict(self, columns: Columns) -> Prediction:
        """Predict valid columns.

        Raises
        ------
        FailedRowsError
            The model fails on some of these rows: it raises, or what it answers is not one finite value, or one distribution over
            the classes, a row.
        """
        predictor = self.artifact.predictor
        n_rows = count_rows(columns)
        if self.is_expensive:
            return self.batcher.predict(predictor, columns, n_rows, joins=self.is_joined)
        try:
            return checked(predictor.predict, columns, n_rows)
        except Exception as error:  # noqa: BLE001 - named by its rows, or raised again
            raise_failed_rows(error, predictor.predict, columns, n_rows)


def deploy(
    artifact: LoadedArtifact,
    *,
    model: str,
    version: str,
    move: int,
    loaded_at: datetime,
    batcher: Batcher,
    max_letters: int = MAX_LETTERS,
) -> Deployment:
    """Let a verified artifact (and its members) reproduce its golden rows, and make it a deployment.

    Where no cost was measured, a plain pipeline is taken for expensive and a compiled model for cheap.

    Raises
    ------
    GoldenRowsError
        It answers its golden rows otherwise than it did when it was made.
    SpecError
        Its model file cannot be read any more.
    """
    pin_to_one_thread(artifact)
    artifact.self_test()
    spec = parse_spec(artifact.spec_text, stored=True)
    cost, is_plain = artifact.cost, not artifact.is_compiled
    return Deployment(
        model=model,
        version=version,
        move=move,
        artifact=artifact,
        spec=spec,
        reader=ColumnReader(artifact.schema, max_letters),
        label_rules=rules_of(artifact, spec),
        loaded_at=loaded_at,
        batcher=batcher,
        is_expensive=is_plain if cost is None else cost.is_expensive,
        is_joined=is_plain if cost is None else cost.is_shared_with_gain,
    )


def rules_of(artifact: LoadedArtifact, spec: ModelSpec) -> LabelRules:
    """Return which labels a version's model takes: declared classes, or the two of a binary task; else any."""
    schema = artifact.schema
    classes = schema.classes or (artifact.predictor.classes if schema.task == "binary" else None)
    too_late_us = duration_us(spec.labels.too_late) if spec.labels.too_late > timedelta() else None
    bucket_us = duration_us(spec.watching.bucket)
    return LabelRules(schema.task, classes, too_late_us, spec.labels.own_id == "all", schema.missing, bucket_us)


def pin_to_one_thread(artifact: LoadedArtifact) -> None:
    """Let the estimators of a pipeline, or of the members', use one thread: parallelism belongs to the workers."""
    for member in artifact.members:
        pin_to_one_thread(member)
    if artifact.members or artifact.compiled is not None:
        return
    pipeline = artifact.model.pipeline
    parameters = pipeline.get_params(deep=True) if hasattr(pipeline, "get_params") else {}
    parallel = {name: 1 for name, value in parameters.items() if name.endswith("n_jobs") and value not in (None, 1)}
    if parallel:
        pipeline.set_params(**parallel)
