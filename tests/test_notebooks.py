"""Every notebook runs from top to bottom, with less training than a reader sees, and leaves no files here."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from tests.compilation import XLA_FLAGS
from tests.helpers import ROOT, TINY

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# A run that is hardly larger than those of other tests: what a notebook computes by hand holds of any policy that is
# sometimes right.
OVERRIDES = "overrides = {"
SHORT = TINY | {"task.operations": 2, "rollout.max_new_tokens": 9, "train.steps": 8}  # has enough problems for a reader


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of Jupyter's own event loops
def test_it_runs(path, monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", XLA_FLAGS)  # one device, as a person has
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    (trains,) = (cell for cell in notebook.cells if cell.cell_type == "code" and OVERRIDES in cell.source)
    trains.source = trains.source.replace("\nconfig = load(", f"\noverrides |= {SHORT!r}\nconfig = load(")
    assert "overrides |=" in trains.source
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "distance between the two" in printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
