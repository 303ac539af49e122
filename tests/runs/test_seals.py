"""Seals: every process vouches for what it has written, and examines it later."""

import json

import pytest

from grpo_jax.runs.seals import damage, seal, seal_own


@pytest.fixture
def sealed(tmp_path):
    """A directory of three processes, each of which has sealed its own files."""
    for process in range(3):
        data = tmp_path / "state" / f"ocdbt.process_{process}" / "d"
        data.mkdir(parents=True)
        (data / "0").write_text(f"of process {process}")
    (tmp_path / "state" / "manifest").write_text("of all")
    (tmp_path / "at_the_top").write_text("of Orbax")
    for process in range(3):
        seal_own(tmp_path / "state", process)
    return tmp_path


def files(process):
    return f"state/ocdbt.process_{process}/d/0"


def test_a_seal_has_the_checksums_of_all(sealed):
    seal(sealed)
    assert json.loads((sealed / "seal.json").read_text()).keys() == {*map(files, range(3)), "state/manifest"}
    assert [path.name for path in sealed.rglob("seal.json")] == ["seal.json"]
    assert damage(sealed) == ""


def test_nobody_reads_again_what_a_process_has_sealed(sealed):
    """Otherwise the first process would read all, and what has changed meanwhile would count as right."""
    (sealed / files(1)).write_text("of process 2")
    (sealed / "state" / "manifest").write_text("of every")
    seal(sealed)
    assert damage(sealed) == f"{files(1)} has changed since it was written"


@pytest.mark.parametrize("name", [files(0), files(1), files(2), "state/manifest"])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_one_process_sees_each_damage(sealed, processes, name):
    seal(sealed)
    (sealed / name).unlink()
    reports = [damage(sealed, process, processes) for process in range(processes)]
    assert sorted(reports) == [""] * (processes - 1) + [f"{name} is missing"]


def test_a_file_that_cannot_be_read_is_damaged(sealed, monkeypatch):
    def failing(*_):
        raise OSError(5, "Input/output error")

    seal(sealed)
    monkeypatch.setattr("grpo_jax.runs.seals._checksum", failing)
    assert damage(sealed).endswith("cannot be read: Input/output error")
