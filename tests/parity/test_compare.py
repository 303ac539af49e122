"""tools/compare_with_transformers.py, on a small model with random weights."""

import compare_with_transformers
import pytest

from tests.checkpoints import make_checkpoint
from tests.helpers import CONFIGS

PROBLEMS = 11  # the last batch is not full


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    fields = {
        "model.checkpoint": make_checkpoint(tmp_path_factory.mktemp("models") / "tiny"),
        "task.max_prompt_tokens": 200,  # tokens are bytes
        "train.microbatch_groups": 4,
        "evaluation.test_problems": PROBLEMS,
        "evaluation.prompts_per_batch": 8,
    }
    return [f"--config={CONFIGS / 'smollm2_135m.py'}", *(f"--config.{name}={value}" for name, value in fields.items())]


def test_all_are_the_same(flags, capsys):
    assert compare_with_transformers.main(flags) == 0
    assert capsys.readouterr().out == f"{PROBLEMS} of {PROBLEMS} greedy completions are the same token for token\n"


def test_one_differs(flags, capsys, monkeypatch):
    theirs = compare_with_transformers._theirs

    def spoiled(*arguments):
        completions = theirs(*arguments)
        completions[3][-1] += 1
        return completions

    monkeypatch.setattr(compare_with_transformers, "_theirs", spoiled)
    assert compare_with_transformers.main(flags) == 1
    first, ours, of_transformers = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{PROBLEMS - 1} of {PROBLEMS} ")
    assert ", ours: " in ours
    assert ", theirs: " in of_transformers
