"""The project that `grpo init` writes."""

import runpy
import sys

import pytest

from grpo_jax.commands import init
from grpo_jax.config import load
from grpo_jax.data import Split, make_task
from tests.data.tokenizer_files import write_tokenizer
from tests.test_commands_of_pages import commands, shown


@pytest.fixture
def project(tmp_path, monkeypatch):
    directory = tmp_path / "mine"
    assert init.main([str(directory)]) == 0
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)
    yield directory
    sys.modules.pop("rewards", None)


def test_its_test_passes(project):
    tests = runpy.run_path("test_project.py")
    tests["test_the_reward_and_the_questions_fit_each_other"]()


def test_its_questions_fill_a_step_and_all_splits(project):
    write_tokenizer(project / "model")
    config = load("config.py")
    task = make_task(config)
    assert len(task.problems(Split.TRAIN)) >= config.rollout.prompts_per_step
    assert task.problems(Split.VALIDATION)
    assert task.problems(Split.TEST)


def test_the_commands_of_its_readme_have_flags_that_exist(project):
    found = commands(project / "README.md")
    assert [name for name, _ in found] == ["doctor", "train", "train", "export"]
    for name, words in found:
        assert all(word.partition("=")[0] in shown(name) for word in words)


@pytest.mark.parametrize(
    ("directory", "sentence"), [("", "it is empty; name"), ("x" * 300, "cannot be looked at (File")]
)
def test_what_is_no_path_is_refused(directory, sentence, tmp_path, monkeypatch, capsys):
    """An empty text, such as that of a variable that is not set, is not the current directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        init.main([directory])
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    assert init.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}: is not empty; name a directory that is new or empty.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
