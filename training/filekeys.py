"""The keys of a model file: what each may hold (marshmallow), turned into schema and policies."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, post_load, pre_load, validate, validates_schema

from training import policies
from training.errors import SchemaError
from training.feature import DATE_PARTS, KINDS, Feature
from training.filefields import Duration, DurationOrCount, Keys, Label, Moment, Window, choice, count, section, share
from training.metrics import DEFAULT_METRIC, METRICS
from training.schema import TASKS, TimeColumn
from training.schema import Schema as RowSchema

NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class FeatureKeys(Keys):
    """One feature; ``name: kind`` is short for ``name: {kind: kind}``."""

    kind = choice(*KINDS, required=True)
    nullable = fields.Boolean()
    minimum = fields.Float(allow_none=True)
    maximum = fields.Float(allow_none=True)
    categories = fields.List(Label(), allow_none=True, validate=validate.Length(min=1))
    unknown = choice("encode", "error")  # type: ignore[assignment]
    out_of_range = choice("error", "clip", "accept")
    derive = fields.List(choice(*DATE_PARTS), validate=validate.Length(min=1))

    @pre_load
    def _short(self, written: Any, **kwargs: Any) -> Any:
        return {"kind": written} if isinstance(written, str) else written

    @validates_schema
    def _fits_its_kind(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        wrong = {"categorical": ("minimum", "maximum", "out_of_range", "derive")}.get(
            loaded["kind"], ("categories", "unknown") + (() if loaded["kind"] == "datetime" else ("derive",))
        )
        errors = {k: [f"means nothing for a {loaded['kind']} feature"] for k in wrong if loaded.get(k) is not None}
        low, high = loaded.get("minimum"), loaded.get("maximum")
        if low is not None and high is not None and low > high:
            errors["minimum"] = [f"{low:g} is above the maximum {high:g}"]
        if loaded.get("unknown") == "error" and not loaded.get("categories"):
            errors["unknown"] = ["needs declared categories to know what to refuse"]
        if errors:
            raise ValidationError(errors)


class TimeKeys(Keys):
    """The time column."""

    makes = TimeColumn
    column = fields.String(required=True)
    kind = choice("timestamp", "ordinal")
    origin = Moment()
    step = Duration()
    clock = choice("event", "arrival")


class SchemaKeys(Keys):
    """Features, target and time."""

    target = fields.String(required=True)
    task = choice(*TASKS, required=True)
    positive = Label(allow_none=True)
    classes = fields.List(Label(), allow_none=True, validate=validate.Length(min=2))
    time = section(TimeKeys)
    extra = choice("ignore", "error")
    features = fields.Dict(fields.String(), fields.Nested(FeatureKeys), required=True, validate=validate.Length(min=1))

    @validates_schema
    def _fits_together(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        errors: dict[str, list[str]] = {}
        task, classes, positive = loaded["task"], loaded.get("classes"), loaded.get("positive")
        if loaded["target"] in loaded["features"]:
            errors["target"] = ["is among the features"]
        if task == "regression" and classes:
            errors["classes"] = ["means nothing for a regression"]
        if task == "binary" and classes and len(classes) != 2:
            errors["classes"] = [f"a binary task has two classes, not {len(classes)}"]
        if positive is not None and task != "binary":
            errors["positive"] = ["means something for a binary task only"]
        elif positive is not None and classes and positive not in classes:
            errors["positive"] = [f"{positive!r} is none of the classes {', '.join(classes)}"]
        time = loaded.get("time")
        if time is not None and time.column == loaded["target"]:
            errors["time"] = ["is the target"]
        if errors:
            raise ValidationError(errors)

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> RowSchema:
        features = tuple(Feature(name, **_tuples(keys)) for name, keys in loaded.pop("features").items())
        try:
            return RowSchema(features, **_tuples(loaded))
        except SchemaError as error:
            raise ValidationError(str(error)) from error


def _tuples(loaded: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in loaded.items()}


class LabelKeys(Keys):
    """When labels come."""

    delay = DurationOrCount("rows")
    too_late = Duration()

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> policies.LabelPolicy:
        delay = loaded.pop("delay", None)
        if isinstance(delay, int):
            return policies.LabelPolicy(delay=None, delay_rows=delay, **loaded)
        return policies.LabelPolicy(**loaded) if delay is None else policies.LabelPolicy(delay=delay, **loaded)


class TrainingKeys(Keys):
    """How a version is made."""

    candidates = fields.List(choice(*policies.CANDIDATES), validate=validate.Length(min=1))
    budget = DurationOrCount("fits")
    window = Window(allow_none=True)
    holdout = fields.Float(validate=validate.Range(0.05, 0.5))
    seed = count(0)
    calibrate = fields.Boolean()

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> policies.TrainingPolicy:
        budget = loaded.pop("budget", None)
        if isinstance(budget, int):
            loaded["budget"] = policies.Budget(None, budget)
        elif budget is not None:
            loaded["budget"] = policies.Budget(budget.total_seconds(), None)
        return policies.TrainingPolicy(**_tuples(loaded))


class DriftKeys(Keys):
    """When inputs moved."""

    makes = policies.DriftPolicy
    level = share()
    psi_floor = fields.Float(validate=validate.Range(min=0))


class FaultKeys(Keys):
    """When inputs broke."""

    makes = policies.FaultPolicy
    null_share = share()
    out_of_range_share = share()
    new_category_share = share()
    reject_share = share()
    minimum_rows = count()


class PerformanceKeys(Keys):
    """When the model got worse."""

    makes = policies.PerformancePolicy
    level = share()
    tolerance = fields.Float(validate=validate.Range(min=0))
    minimum_rows = count()


class WatchingKeys(Keys):
    """How to look."""

    makes = policies.WatchingPolicy
    every = Duration()
    window = Duration()
    bucket = Duration()
    drift = fields.Nested(DriftKeys)
    faults = fields.Nested(FaultKeys)
    performance = fields.Nested(PerformanceKeys)
    clock_bound = Duration()

    @validates_schema
    def _buckets_fill_windows(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        default = policies.WatchingPolicy()
        bucket = loaded.get("bucket", default.bucket)
        errors = {
            key: [f"must be a whole number of buckets ({bucket})"]
            for key in ("every", "window")
            if loaded.get(key, getattr(default, key)) % bucket
        }
        if errors:
            raise ValidationError(errors)


class GateKeys(Keys):
    """What a challenger must show."""

    makes = policies.GatePolicy
    rows = count(30)
    minimum_gain = fields.Float(validate=validate.Range(min=0))
    level = share()
    min_train_rows = count()


class ProbationKeys(Keys):
    """How long a promotion can be taken back."""

    makes = policies.ProbationPolicy
    looks = count()
    rows = count(30)
    level = share()


class RetrainingKeys(Keys):
    """When to retrain."""

    makes = policies.RetrainingPolicy
    act = choice("auto", "notify")
    schedule = Duration(allow_none=True)
    min_new_labels = fields.Integer(strict=True, allow_none=True, validate=validate.Range(min=1))
    on_performance = fields.Boolean()
    on_drift = fields.Boolean()
    cool_down = Duration()
    budget_per_week = count(0)
    gate = fields.Nested(GateKeys)
    probation = fields.Nested(ProbationKeys)


class RetentionKeys(Keys):
    """How long the log keeps rows."""

    makes = policies.RetentionPolicy
    log = Duration()


class ModelKeys(Keys):
    """A whole model file."""

    model = fields.String(
        required=True,
        validate=validate.Regexp(
            NAME, error="{input!r} is no model name: lower-case letters, digits, . _ -, at most 64, a letter or digit first"
        ),
    )
    data = fields.String(allow_none=True)
    schema = fields.Nested(SchemaKeys, required=True)
    metric = choice(*METRICS, allow_none=True)
    labels = section(LabelKeys)
    segments = fields.List(fields.String(), allow_none=True)
    training = section(TrainingKeys)
    watching = section(WatchingKeys)
    retraining = section(RetrainingKeys)
    retention = section(RetentionKeys)

    @validates_schema
    def _fits_the_task(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        schema: RowSchema = loaded["schema"]
        errors: dict[str, Any] = {}
        metric = loaded.get("metric")
        if metric and schema.task not in METRICS[metric].tasks:
            fitting = ", ".join(name for name, m in METRICS.items() if schema.task in m.tasks)
            errors["metric"] = [f"{metric!r} is no metric of a {schema.task} task; there are {fitting}"]
        wrong = {
            str(i): ["is no categorical, boolean or integer feature"]
            for i, name in enumerate(loaded.get("segments") or [])
            if name not in schema.names or schema.feature(name).kind not in ("categorical", "boolean", "integer")
        }
        if wrong:
            errors["segments"] = wrong
        if errors:
            raise ValidationError(errors)

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        loaded["metric"] = loaded.get("metric") or DEFAULT_METRIC[loaded["schema"].task]
        return _tuples(loaded)
