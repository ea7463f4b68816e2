"""The model file a user writes (YAML): schema, and how to train, serve, watch and retrain."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from training.errors import SpecError, SpecProblem
from training.modelfile import read_model_file
from training.policies import (
    Budget,
    DriftPolicy,
    FaultPolicy,
    GatePolicy,
    LabelPolicy,
    PerformancePolicy,
    ProbationPolicy,
    RetentionPolicy,
    RetrainingPolicy,
    TrainingPolicy,
    WatchingPolicy,
)
from training.schema import Schema

__all__ = [
    "Budget",
    "DriftPolicy",
    "FaultPolicy",
    "GatePolicy",
    "LabelPolicy",
    "ModelSpec",
    "PerformancePolicy",
    "ProbationPolicy",
    "RetentionPolicy",
    "RetrainingPolicy",
    "TrainingPolicy",
    "WatchingPolicy",
    "load_spec",
    "parse_spec",
]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model file, validated.

    Parameters
    ----------
    metric
        The name of the metric models are chosen and judged by, a key of :data:`training.metrics.METRICS`.
    segments
        Categorical features by whose values performance is reported apart.
    data
        Where the history lies, resolved against the folder of the model file; None when it comes from elsewhere.
    text
        The YAML as it was written; :func:`parse_spec` reads it back.
    """

    model: str
    schema: Schema
    metric: str
    labels: LabelPolicy = field(default_factory=LabelPolicy)
    segments: tuple[str, ...] = ()
    training: TrainingPolicy = field(default_factory=TrainingPolicy)
    watching: WatchingPolicy = field(default_factory=WatchingPolicy)
    retraining: RetrainingPolicy = field(default_factory=RetrainingPolicy)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    data: Path | None = None
    text: str = ""


def load_spec(path: Path | str) -> ModelSpec:
    """Read and validate a model file.

    Raises
    ------
    SpecError
        With line, field and message of every mistake; also when the file cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([SpecProblem(0, "", f"cannot be read: {error}")], str(path)) from error
    return parse_spec(text, path.parent, source=str(path))


def parse_spec(text: str, base_dir: Path | None = None, *, source: str = "model file") -> ModelSpec:
    """Validate the text of a model file; ``data`` is resolved against `base_dir`.

    Raises
    ------
    SpecError
        With line, field and message of every mistake.

    Examples
    --------
    >>> spec = parse_spec("model: m\\nschema: {target: y, task: binary, features: {x: numeric}}")
    >>> spec.metric, spec.training.budget.seconds
    ('log_loss', 30.0)
    """
    given = read_model_file(text, source)
    data = given.pop("data", None)
    path = None if data is None else Path(data) if base_dir is None else base_dir / data
    return ModelSpec(**given, data=path, text=text)
