"""Predictions drawn to be labelled, without the server, written as a file that `evergreen label --file` reads when it is filled in."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitoring.admin.manual_actions import read_clock
from monitoring.admin.workbench import Workbench
from monitoring.errors import InputError
from service.label_requests.drawing import KEY_LETTERS, MOST_DRAWN, LabelRequest, LabelRequests, Wanted, is_key
from service.label_requests.written import rule_of, written_row, written_time
from training.clock import to_us
from training.model_file.model_spec import ModelSpec
from training.schema.spellings import FileFormat

TAKEN = ("id", "label", "own_id", "time", "version", "prediction")


def draw_to_file(bench: Workbench, model: str, k: int, key: str | None, window: tuple[str | None, str | None], out: Path) -> dict[str, Any]:
    """Draw predictions of a window and write them to a CSV file with an empty column `label`, as the model file's ``read:`` says.

    Parameters
    ----------
    key
        Names the request; None for the name of the file.
    window
        Its beginning and its end, as written on the command line; None for the default.

    Returns
    -------
    The facts of the request.

    Raises
    ------
    InputError
        There is such a file already (it may be half filled in), or a value cannot be used.
    LabelRequestConflictError, NothingToDrawError
        As for `LabelRequests.draw`.
    """
    spec = bench.spec(model)
    name = out.stem if key is None else key
    if not is_key(name):
        wanted = f"1 to {KEY_LETTERS} of A-Z, a-z, 0-9, '.', '_' and '-'"
        raise InputError(f"{name!r} is no key of a label request: {wanted}" + ("; say one with --key" if key is None else ""))
    if not 1 <= k <= MOST_DRAWN:
        raise InputError(f"-k {k}: want a number from 1 to {MOST_DRAWN}")
    if out.exists():
        raise InputError(f"{out} is there already, and may be filled in: name another file")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {out.parent}")
    start_us, end_us = (None if text is None else to_us(read_clock(bench, model, text)) for text in window)
    requests = LabelRequests(bench.database, bench.now)
    request = requests.draw(model, Wanted(name, k, start_us, end_us), rule_of(spec))
    rows = [_cells(written_row(spec.schema, each)) for each in requests.predictions(request) if each.label is None]
    if not rows:
        raise InputError(f"label request {name!r} of {model} was drawn before, and nothing of it is open: take another key")
    with out.open("x", encoding=spec.read.encoding, errors="backslashreplace", newline="") as file:
        file.write(as_csv(rows, spec.read))
    return {**_facts(spec, request), "open": len(rows), "file": str(out)}


def list_requests(bench: Workbench, model: str) -> list[dict[str, Any]]:
    """Return the requests of a model, the newest first, with how many of their predictions have a label by now."""
    spec, requests = bench.spec(model), LabelRequests(bench.database, bench.now)
    return [{**_facts(spec, each), "answered": answered, "open": left} for each, answered, left in requests.progress(model)]


def as_csv(rows: list[dict[str, Any]], files: FileFormat) -> str:
    """Write rows as a table whose cells are parted, quoted and, where they are numbers, written as a model file says.

    Examples
    --------
    >>> as_csv([{"id": "a-0", "label": None, "temp": 1.5}, {"id": "a-1", "town": "x;y"}], FileFormat(delimiter=";", decimal=","))
    'id;label;temp;town\\na-0;;1,5;\\na-1;;;"x;y"\\n'
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=files.delimiter, quotechar=files.quote, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name), files) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: object, files: FileFormat) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace(".", files.decimal) if isinstance(value, float) else str(value)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a drawn prediction in columns; features that are called as one of ours are called `feature_<name>`."""
    answered = {"prediction": row.get("value", row.get("label"))}
    chances = {f"probability_{name}": chance for name, chance in row.get("probabilities", {}).items()}
    taken = {*TAKEN, *chances}
    features = {f"feature_{name}" if name in taken else name: value for name, value in row["features"].items()}
    own_id = {"own_id": row["own_id"]} if "own_id" in row else {}
    return {"id": row["id"], "label": None, **own_id, "time": row["time"], **features, **answered, **chances, "version": row["version"]}


def _facts(spec: ModelSpec, request: LabelRequest) -> dict[str, Any]:
    window = {"from": written_time(spec.schema, request.start_us), "to": written_time(spec.schema, request.end_us)}
    sizes = {"eligible": request.eligible, "drawn": request.drawn, "probability": request.probability}
    return {"model": request.model, "key": request.key, "k": request.k, **window, **sizes}
