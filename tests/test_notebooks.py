"""The notebooks of docs/ run as they stand, cell after cell in one process, and what they register can be served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitoring.admin.manual_actions import promote
from monitoring.admin.workbench import Workbench
from training.result import TrainingResult

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))


def run_cells(path: Path) -> dict[str, object]:
    """Execute the code cells of a notebook in their order; return the names they leave."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__main__"}
    for place, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}, cell {place}", "exec"), names)
    return names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_version_can_be_promoted(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    names = run_cells(path)

    result = names["result"]
    assert isinstance(result, TrainingResult)
    bench = Workbench({"EVERGREEN_HOME": str(tmp_path / "rides-home")})
    promote(bench, "rides", result.version, "as the notebook says")
    loaded = bench.load(bench.registry.version("rides", result.version))
    assert loaded.manifest.asked is not None
    assert set(loaded.manifest.asked) == {"class_weight", "half_life", "costs", "monotonic"}
    bench.close()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]

    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


def test_there_is_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["notebook.ipynb"]
