"""What was trained already: policies that learn from the same rows by the same model file share the fits."""

from __future__ import annotations

import hashlib
import os
import pickle
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.dataset.dataset import fingerprint
from training.json_text import to_text
from training.model_file.model_spec import ModelSpec
from training.publishing import Destination, publish_again
from training.result import TrainingResult
from training.run import train
from training.schema.rows import Rows

NOT_LEARNED_BY = ("retraining", "retention", "data")
"""Keys of a model file that say nothing of how a version is made."""


@dataclass(frozen=True, slots=True)
class KeptTrainings:
    """Trains as `training.run.train` does, and what was trained before is only saved again: another version, of the same fits.

    Attributes
    ----------
    folder
        Where results are kept; may be shared by processes.
    """

    folder: Path

    def __call__(self, rows: Rows, spec: ModelSpec, **how: Any) -> TrainingResult:
        """Train, or save again."""
        path = self.folder / f"{self.key_of(rows, spec, is_by_hand=how.get('right') is None)}.pickle"
        if path.exists():
            again: TrainingResult = pickle.loads(path.read_bytes())
            to = {name: how.get(name) for name in ("home", "registry", "parent", "now", "right")}
            return publish_again(again, spec, Destination(who=how.get("who", "train"), why=how.get("why", "trained"), **to))
        result = train(rows, spec, **how)
        with suppress(pickle.PicklingError, AttributeError, TypeError):  # a user's own estimator may not let itself be kept
            content = pickle.dumps(result)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(content)
            part.replace(path)
        return result

    @staticmethod
    def key_of(rows: Rows, spec: ModelSpec, *, is_by_hand: bool) -> str:
        """Return a digest of all that a version is made of."""
        keys = {name: value for name, value in yaml.safe_load(spec.text).items() if name not in NOT_LEARNED_BY}
        text = to_text({"keys": yaml.safe_dump(keys), "rows": fingerprint(rows), "is_by_hand": is_by_hand})
        original = spec.training.original
        return hashlib.sha256(text.encode() + (b"" if original is None else original.content)).hexdigest()
