"""The keys of ``training:`` in a model file, and what of them means nothing for a schema."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, post_load, validate

from training import policies
from training.model_file.candidates import CandidateField, refuse_twice
from training.model_file.fields import Cost, Duration, Keys, Window, choice, count, tuples
from training.schema.schema import Schema as RowSchema


class TrainingKeys(Keys):
    """How a version is made."""

    candidates = fields.List(CandidateField(), validate=[validate.Length(min=1), refuse_twice])
    budget = Cost()
    window = Window(allow_none=True)
    holdout = fields.Float(validate=validate.Range(0.05, 0.5))
    seed = count(0)
    calibrate = fields.Boolean()
    class_weight = choice("balanced", allow_none=True)
    half_life = Duration(allow_none=True)
    split = choice("time", "random")
    search = choice("halving", "optuna")
    members = count(1, policies.MOST_MEMBERS)
    map = fields.Boolean()
    costs = fields.List(fields.List(fields.Float(allow_nan=False)), allow_none=True)
    threshold = fields.Float(allow_none=True, validate=validate.Range(0.0, 1.0, min_inclusive=False, max_inclusive=False))

    @post_load
    def _make(self, loaded: dict[str, Any], **kwargs: Any) -> policies.TrainingPolicy:
        if loaded.get("costs") is not None:
            loaded["costs"] = [tuple(row) for row in loaded["costs"]]
        if "map" in loaded:
            loaded["is_mapped"] = loaded.pop("map")
        budget = loaded.pop("budget", None)
        if isinstance(budget, int):
            loaded["budget"] = policies.Budget(None, budget)
        elif budget is not None:
            loaded["budget"] = policies.Budget(budget.total_seconds(), None)
        return policies.TrainingPolicy(**tuples(loaded), names_candidates="candidates" in loaded)


def unfit_training(training: policies.TrainingPolicy, schema: RowSchema) -> dict[str, list[str]]:
    """Return what is asked of training that means nothing for the schema."""
    errors = {}
    if training.class_weight is not None and not schema.is_classification:
        errors["class_weight"] = ["means nothing for a regression"]
    if training.split == "random" and schema.time is not None:
        errors["split"] = ["random is for tables without a time; delete this line, or schema.time"]
    if training.half_life is not None and schema.time is None:
        errors["half_life"] = ["needs schema.time: without a time column rows have no age"]
    if schema.monotonic and not any(each in policies.MONOTONIC for each in training.candidates):
        able = " and ".join(policies.MONOTONIC)
        errors["candidates"] = [f"none of them can keep {', '.join(schema.monotonic)} monotonic; {able} can"]
    if training.costs is not None and (why := _wrong_costs(training.costs, schema)):
        errors["costs"] = [why]
    if training.threshold is not None and schema.task != "binary":
        errors["threshold"] = [f"means nothing for a {schema.task} task: of two classes one is decided by it"]
    elif training.threshold is not None and training.costs is not None:
        errors["threshold"] = ["stands beside costs, which decide already; delete one of them"]
    return errors


def _wrong_costs(costs: tuple[tuple[float, ...], ...], schema: RowSchema) -> str | None:
    classes = schema.classes
    if classes is None:
        return "need schema.classes: a row and a column for each, in that order"
    if [len(row) for row in costs] != [len(classes)] * len(classes):
        lengths = ", ".join(str(len(row)) for row in costs)
        return f"are {len(costs)} rows of {lengths} numbers, wanted {len(classes)} rows (what is true) of {len(classes)} (what is decided)"
    for true, row in enumerate(costs):
        for decided, cost in enumerate(row):
            if decided != true and cost <= row[true]:
                return (
                    f"deciding {classes[decided]} costs {cost:g} where {classes[true]} is true, no more than deciding right ({row[true]:g})"
                )
    return None
