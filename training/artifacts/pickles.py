"""Read the model and the golden rows of a folder whose bytes were verified; no other module unpickles anything."""

import warnings
from pathlib import Path
from typing import Any, Literal

from joblib.numpy_pickle import NumpyUnpickler
from joblib.numpy_pickle_utils import _validate_fileobject_and_memmap as open_pickle

from training.artifacts.golden_rows import Golden
from training.compiled.compiled_model import CompiledModel
from training.fitting.fitted_model import FittedModel
from training.json_text import from_text
from training.policies import Original
from training.schema.schema import Schema

MODEL, COMPILED, GOLDEN, ORIGINAL_FILE = "model.joblib", "compiled.joblib", "golden.json", "original.joblib"

PICKLED = {
    "training.compiled.compiled_model.CompiledModel": ("training.compiled.CompiledModel",),
    "training.compiled.linear.ConstantEngine": ("training.compiled_linear.ConstantEngine",),
    "training.compiled.linear.LinearEngine": ("training.compiled_linear.LinearEngine",),
    "training.compiled.parity.ParityReport": ("training.parity.ParityReport",),
    "training.compiled.preparation.Categories": ("training.compiled_preparation.Categories",),
    "training.compiled.preparation.Lookup": ("training.compiled_preparation.Lookup",),
    "training.compiled.preparation.Numbers": ("training.compiled_preparation.Numbers",),
    "training.compiled.tree_walk.Bitsets": ("training.compiled_walkers.Bitsets",),
    "training.compiled.tree_walk.BoostingWalker": ("training.compiled_walkers.BoostingWalker",),
    "training.compiled.tree_walk.ForestWalker": ("training.compiled_walkers.ForestWalker",),
    "training.compiled.trees.TreeEngine": ("training.compiled_trees.TreeEngine",),
    "training.fitting.calibration.CalibratedPipeline": ("training.calibration.CalibratedPipeline",),
    "training.fitting.own_estimator.OwnEstimator": (),
    "training.fitting.preprocessing.CategoryFiller": ("training.preprocessing.CategoryFiller",),
    "training.fitting.preprocessing.DateParts": ("training.preprocessing.DateParts",),
    "training.fitting.preprocessing.OutlierClipper": ("training.preprocessing.OutlierClipper",),
}
"""Our classes that artifacts pickle, by import path, each with the paths that older artifacts have for it."""

_MOVED = {former: current for current, formers in PICKLED.items() for former in formers}


class ArtifactUnpickler(NumpyUnpickler):
    """Find our classes where they lie now, by the paths under which older artifacts have them."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the class or function of a pickled path; what is not ours is found where it says."""
        moved = _MOVED.get(f"{module}.{name}")
        return super().find_class(*((module, name) if moved is None else moved.rsplit(".", 1)))


def read_pickle(path: Path, mmap_mode: Literal["r", "c"] | None = None) -> Any:
    """Unpickle a file as `joblib.load` does, our classes that moved included.

    Parameters
    ----------
    mmap_mode
        ``r`` maps arrays read-only from the file unless it is compressed, ``c`` so that what is written to stays in this process; None
        reads them into memory.
    """
    with path.open("rb") as file, open_pickle(file, str(path), mmap_mode) as (content, mode):
        return ArtifactUnpickler(str(path), content, ensure_native_byte_order=mmap_mode is None, mmap_mode=mode).load()


def load_model(folder: Path, schema: Schema) -> FittedModel:
    """Unpickle a model, its arrays memory-mapped unless the file is compressed.

    They are mapped copy-on-write: some estimators, such as scikit-learn's SVC, refuse to predict from arrays they may not write to.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other versions of scikit-learn are judged by the golden rows, compressed files are not mapped
        return FittedModel.from_pickle(read_pickle(folder / MODEL, "c"), schema)


def load_compiled(folder: Path) -> CompiledModel | None:
    """Unpickle the compiled form of a model, large arrays memory-mapped; None where there is none."""
    path = folder / COMPILED
    return CompiledModel.from_pickle(read_pickle(path, "r")) if path.exists() else None


def load_original(folder: Path) -> Original:
    """Unpickle what an imported model was before it was fitted."""
    path = folder / ORIGINAL_FILE
    stored = read_pickle(path)
    classes = stored["classes"]
    return Original(stored["estimator"], None if classes is None else tuple(classes), stored["dtype"], path.read_bytes())


def read_golden(folder: Path) -> Golden:
    """Read the golden rows."""
    return Golden.from_dict(from_text((folder / GOLDEN).read_bytes()))
