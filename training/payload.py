"""Read the model and the golden rows of a folder whose bytes were verified; no other module unpickles anything."""

import warnings
from pathlib import Path

import joblib

from training.compiled import CompiledModel
from training.documents import from_text
from training.golden import Golden
from training.model import FittedModel
from training.schema import Schema

MODEL, COMPILED, GOLDEN = "model.joblib", "compiled.joblib", "golden.json"


def load_model(folder: Path, schema: Schema) -> FittedModel:
    """Unpickle a model, its arrays memory-mapped and read-only unless the file is compressed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other versions of scikit-learn are judged by the golden rows, compressed files are not mapped
        return FittedModel.from_payload(joblib.load(folder / MODEL, mmap_mode="r"), schema)


def load_compiled(folder: Path) -> CompiledModel | None:
    """Unpickle the compiled form of a model, large arrays memory-mapped; None where there is none."""
    path = folder / COMPILED
    return CompiledModel.from_payload(joblib.load(path, mmap_mode="r")) if path.exists() else None


def read_golden(folder: Path) -> Golden:
    """Read the golden rows."""
    return Golden.from_dict(from_text((folder / GOLDEN).read_bytes()))
