"""What artifacts pickle of ours, and where it is found when it has moved."""

import pickle
import pickletools
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from training.artifacts.pickles import PICKLED, ArtifactUnpickler, read_pickle
from training.compiled.compiled_model import CompiledModel
from training.compiling.compiling import compile_model
from training.fitting.calibration import CalibratedPipeline
from training.fitting.candidates import baseline, candidates_for
from training.fitting.fitted_model import FittedModel
from training.fitting.search import fit
from training.model_file.model_spec import ModelSpec
from training.schema.rows import Rows

AT_8E22DE5 = {
    "training.calibration.CalibratedPipeline",
    "training.compiled.CompiledModel",
    "training.compiled_linear.ConstantEngine",
    "training.compiled_linear.LinearEngine",
    "training.compiled_preparation.Categories",
    "training.compiled_preparation.Lookup",
    "training.compiled_preparation.Numbers",
    "training.compiled_trees.TreeEngine",
    "training.compiled_walkers.Bitsets",
    "training.compiled_walkers.BoostingWalker",
    "training.compiled_walkers.ForestWalker",
    "training.parity.ParityReport",
    "training.preprocessing.CategoryFiller",
    "training.preprocessing.DateParts",
    "training.preprocessing.OutlierClipper",
}
IN_ROOMS = {
    "training.compiled.compiled_model.CompiledModel",
    "training.compiled.linear.ConstantEngine",
    "training.compiled.linear.LinearEngine",
    "training.compiled.parity.ParityReport",
    "training.compiled.preparation.Categories",
    "training.compiled.preparation.Lookup",
    "training.compiled.preparation.Numbers",
    "training.compiled.tree_walk.Bitsets",
    "training.compiled.tree_walk.BoostingWalker",
    "training.compiled.tree_walk.ForestWalker",
    "training.compiled.trees.TreeEngine",
    "training.fitting.calibration.CalibratedPipeline",
    "training.fitting.preprocessing.CategoryFiller",
    "training.fitting.preprocessing.DateParts",
    "training.fitting.preprocessing.OutlierClipper",
}
LATER = {"training.fitting.own_estimator.OwnEstimator"}
EVER_PICKLED = AT_8E22DE5 | IN_ROOMS | LATER
"""Every path that an artifact has had; paths are added here and none is ever taken away."""


def paths_in(pickled: object) -> set[str]:
    """Return the paths of our classes and functions in what is pickled; protocol 2 writes each in one piece."""
    named = {str(argument) for code, argument, _ in pickletools.genops(pickle.dumps(pickled, protocol=2)) if code.name == "GLOBAL"}
    return {path.replace(" ", ".") for path in named if path.startswith(("training", "service", "monitoring"))}


@pytest.fixture(scope="module")
def pickled_now() -> Callable[[FittedModel], set[str]]:
    """What a model and its compiled form pickle, calibrated or not."""

    def collect(model: FittedModel) -> set[str]:
        calibrated = FittedModel(CalibratedPipeline(model.pipeline, 1.1, 0.1), model.schema, model.classes)
        forms = [model] if model.classes is None else [model, calibrated]
        compiled = [compile_model(form) for form in forms]
        assert all(isinstance(form, CompiledModel) for form in compiled)
        return set().union(*(paths_in(form.to_pickle()) for form in (*forms, *compiled)))

    return collect


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("family", ["linear", "forest", "boosting", "baseline"])
def test_a_path_that_an_artifact_pickles_is_listed(
    family: str, task: str, spec_of: Callable[..., ModelSpec], rows_of: Callable[..., Rows], pickled_now: Callable[..., set[str]]
) -> None:
    schema = spec_of(task).schema
    candidates = [baseline(0), *candidates_for(task, [family], 0)]
    model = fit(candidates[-1], rows_of(schema), schema)

    paths = pickled_now(model)

    assert paths
    assert paths <= PICKLED.keys()


def test_a_listed_path_is_one_that_was_pickled() -> None:
    assert set(PICKLED) | {former for formers in PICKLED.values() for former in formers} == EVER_PICKLED


@pytest.mark.parametrize("path", sorted(EVER_PICKLED))
def test_a_path_ever_pickled_is_found(path: str) -> None:
    module, name = path.rsplit(".", 1)
    current = next(now for now, formers in PICKLED.items() if path in (now, *formers))

    resolved = ArtifactUnpickler("", BytesIO(), ensure_native_byte_order=False).find_class(module, name)

    assert resolved is getattr(import_module(current.rpartition(".")[0]), name)


def test_a_class_that_is_not_ours_is_found_where_it_says() -> None:
    reader = ArtifactUnpickler("", BytesIO(), ensure_native_byte_order=False)

    assert reader.find_class("pathlib", "Path") is Path
    with pytest.raises(ModuleNotFoundError):
        reader.find_class("training.calibration", "NeverThere")


@pytest.mark.parametrize("compress", [0, 1], ids=["plain", "compressed"])
@pytest.mark.parametrize("mode", ["r", "c", None], ids=["mapped", "mapped for writing", "in memory"])
@pytest.mark.filterwarnings("ignore:.*is not compatible with compressed file")
def test_a_file_is_read_as_joblib_reads_it(compress: int, mode: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.joblib"
    joblib.dump({"numbers": np.arange(5.0), "texts": np.array(["a", None], object)}, path, compress=compress)

    read, expected = read_pickle(path, mode), joblib.load(path, mmap_mode=mode)

    assert {name: type(value) for name, value in read.items()} == {name: type(value) for name, value in expected.items()}
    assert isinstance(read["numbers"], np.memmap) == (compress == 0 and mode is not None)
    assert all(np.array_equal(read[name], expected[name]) for name in expected)
