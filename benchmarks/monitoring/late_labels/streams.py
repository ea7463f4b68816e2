"""The streams: the example's year and four real ones, cut to what can be run in minutes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from training.clock import duration_us
from training.dataset.dataset import read_table
from training.model_file.model_spec import ModelSpec, parse_spec
from training.schema.rows import Rows

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "examples" / "bikes"))
import stream as bikes  # noqa: E402 - a script's own folder, not a package

EXAMPLE = "example"
EVERY_OF_EXAMPLE = 2  # of so many rows one is taken
HISTORY = 0.3  # share of a real table that is trained on first
LEAST_SHARE = 0.02  # of the rarest class that is called slow
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cut:
    """What is changed of a real stream's model file, and of how many rows one is taken.

    Attributes
    ----------
    labels
        Its `labels`, in time: how late labels are that count by rows cannot be measured.
    keys
        Others: the area under a curve of several versions' scores is that of none, and a quarter of the rows make a smaller gate.
    """

    labels: Mapping[str, str]
    every: int
    keys: Mapping[str, Any] = field(default_factory=dict)


CUTS = {
    "bank_marketing": Cut(
        {"delay": "4d", "too_late": "60d"},
        4,
        {"metric": "log_loss", "segments": [], "retraining": {"schedule": "56d", "budget_per_week": 100, "gate": {"rows": 400}}},
    ),
    "bike_sharing": Cut({"delay": "2d", "too_late": "40d"}, 2),
    "elec2": Cut({"delay": "1d", "too_late": "450d"}, 3),
    "kdd99": Cut({"delay": "1d", "too_late": "20d"}, 4, {"training": {"candidates": ["forest"]}}),
}
TRAINING = {"candidates": ["linear"], "budget": "2 fits"}
STREAMS = (EXAMPLE, *CUTS)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A model file, the rows that are trained on first, and those that come after."""

    spec: ModelSpec
    history: Rows
    live: Rows

    def is_slow(self, rows: Rows, share: float) -> Mask:
        """Return which rows are of the slow class, shape (n,)."""
        if not self.spec.schema.is_classification:
            least = np.quantile(self.live.labels.astype(np.float64), 1 - (share or 1 / 3))
            return np.asarray(rows.labels.astype(np.float64) > least)
        return np.asarray(rows.labels == slow_class(self.live))

    def thinned(self, share: float) -> Stream:
        """Return the stream of which the slow class is such a share: rows of it, or of the others, are left out at random."""
        if not share or not self.spec.schema.is_classification:
            return self
        rng = np.random.default_rng(7)
        parts = []
        slow = slow_class(self.live)
        has = float(np.mean(self.live.labels == slow))
        keeps = min(1.0, share / (1 - share) * (1 - has) / has), min(1.0, (1 - share) / share * has / (1 - has))
        for rows in (self.history, self.live):
            keep = rng.random(len(rows)) < np.where(rows.labels == slow, *keeps)
            parts.append(rows.take(keep))
        return replace(self, history=parts[0], live=parts[1])


def slow_class(rows: Rows) -> str:
    """Return the rarest class of at least 2 %."""
    names, numbers = np.unique(rows.labels.astype(str), return_counts=True)
    some = [(number, name) for name, number in zip(names.tolist(), numbers.tolist(), strict=True) if number >= LEAST_SHARE * len(rows)]
    return str(min(some)[1])


def load(name: str, *, is_short: bool = False) -> Stream | None:
    """Return a stream; None where its table is not there (EVERGREEN_TEST_DATA)."""
    stream = _example() if name == EXAMPLE else _real(name)
    if stream is None or not is_short:
        return stream
    cut = int(stream.live.time_us[0]) + 8 * duration_us(stream.spec.watching.every)
    return replace(stream, live=stream.live.between(0, cut))


def _example() -> Stream:
    spec = _spec((ROOT / "examples" / "bikes" / "model.yaml").read_text())
    parts = []
    with TemporaryDirectory(prefix="evergreen-late-labels-") as folder:
        for name, table in (("history", bikes.history(0)), ("live", bikes.live(0))):
            path = Path(folder) / f"{name}.csv"
            table.to_csv(path, index=False)
            parts.append(read_table(path, spec.schema, spec.read))
    history, live = (part.take(slice(None, None, EVERY_OF_EXAMPLE)) for part in parts)
    return Stream(spec, history, live)


def _real(name: str) -> Stream | None:
    table, cut = Path(os.environ.get("EVERGREEN_TEST_DATA", "")) / name / f"{name}.csv.gz", CUTS[name]
    if not table.exists():
        return None
    spec = _spec((ROOT / "examples" / "real" / f"{name}.yaml").read_text(), {"labels": cut.labels, **cut.keys})
    rows = read_table(table, spec.schema, spec.read).take(slice(None, None, cut.every))
    first = int(np.searchsorted(rows.time_us, rows.time_us[int(HISTORY * len(rows))], side="left"))
    return Stream(spec, rows.slice(0, first), rows.slice(first, len(rows)))


def _spec(text: str, changes: Mapping[str, Any] | None = None) -> ModelSpec:
    """Read a model file with few fits of one family, and a log that keeps all rows: neither is what is measured."""
    keys, changed = yaml.safe_load(text), dict(changes or {})
    keys["training"] |= TRAINING | changed.pop("training", {})
    return parse_spec(yaml.safe_dump(keys | changed | {"retention": {"log": "3000d"}}, sort_keys=False))
