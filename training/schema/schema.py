"""What a model eats and answers: features, target, task, time; the contract of its requests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from training.errors import SchemaError
from training.schema.feature import Feature
from training.schema.time_column import TimeColumn

if TYPE_CHECKING:
    import pandas as pd


Task = Literal["binary", "multiclass", "regression"]
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
_FIRST_ARRIVAL_US = 946_684_800_000_000  # 2000: no service answered before
_WHOLE = re.compile(r"-?\d+\.0*")


@dataclass(frozen=True)
class Schema:
    """Names, kinds and bounds of the features and the target: the contract of a model.

    `classes` are the declared ones only; what a version learned stands in its fitted model. `missing` are the texts of the target
    that mean that it is not known.
    """

    features: tuple[Feature, ...]
    target: str
    task: Task
    classes: tuple[str, ...] | None = None
    positive: str | None = None
    time: TimeColumn | None = None
    extra: Literal["ignore", "error"] = "ignore"
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.features:
            raise SchemaError("a schema needs at least one feature")
        if len(set(self.names)) != len(self.names):
            raise SchemaError("two features have the same name")
        if self.target in self.names:
            raise SchemaError(f"the target {self.target!r} is among the features")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all features, in schema order."""
        return tuple(f.name for f in self.features)

    @cached_property
    def by_name(self) -> Mapping[str, Feature]:
        """The features, by name."""
        return {f.name: f for f in self.features}

    @cached_property
    def request_names(self) -> tuple[str, ...]:
        """The columns of a table that comes without names: the features, then the time column where requests carry one."""
        time = self.event_time
        return self.names if time is None or time.column in self.by_name else (*self.names, time.column)

    def is_dated(self, microseconds: int) -> bool:
        """Return whether the time of a row says when it was: without a time column those of a table only count its rows.

        Examples
        --------
        >>> schema = Schema((Feature("x", "numeric"),), "y", "regression")
        >>> schema.is_dated(1_000_000), schema.is_dated(1_767_225_600_000_000)
        (False, True)
        """
        return self.time is not None or microseconds >= _FIRST_ARRIVAL_US

    @property
    def event_time(self) -> TimeColumn | None:
        """The time column, where requests carry it."""
        return self.time if self.time is not None and self.time.clock == "event" else None

    @cached_property
    def categorical_names(self) -> tuple[str, ...]:
        """The features whose columns are str or None."""
        return tuple(f.name for f in self.features if not f.is_number)

    @cached_property
    def monotonic(self) -> Mapping[str, int]:
        """Of the features that the answer must follow one way: 1 where it goes up with them, -1 where it goes down."""
        return {f.name: 1 if f.monotonic == "increasing" else -1 for f in self.features if f.monotonic is not None}

    @property
    def is_classification(self) -> bool:
        """Whether the target is a class."""
        return self.task != "regression"

    def feature(self, name: str) -> Feature:
        """Return the feature called `name`; raises KeyError."""
        return self.by_name[name]

    def classes_without_rows(self, labels: Iterable[Any]) -> tuple[str, ...]:
        """Return the declared classes that no label is of: a model fitted on them never answers these."""
        there = set(labels)
        return tuple(name for name in self.classes or () if name not in there)

    def order_classes(self, learned: Mapping[str, Any] | set[str] | tuple[str, ...] | list[str]) -> tuple[str, ...]:
        """Return declared and learned classes in their fixed order; of a binary model the positive one comes last."""
        extra = sorted(set(learned) - set(self.classes or ()))
        classes = [*(self.classes or ()), *extra]
        if self.task == "binary" and self.positive in classes:
            classes.remove(self.positive)
            classes.append(self.positive)
        return tuple(classes)

    def contract(self) -> dict[str, Any]:
        """Return what a request must look like: nothing that is learned, nor how it is learned or prepared, nor what files are made of."""
        whole = self.to_dict()
        if self.time is not None and self.time.columns:
            whole["time"].pop("columns")
        return whole | {"features": [{k: v for k, v in f.items() if k not in ("derive", "monotonic")} for f in whole["features"]]}

    @property
    def contract_hash(self) -> str:
        """The SHA-256 of the canonical JSON of the contract."""
        canonical = json.dumps(self.contract(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def breaks(self, other: Schema) -> list[str]:
        """Return in sentences which requests that this schema takes would break under the `other`; empty when none."""
        theirs = {f.name: f for f in other.features}
        out = [text for f in self.features if f.name in theirs for text in f.breaks(theirs[f.name])]
        gone = [n for n in self.names if n not in theirs]
        out += [f"{n}: is no feature any more, and extra columns are refused" for n in gone if other.extra == "error"]
        new = [f for f in other.features if f.name not in self.names and not f.nullable]
        out += [f"{f.name}: is new and required; requests without it are refused" for f in new]
        if self.extra == "ignore" and other.extra == "error":
            out.append("extra columns, ignored until now, are refused")
        if self.time != other.time and other.event_time is not None:
            out.append(f"{other.event_time.column}: the time column changes; requests must carry it as {other.event_time.kind}")
        if (self.target, self.task) != (other.target, other.task):
            out.append(f"the answer changes from {self.task} {self.target!r} to {other.task} {other.target!r}")
        if other.classes is not None and (lost := sorted(set(self.classes or ()) - set(other.classes))):
            out.append(f"{self.target}: labels refused from now on: {', '.join(lost)}")
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; equal schemas give equal JSON."""
        return {
            "features": [f.to_dict() for f in self.features],
            "target": self.target,
            "task": self.task,
            "classes": None if self.classes is None else list(self.classes),
            "positive": self.positive,
            "time": None if self.time is None else self.time.to_dict(),
            "extra": self.extra,
            **({"missing": list(self.missing)} if self.missing else {}),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Schema:
        """Read what `to_dict` wrote; raises SchemaError when it is something else."""
        try:
            return cls(
                tuple(_feature(f) for f in stored["features"]),
                stored["target"],
                stored["task"],
                None if stored["classes"] is None else tuple(stored["classes"]),
                stored["positive"],
                None if stored["time"] is None else TimeColumn.from_dict(stored["time"]),
                stored["extra"],
                tuple(stored.get("missing", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"this is not a stored schema: {error!r}") from error


def _feature(stored: Mapping[str, Any]) -> Feature:
    known = {f.name for f in fields(Feature)}
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k in known}
    return Feature(**arguments)


def normalise_label(value: object) -> str:
    """Return the one spelling of a class label, whatever JSON, YAML or a table made of it.

    Examples
    --------
    >>> normalise_label(True), normalise_label("True"), normalise_label(1.0), normalise_label("1.0"), normalise_label(-0.0)
    ('true', 'true', '1', '1', '0')
    """
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    text = str(value).strip()
    if text.casefold() in ("true", "false"):
        return text.casefold()
    if not _WHOLE.fullmatch(text):
        return text
    whole = text.split(".")[0]
    return "0" if whole == "-0" else whole


def frame(columns: Mapping[str, npt.NDArray[Any]], schema: Schema) -> pd.DataFrame:
    """Build the table a pipeline takes: float64 columns, and object columns of str or None for categories."""
    import pandas as pd  # a service of compiled models needs no table, and starts a third of a second sooner without

    arrays = {f.name: pd.Series(columns[f.name], dtype="float64" if f.is_number else object) for f in schema.features}
    return pd.DataFrame(arrays, copy=False)
