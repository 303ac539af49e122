"""`grpo doctor`: one page, a JSON file, and an exit code by severity."""

import json
import logging

import pytest

from grpo_jax.commands import doctor as command
from grpo_jax.config import load
from grpo_jax.doctor import Severity
from grpo_jax.doctor.examine import examine
from grpo_jax.doctor.findings import SECTIONS
from tests.helpers import CONFIGS, tiny_flags

TWO_GRPO = str(CONFIGS / "two_grpo.py")


def test_all_sections_of_a_run_with_one_fault(tmp_path, monkeypatch, capsys):
    """The fault is a learning rate. Nothing but the JSON file is written."""
    monkeypatch.chdir(tmp_path)
    flags = tiny_flags(optimizer__learning_rate=1.0)
    assert command.main([f"--config={TWO_GRPO}", *flags, "--json=found.json"]) == 1
    page = capsys.readouterr().out
    assert "  warning: optimizer.learning_rate=1: is" in page
    assert "A pair holds one right and one wrong completion with probability" in page
    assert "A step takes about" in page
    found = json.loads((tmp_path / "found.json").read_text())
    assert [section["name"] for section in found["sections"]] == list(SECTIONS)
    assert found["not_looked_at"] == []
    assert [len(one["completion"]) for one in found["tokens"]] == [len(one["logprobs"]) for one in found["tokens"]]
    assert len(found["tokens"]) == 8  # the prompts of a step
    findings = [finding for section in found["sections"] for finding in section["findings"]]
    assert [finding["severity"] for finding in findings if finding["severity"] != "note"] == ["warning"]
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.parametrize("name", ["two_grpo", "grpo_16"])
def test_nothing_is_wrong_with_the_embedded_task(name):
    """Without its samples. `python launch/doctor.py` looks at these, too."""
    config = load(CONFIGS / f"{name}.py", [("task.train_problems", "2000"), ("evaluation.test_problems", "64")])
    diagnosis = examine(config, samples_too=False)
    assert (diagnosis.number(Severity.WARNING), diagnosis.number(Severity.ERROR)) == (0, 0)
    assert (diagnosis.exit_code, diagnosis.not_looked_at) == (0, ["memory", "samples"])


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("rollout.sampling.temperature=0", "rollout.sampling.temperature=0: greedy completions"),
        ("objective.kl_estimator=k1", "objective.kl_estimator='k1': inside a loss"),
        ("model.architecture.vocab_size=5", "model.architecture.vocab_size=5: the tokenizer has"),
        ("evaluation.test_problems=100", "task.operations=1: the test split has hardly more than"),
    ],
)
def test_what_every_command_refuses_is_on_the_page(flag, sentence, tmp_path, capsys):
    file = tmp_path / "found.json"
    flags = [f"--config={TWO_GRPO}", *tiny_flags(objective__kl_coef=0.1), f"--config.{flag}"]
    assert command.main([*flags, f"--json={file}"]) == 2
    found = json.loads(file.read_text())
    assert [section["name"] for section in found["sections"]] == ["refused"]
    assert f"  error: {sentence}" in capsys.readouterr().out
    assert found["not_looked_at"] == list(SECTIONS)


def test_a_file_without_recorded_tokens(tmp_path, capsys):
    (tmp_path / "quick.json").write_text('{"sections": []}')
    assert command.main([f"--config={TWO_GRPO}", f"--recorded={tmp_path / 'quick.json'}"]) == 2
    assert "quick.json: holds no tokens (KeyError); name what --json wrote without --quick." in capsys.readouterr().out
    (tmp_path / "quick.json").write_text('{"tokens": []}')
    assert command.main([f"--config={TWO_GRPO}", f"--recorded={tmp_path / 'quick.json'}"]) == 2
    assert "quick.json: holds no tokens (ValueError)" in capsys.readouterr().out
    assert command.main([f"--config={TWO_GRPO}", f"--recorded={tmp_path / 'quick.json'}", "--quick"]) == 2
    assert "--quick samples nothing to compare; leave one out." in capsys.readouterr().out


def test_what_is_logged_is_a_warning(monkeypatch):
    """Such as problems that are left out because they are too long."""
    import grpo_jax.doctor.examine as module

    def problems_of(config, task):
        logging.getLogger("grpo_jax.data.tasks.questions").warning("task.max_prompt_tokens=%d: %d are longer", 8, 3)
        return of_task(config, task)

    of_task = module.problems_of
    monkeypatch.setattr(module, "problems_of", problems_of)
    config = load(TWO_GRPO, [("task.train_problems", "100"), ("evaluation.test_problems", "8")])
    diagnosis = examine(config, samples_too=False)
    (finding,) = diagnosis.sections[0].findings[-1:]
    assert (finding.severity, finding.sentence) == (Severity.WARNING, "task.max_prompt_tokens=8: 3 are longer")
    assert diagnosis.exit_code == 1
    assert logging.getLogger("grpo_jax").propagate
