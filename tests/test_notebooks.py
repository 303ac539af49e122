"""Every notebook runs from top to bottom, on less than a reader sees, and leaves no files here."""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from grpo_jax.config import to_dict
from grpo_jax.config.smoke import TIES
from grpo_jax.studies import load_study
from tests.checkpoints import make_checkpoint
from tests.compilation import XLA_FLAGS
from tests.helpers import ROOT, TINY
from tests.reporting.test_study import write_run_into

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# A run that is hardly larger than those of other tests: what the tour computes by hand holds of any policy that is
# sometimes right.
SHORT = TINY | {"task.operations": 2, "rollout.max_new_tokens": 9, "train.steps": 8}  # has enough problems for a reader

# Two steps of a language model.
STEPS = {
    "rollout.prompts_per_step": 4,
    "rollout.prompts_per_batch": 4,
    "rollout.max_new_tokens": 16,
    "train.steps": 2,
    "optimizer.warmup_updates": 0,
    "train.microbatch_groups": 2,
    "evaluation.every": 1,
    "evaluation.validation_problems": 2,
    "evaluation.test_problems": 2,
    "evaluation.test_samples": 1,
    "evaluation.prompts_per_batch": 2,
    "evaluation.bootstrap": 20,
    "checkpoint.every": 2,
    "logging.arms_every": 0,
}


def cells(notebook, kind="code"):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def gsm8k(tmp_path):
    """Return what stands in for Qwen and GSM8K. No random policy is right, so its completions are ranked at random."""
    records = [{"question": f"{n} + {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in range(64)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = {"task.train.kind": "jsonl", "task.train.path": str(path), "task.train.split": "", "task.test": "none"}
    reward = {"task.reward.terms": {"numeric": 1.0, TIES: 1e-3}}
    return {"model.architecture": "none", "model.compute_dtype": "float32", **STEPS, **source, **reward}


def finished_study(folder, notebook):
    """Write the study of the notebook, with runs that are finished: nothing is trained."""
    (text,) = (cell.source for cell in cells(notebook) if "def get_study" in cell.source)
    folder.mkdir()
    (folder / "small.py").write_text(text.partition("\n")[2])
    for run in load_study(folder / "small.py").runs():
        config = run.arm.configuration(run.seed)
        directory = run.directory(folder / "small")
        write_run_into(directory, run.seed, config.rollout.group_size)
        (directory / "config.json").write_text(json.dumps(to_dict(config)))
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own event loops
def test_they_run(monkeypatch, tmp_path):
    """One kernel runs all of them, since most of a notebook's time here is that of its imports."""
    monkeypatch.setenv("XLA_FLAGS", XLA_FLAGS)  # one device, as a person has
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    read = {path.stem: nbformat.read(path, as_version=4) for path in NOTEBOOKS}
    model = make_checkpoint(tmp_path / "model")
    own = STEPS | {"evaluation.test_problems": 0, "task.reward.terms": {"numeric": 1.0, "brevity:brevity": 0.1}}
    stand_ins = {
        "two_grpo": {"overrides": SHORT},
        "language_model": {"MODEL": str(model), "workdir": tmp_path / "gsm8k", "overrides": gsm8k(tmp_path)},
        "your_task": {"MODEL": str(model), "folder": tmp_path / "own", "overrides": own},
        "reading_a_study": {"folder": finished_study(tmp_path / "studies", read["reading_a_study"])},
    }
    assert set(stand_ins) == set(read)
    whole = nbformat.v4.new_notebook()
    for name, notebook in read.items():
        (place,) = (at for at, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
        values = "".join(f"{variable} = {value!r}\n" for variable, value in stand_ins[name].items())
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell("from pathlib import PosixPath\n" + values))
        whole.cells += [nbformat.v4.new_code_cell("%reset -f"), *notebook.cells]
    NotebookClient(whole, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
    printed = {
        name: "".join(output.get("text", "") for cell in cells(notebook) for output in cell.outputs)
        for name, notebook in read.items()
    }
    assert "distance between the two" in printed["two_grpo"]
    assert "'model.safetensors'" in printed["language_model"]
    assert "two_grpo: of the advantages" in printed["your_task"]
    assert "15 finished" in printed["reading_a_study"]
    assert ": resolved" in printed["reading_a_study"]


def test_they_install_alike():
    first = {cells(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}
    assert len(first) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
