"""Labels written into the log without the server, one or a file of them, by the rules the service has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from monitoring.admin.workbench import Workbench
from monitoring.batch.table_files import TableFile
from monitoring.errors import InputError
from service.columns.values import own_id, shown
from service.prediction_log.ids import IdMinter
from service.prediction_log.labels import LabelItem, LabelResult, LabelRules
from training.artifacts.signing import load_or_make_key
from training.clock import duration_us
from training.model_file.model_spec import ModelSpec
from training.schema.spellings import PLAIN, FileFormat, read_number

WRITTEN = ("matched", "duplicate")
MOST_REASONS = 10
_COLUMNS = ("label", "id", "own_id")
_REASONS = {
    "conflict": "another label is there already, and stays",
    "pending": "the prediction is not in the log yet; send it again",
    "too_late": "the prediction is older than labels.too_late",
    "ambiguous": "the own id stands for several rows that differ",
}


class Named(NamedTuple):
    """A label as it was given, and what names its prediction: our id or an own id."""

    label: object
    id: str | None = None
    own_id: object = None


@dataclass(slots=True)
class Labelled:
    """What became of labels: how many of each status, and why the first ones were not written."""

    model: str
    counts: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)

    @property
    def not_written(self) -> int:
        """Return how many labels are not in the log."""
        return sum(count for status, count in self.counts.items() if status not in WRITTEN)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object: the model, how many labels, how many of each status."""
        return {"model": self.model, "labels": sum(self.counts.values()), **self.counts}


def write_one(bench: Workbench, model: str, prediction_id: str, label: str) -> Labelled:
    """Write the label of one prediction, a number with a point."""
    return _write(bench, bench.spec(model), PLAIN, [[Named(label, prediction_id)]])


def write_file(bench: Workbench, model: str, path: Path) -> Labelled:
    """Write the labels of a table with the columns `label` and `id` or `own_id` in any case.

    It is written as the model file's ``read:`` says.

    Raises
    ------
    InputError
        A column is missing, or the file cannot be read.
    """
    spec = bench.spec(model)
    return _write(bench, spec, spec.read, _read(TableFile(path, spec.read, _COLUMNS)))


def _write(bench: Workbench, spec: ModelSpec, files: FileFormat, parts: Iterable[Sequence[Named]]) -> Labelled:
    """Write labels into the prediction log, part by part, each committed as a whole."""
    model, schema, labels = spec.model, spec.schema, spec.labels
    minter = IdMinter(load_or_make_key(bench.home.ensure().ids_key))
    too_late_us, bucket_us = duration_us(labels.too_late), duration_us(spec.watching.bucket)
    rules = LabelRules(schema.task, schema.classes, too_late_us or None, labels.own_id == "all", schema.missing, bucket_us)
    done = Labelled(model)
    for part in parts:
        items = [_item(named, minter, None if schema.is_classification else files) for named in part]
        for named, item, result in zip(part, items, bench.log.label(model, items, bench.now(), rules=rules), strict=True):
            done.counts[result.status] += 1
            if result.status not in WRITTEN and len(done.reasons) < MOST_REASONS:
                done.reasons.append(f"{shown(named.id or named.own_id)}: {_reason(model, named, item, result)}")
    return done


def _read(table: TableFile) -> Iterator[list[Named]]:
    """Read labels a part at a time."""
    names = table.schema.names
    present = {wanted: name for wanted in _COLUMNS if (name := _column(wanted, names)) is not None}
    if "label" not in present or not {"id", "own_id"} & set(present):
        raise InputError(f"{table.path} needs the columns label and id (or own_id); it has {', '.join(sorted(names)) or 'none'}")
    for piece in table.pieces():
        columns = [piece[present[name]].to_pylist() if name in present else [None] * piece.num_rows for name in _COLUMNS]
        yield [Named(label, None if ours in (None, "") else str(ours), own) for label, ours, own in zip(*columns, strict=True)]


def _column(wanted: str, names: Sequence[str]) -> str | None:
    """Return the column of that name, or the only one of that name in other letters."""
    alike = [name for name in names if name.strip().casefold() == wanted]
    return wanted if wanted in names else alike[0] if len(alike) == 1 else None


def _item(named: Named, minter: IdMinter, numbers: FileFormat | None) -> LabelItem:
    """Return a label with its prediction; text is read as a number where `numbers` says how numbers are written."""
    label = named.label
    with suppress(ValueError):
        if numbers is not None and isinstance(label, str):
            label = read_number(label, files=numbers)
        elif isinstance(label, Decimal):
            label = float(label)
    if named.id is not None:
        return LabelItem(label, minter.parse(named.id))
    with suppress(ValueError):
        return LabelItem(label, None, own_id(named.own_id))
    return LabelItem(label)


def _reason(model: str, named: Named, item: LabelItem, result: LabelResult) -> str:
    if result.status == "unknown":
        if named.id is not None and item.id is None:
            return "this is no prediction id of this home"
        if named.id is None and item.own_id is None:
            return "names no prediction"
        return f"no prediction of {model} has it"
    return result.reason or _REASONS.get(result.status, result.status)
