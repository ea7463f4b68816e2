"""The model file a user writes (YAML): schema, and how to train, serve, watch and retrain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training.clock import format_duration
from training.errors import SpecError, SpecProblem
from training.evaluation.decision_threshold import COUNTING, at_best_threshold, at_threshold
from training.evaluation.losses import DEFAULT_METRIC, METRICS, Metric, cost_metric
from training.evaluation.own_metric import is_own, own_metric
from training.model_file.bounds import MOST_LETTERS
from training.model_file.reading import read_model_file
from training.policies import (
    LabelPolicy,
    RetentionPolicy,
    RetrainingPolicy,
    TrainingPolicy,
    WatchingPolicy,
)
from training.schema.costs import Costs
from training.schema.schema import Schema
from training.schema.sources import Query
from training.schema.spellings import PLAIN, FileFormat


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model file, validated.

    Attributes
    ----------
    metric
        The name of the metric models are chosen and judged by: a key of `training.evaluation.losses.METRICS`, ``cost``,
        or ``module:function`` of a user's own.
    segments
        Categorical features by whose values performance is reported apart.
    data
        Where the history lies: a path, resolved against the folder of the model file, or an address such as ``s3://bucket/rides.csv``, or a
        query of a database; None when it comes from elsewhere.
    read
        How the files of rows are written.
    text
        The YAML as it was written; `parse_spec` reads it back.
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
    data: Path | str | Query | None = None
    read: FileFormat = PLAIN
    text: str = ""

    @property
    def costs(self) -> Costs | None:
        """What wrong decisions cost; None where all mistakes cost the same."""
        classes, table = self.schema.classes, self.training.costs
        return None if classes is None or table is None else Costs(classes, table)

    @property
    def own_metric(self) -> str | None:
        """The ``module:function`` that models are chosen and judged by; None where it is a metric of ours."""
        return self.metric if is_own(self.metric) else None

    @property
    def more_metrics(self) -> tuple[Metric, ...]:
        """The metrics of this model only; asking a user's own imports it."""
        own = () if self.own_metric is None else (own_metric(self.own_metric),)
        return own if self.costs is None else (*own, cost_metric(self.costs))

    @property
    def judged_by(self) -> Metric:
        """The metric models are chosen and judged by; asking a user's own imports it."""
        return next((metric for metric in self.more_metrics if metric.name == self.metric), None) or METRICS[self.metric]

    @property
    def chooses_threshold(self) -> bool:
        """Whether the probability from which on the positive class is decided is chosen: the metric is best at another than a half."""
        training = self.training
        return self.schema.task == "binary" and self.metric in COUNTING and training.costs is None and training.threshold is None

    @property
    def searched_by(self) -> Metric:
        """The metric candidates are compared by: each decided as it would be; asking a user's own imports it."""
        if self.training.threshold is not None:
            return at_threshold(self.judged_by, self.training.threshold)
        return at_best_threshold(self.judged_by) if self.chooses_threshold else self.judged_by

    @property
    def watched_by(self) -> Metric:
        """The metric of what is live: the one models are judged by; in place of a user's own the mean cost, or the default of the task."""
        if self.own_metric is None:
            return self.judged_by
        return METRICS[DEFAULT_METRIC[self.schema.task]] if self.costs is None else cost_metric(self.costs)

    def asked_of(self, *, is_imported: bool) -> dict[str, Any]:
        """Return what is asked of a version; of an imported one only how it decides and is judged."""
        return {name: value for name, value in self.asked.items() if name in ("costs", "metric", "threshold") or not is_imported}

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked of a version beyond its defaults, as a model file spells it; empty where nothing is."""
        training = self.training
        written: dict[str, Any] = {
            "metric": self.own_metric,
            "search": None if training.search == "halving" else training.search,
            "class_weight": training.class_weight,
            "half_life": None if training.half_life is None else format_duration(training.half_life),
            "costs": None if self.costs is None else dict(zip(self.costs.classes, map(list, self.costs.table), strict=True)),
            "threshold": training.threshold,
            "monotonic": {f.name: f.monotonic for f in self.schema.features if f.monotonic is not None},
        }
        return {name: value for name, value in written.items() if value}


def load_spec(path: Path | str) -> ModelSpec:
    """Read and validate a model file.

    Raises
    ------
    SpecError
        With line, field and message of every mistake; also when the file cannot be read.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_LETTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpecError([SpecProblem(0, "", f"cannot be read: {reason}")], str(path)) from error
    return parse_spec(text, path.parent, source=str(path))


def parse_spec(text: str, base_dir: Path | None = None, *, source: str = "model file", stored: bool = False) -> ModelSpec:
    """Validate the text of a model file; ``data`` and the table of a reference are resolved against `base_dir`.

    Parameters
    ----------
    stored
        Whether it was accepted before: rules that came later do not refuse it.

    Raises
    ------
    SpecError
        With line, field and message of every mistake.

    Examples
    --------
    >>> spec = parse_spec("model: m\\nschema: {target: y, task: binary, features: {x: numeric}}")
    >>> spec.metric, str(spec.training.budget)
    ('log_loss', 'all')
    """
    parts = read_model_file(text, source, stored=stored)
    data = parts.pop("data", None)
    watching = parts.get("watching")
    if watching is not None and base_dir is not None and isinstance(watching.drift.reference, Path):
        drift = replace(watching.drift, reference=base_dir / watching.drift.reference)
        parts["watching"] = replace(watching, drift=drift)
    return ModelSpec(**parts, data=_place(data, base_dir), text=text)


def _place(data: str | Query | None, base_dir: Path | None) -> Path | str | Query | None:
    if data is None or base_dir is None or (isinstance(data, str) and "://" in data):
        return Path(data) if isinstance(data, str) and "://" not in data else data
    return data.beside(base_dir) if isinstance(data, Query) else base_dir / data
