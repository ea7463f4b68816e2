"""The keys of a model file: what each may hold (marshmallow), turned into schema and policies."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, post_load, pre_load, validate, validates_schema

from training import policies
from training.errors import SchemaError
from training.evaluation.losses import COST, DEFAULT_METRIC, METRICS
from training.model_file.candidates import wrong_factory
from training.model_file.data_keys import DataField
from training.model_file.fields import (
    Duration,
    DurationOrCount,
    Keys,
    Label,
    Moment,
    Word,
    choice,
    count,
    section,
    share,
    tuples,
)
from training.model_file.training_keys import TrainingKeys, unfit_training
from training.model_file.watching_keys import WatchingKeys, unfit_watching, wrong_segments
from training.schema.feature import DATE_PARTS, KINDS, Feature
from training.schema.schema import TASKS
from training.schema.schema import Schema as RowSchema
from training.schema.spellings import INFINITE, PLAIN, QUOTES, THOUSANDS, FileFormat, is_number_format, is_text_encoding
from training.schema.time_column import TimeColumn
from training.schema.times import problem_with

JOINED = "time"
"""What requests call a time that files have in several columns, unless the model file names it."""
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
    missing = fields.List(Word(), validate=validate.Length(min=1))
    format = fields.String(allow_none=True)
    zone = fields.String(allow_none=True)
    monotonic = choice("increasing", "decreasing", allow_none=True)

    @pre_load
    def _short(self, written: Any, **kwargs: Any) -> Any:
        return {"kind": written} if isinstance(written, str) else written

    @validates_schema
    def _fits_its_kind(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        errors = {k: [f"means nothing for a {loaded['kind']} feature"] for k in _meaningless(loaded["kind"]) if loaded.get(k) is not None}
        errors |= _format_problems(loaded)
        low, high = loaded.get("minimum"), loaded.get("maximum")
        if low is not None and high is not None and low > high:
            errors["minimum"] = [f"{low:g} is above the maximum {high:g}"]
        if loaded.get("unknown") == "error" and not loaded.get("categories"):
            errors["unknown"] = ["needs declared categories to know what to refuse"]
        if errors:
            raise ValidationError(errors)


def _meaningless(kind: str) -> tuple[str, ...]:
    if kind == "categorical":
        return ("minimum", "maximum", "out_of_range", "derive", "format", "zone", "monotonic")
    for_others = ("categories", "unknown")
    if kind == "datetime":
        return (*for_others, "missing", "monotonic")
    return (*for_others, "derive", "zone", *(("format", "missing") if kind == "boolean" else ()))


def _format_problems(loaded: dict[str, Any]) -> dict[str, list[str]]:
    if loaded["kind"] == "datetime":
        return _time_problems(loaded)
    if loaded["kind"] not in ("numeric", "integer"):
        return {}
    errors, written = {}, loaded.get("format")
    if written is not None and not is_number_format(written):
        errors["format"] = [f"{written!r} is none of: percent, accounting, the sign of a currency such as €, its three letters such as EUR"]
    if others := [word for word in loaded.get("missing") or () if word != INFINITE]:
        errors["missing"] = [f"{', '.join(others)}: of a number only {INFINITE} can be listed; the usual words always mean missing"]
    return errors


def _time_problems(loaded: dict[str, Any]) -> dict[str, list[str]]:
    problem = problem_with(loaded.get("format"), loaded.get("zone"))
    return {} if problem is None else {problem[0]: [problem[1]]}


class TimeKeys(Keys):
    """The time column, or the columns that are joined into it."""

    column = fields.String()
    columns = fields.List(fields.String(), validate=validate.Length(min=2, max=6))
    format = fields.String(allow_none=True)
    zone = fields.String(allow_none=True)
    kind = choice("timestamp", "ordinal")
    origin = Moment()
    step = Duration()
    clock = choice("event", "arrival")

    @validates_schema
    def _fits_its_kind(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        errors = _time_problems(loaded)
        if not loaded.get("column") and not loaded.get("columns"):
            errors["column"] = ["is missing: name the column, or the columns that make up the time"]
        if len(set(loaded.get("columns") or ())) < len(loaded.get("columns") or ()):
            errors["columns"] = ["names a column twice"]
        if loaded.get("kind") == "ordinal":
            wrong = (key for key in ("format", "zone", "columns") if loaded.get(key) is not None)
            errors |= {key: ["means nothing for an ordinal time, which is one number"] for key in wrong}
        if errors:
            raise ValidationError(errors)

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> TimeColumn:
        return TimeColumn(loaded.pop("column", JOINED), **tuples(loaded))


class SchemaKeys(Keys):
    """Features, target and time."""

    target = fields.String(required=True)
    task = choice(*TASKS, required=True)
    positive = Label(allow_none=True)
    classes = fields.List(Label(), allow_none=True, validate=validate.Length(min=2))
    time = section(TimeKeys)
    extra = choice("ignore", "error")
    missing = fields.List(Word(), validate=validate.Length(min=1))
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
        if time is not None and loaded["target"] in (time.column, *time.columns):
            errors["time"] = ["is the target"]
        if time is not None and _reads_otherwise(loaded["features"].get(time.column), time):
            errors["time"] = [f"its format and zone are not those of the feature {time.column!r}, which is the same column"]
        directed = [name for name, keys in loaded["features"].items() if keys.get("monotonic")] if task == "multiclass" else []
        if directed:
            wrong = {name: {"monotonic": ["means something for two classes and for numbers only"]} for name in directed}
            raise ValidationError({**errors, "features": wrong})
        if missing := sorted(set(loaded.get("missing") or ()) & set(classes or ())):
            errors["missing"] = [f"{', '.join(missing)} is among the classes"]
        if errors:
            raise ValidationError(errors)

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> RowSchema:
        features = tuple(Feature(name, **tuples(keys)) for name, keys in loaded.pop("features").items())
        try:
            return RowSchema(features, **tuples(loaded))
        except SchemaError as error:
            raise ValidationError(str(error)) from error


def _reads_otherwise(feature: dict[str, Any] | None, time: TimeColumn) -> bool:
    """Return whether the feature of the same column has times that are written in another way."""
    return (
        feature is not None and feature["kind"] == "datetime" and (feature.get("format"), feature.get("zone")) != (time.format, time.zone)
    )


class LabelKeys(Keys):
    """When labels come."""

    delay = DurationOrCount("rows")
    too_late = Duration()
    own_id = choice("equal", "all")
    coverage = share()

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> policies.LabelPolicy:
        delay = loaded.pop("delay", None)
        if isinstance(delay, int):
            return policies.LabelPolicy(delay=None, delay_rows=delay, **loaded)
        return policies.LabelPolicy(**loaded) if delay is None else policies.LabelPolicy(delay=delay, **loaded)


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

    act = choice("auto", "notify")
    schedule = Duration(allow_none=True)
    min_new_labels = fields.Integer(strict=True, allow_none=True, validate=validate.Range(min=1))
    on_performance = fields.Boolean()
    on_drift = fields.Boolean()
    cool_down = Duration()
    budget_per_week = count(0)
    gate = fields.Nested(GateKeys)
    probation = fields.Nested(ProbationKeys)

    @post_load(pass_original=True)
    def _make(self, loaded: dict[str, Any], original: dict[str, Any], **kwargs: Any) -> policies.RetrainingPolicy:
        written = {name for name, value in loaded.items() if value is not None}
        if "rows" not in original.get("gate", {}):
            written.discard("gate")
        return policies.RetrainingPolicy(**loaded, written=frozenset(written))


class RetentionKeys(Keys):
    """How long the log keeps rows, and how many generations keep their files."""

    makes = policies.RetentionPolicy
    log = Duration()
    versions = count()


class ReadKeys(Keys):
    """How the files of rows are written."""

    makes = FileFormat
    delimiter = fields.String(validate=validate.Length(equal=1))
    decimal = choice(".", ",")
    thousands = fields.String(allow_none=True, validate=validate.OneOf([*THOUSANDS], error="{input!r} is none of: {choices}"))
    encoding = fields.String()
    quote = fields.String(validate=validate.OneOf([*QUOTES], error="{input!r} is none of: {choices}"))
    sheet = fields.String(allow_none=True, validate=validate.Length(min=1))

    @validates_schema
    def _fits_together(self, loaded: dict[str, Any], **kwargs: Any) -> None:
        errors: dict[str, list[str]] = {}
        delimiter, encoding = loaded.get("delimiter", PLAIN.delimiter), loaded.get("encoding", PLAIN.encoding)
        if delimiter.isalnum() or delimiter in "\r\n.-+" or delimiter == loaded.get("quote", PLAIN.quote):
            errors["delimiter"] = [f"{delimiter!r} cannot part cells; write ',', ';', '|' or \"\\t\""]
        if loaded.get("thousands") is not None and loaded["thousands"] == loaded.get("decimal", PLAIN.decimal):
            errors["thousands"] = ["is the decimal mark as well"]
        if not is_text_encoding(encoding):
            errors["encoding"] = [f"{encoding!r} is no encoding that is known; write utf-8, latin-1, cp1252 or utf-16, say"]
        if errors:
            raise ValidationError(errors)


def _wrong_metric(metric: str, task: str, fitting: list[str]) -> str | None:
    if ":" in metric:
        return wrong_factory(metric, "metric")
    if metric in fitting:
        return None
    without = " without training.costs" if metric == COST and task != "regression" else ""
    return f"{metric!r} is no metric of a {task} task{without}; there are {', '.join(fitting)}, and module:function for one of your own"


class ModelKeys(Keys):
    """A whole model file."""

    model = fields.String(
        required=True,
        validate=validate.Regexp(
            NAME, error="{input!r} is no model name: lower-case letters, digits, . _ -, at most 64, a letter or digit first"
        ),
    )
    data = DataField(allow_none=True)
    read = section(ReadKeys)
    schema = fields.Nested(SchemaKeys, required=True)
    metric = fields.String(allow_none=True)
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
        training: policies.TrainingPolicy = loaded.get("training") or policies.TrainingPolicy()
        fitting = [name for name, m in METRICS.items() if schema.task in m.tasks] + ([COST] if training.costs else [])
        if (metric := loaded.get("metric")) is not None and (why := _wrong_metric(metric, schema.task, fitting)):
            errors["metric"] = [why]
        if wrong := wrong_segments(loaded.get("segments") or [], schema):
            errors["segments"] = wrong
        if loaded.get("watching") is not None and (wrong := unfit_watching(loaded["watching"], schema)):
            errors["watching"] = wrong
        if wrong_training := unfit_training(training, schema):
            errors["training"] = wrong_training
        if errors:
            raise ValidationError(errors)

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        training, retraining = loaded.get("training") or policies.TrainingPolicy(), loaded.get("retraining") or policies.RetrainingPolicy()
        if training.members > 1:
            loaded["retraining"] = retraining.growing((loaded.get("watching") or policies.WatchingPolicy()).every)
        has_costs = loaded.get("training") is not None and loaded["training"].costs is not None
        loaded["metric"] = loaded.get("metric") or (COST if has_costs else DEFAULT_METRIC[loaded["schema"].task])
        return tuples(loaded)
