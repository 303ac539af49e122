"""The project that `grpo init` writes."""

import errno
import os
import runpy
import shutil
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
    *others, doctor, smoke, first, export = commands(project / "README.md")
    assert [command.name for command in others if not command.needs] == []
    assert [doctor.name, smoke.name, first.name, export.name] == ["doctor", "train", "train", "export"]
    for name, words, _ in (doctor, smoke, first, export):
        assert all(word.partition("=")[0] in shown(name) for word in words)


@pytest.mark.parametrize(
    ("directory", "sentence"), [("", "it is empty; name"), ("x" * 300, "cannot be accessed (File")]
)
def test_what_is_not_a_path_is_refused(directory, sentence, tmp_path, monkeypatch, capsys):
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


def fails_halfway(monkeypatch, fault):
    """Let a fault come to the third file that is written."""
    copies, copy = [], shutil.copyfileobj

    def copyfileobj(source, file):
        copies.append(file.name)
        if len(copies) == 3:
            fault()
        copy(source, file)

    monkeypatch.setattr(shutil, "copyfileobj", copyfileobj)


def disk_is_full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def user_interrupts():
    raise KeyboardInterrupt


@pytest.mark.parametrize("fault", [disk_is_full, user_interrupts])
@pytest.mark.parametrize("exists", [False, True])
def test_all_files_are_written_or_none(exists, fault, tmp_path, monkeypatch):
    directory = tmp_path / "mine"
    if exists:
        directory.mkdir()
        monkeypatch.chdir(directory)
    before = list(tmp_path.rglob("*"))
    with monkeypatch.context() as for_a_while:
        fails_halfway(for_a_while, fault)
        if fault is disk_is_full:
            assert init.main([str(directory)]) == 2
        else:
            with pytest.raises(KeyboardInterrupt):
                init.main([str(directory)])
    assert list(tmp_path.rglob("*")) == before
    assert init.main([str(directory)]) == 0
    assert sorted(os.listdir("." if exists else directory)) == sorted(init.FILES)  # it stays the current directory


@pytest.mark.parametrize("exists", [False, True])
def test_a_file_that_the_user_writes_meanwhile_is_kept(exists, tmp_path, monkeypatch):
    theirs = tmp_path / "mine" / "test_project.py"

    def user_writes():
        theirs.parent.mkdir(exist_ok=True)
        theirs.write_text("mine")

    if exists:
        theirs.parent.mkdir()
    fails_halfway(monkeypatch, user_writes)
    assert init.main([str(theirs.parent)]) == 2
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "mine"
