"""Where numbers come from: which code, and a command that gives no secret away."""

import dataclasses
import json
import shutil
import subprocess

import jax
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.inputs import Inputs, TokenizerDigest
from grpo_jax.runs.provenance import PROVENANCE_FILE, Devices, ForkedFrom, Provenance, Start
from grpo_jax.runs.record import RunRecord, read_record, write_record
from grpo_jax.runs.starts import HIDDEN, _command, _commit, this_start


@pytest.fixture
def checkout(tmp_path):
    """A repository with a commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    (tmp_path / "grpo_jax").mkdir()
    (tmp_path / "grpo_jax" / "a.py").write_text("")
    (tmp_path / "README.md").write_text("")
    who = ("-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path.resolve()


def test_a_commit_and_whether_files_differ_from_it(checkout):
    commit, dirty = _commit(checkout)
    assert len(commit) == 40
    assert dirty is False
    (checkout / "runs").mkdir()
    (checkout / "runs" / "metrics.jsonl").write_text("")  # what a run leaves behind is no change of the code
    assert _commit(checkout) == (commit, False)
    (checkout / "grpo_jax" / "b.py").write_text("")  # a module that git does not know is one
    assert _commit(checkout) == (commit, True)
    (checkout / "grpo_jax" / "b.py").unlink()
    (checkout / "README.md").write_text("changed")
    assert _commit(checkout) == (commit, True)


def test_what_is_installed_below_someones_repository_is_not_its_commit(checkout, monkeypatch):
    installed = checkout / ".venv" / "lib"
    installed.mkdir(parents=True)
    assert _commit(installed) == (None, None)
    monkeypatch.setenv("PATH", "")
    assert _commit(checkout) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--config.rollout.max_new_tokens=4", "--seed=1"], "--config.rollout.max_new_tokens=4 --seed=1"),
        (["--hf-token", "abc", "--workdir=x"], f"--hf-token '{HIDDEN}' --workdir=x"),
        (["--api_key=abc"], f"'--api_key={HIDDEN}'"),
        (["WANDB_API_KEY=abc"], f"'WANDB_API_KEY={HIDDEN}'"),
        (["https://me:word@host/x"], f"'https://{HIDDEN}@host/x'"),
        (["https://host/x?a=1&token=abc&b=2"], f"'https://host/x?a=1&token={HIDDEN}&b=2'"),
        (["--x=hf_abcdefghijklmnop"], f"'--x={HIDDEN}'"),
    ],
)
def test_a_command_gives_no_secret_away(arguments, shown):
    assert _command(["/home/someone/bin/python", "main.py", *arguments]) == f"python main.py {shown}"


def test_a_start_says_all_that_a_number_depends_on():
    start = this_start(jax.devices())
    json.dumps(start.to_json(), allow_nan=False)
    assert Start.from_json(start.to_json()) == start
    assert start.devices == Devices(kinds=["cpu"], count=len(jax.devices()))
    assert {"python", "jax", "jaxlib", "transformers", "sympy"} <= set(start.versions)
    assert start.host.cores > 0
    assert start.code.version in str(start)
    assert start.ended is None


def test_a_record_is_read_as_it_was_written(tmp_path):
    start = dataclasses.replace(this_start(), changed={"mesh.fsdp": [1, 2]})
    forked = ForkedFrom("runs/x", 8, "0" * 16, [start])
    inputs = Inputs("2026-01-31T23:59:59+00:00", {}, TokenizerDigest("v", [0], {}), {"a": "b"}, {})
    for record in (
        RunRecord(inputs, Provenance([start, this_start()], forked)),
        RunRecord(dataclasses.replace(inputs, base_policy="c"), Provenance([], None)),
        RunRecord(None, Provenance([start], None, begun_unrecorded=True)),
    ):
        write_record(RunDirectory(tmp_path), record)
        assert read_record(RunDirectory(tmp_path)) == record
    (tmp_path / PROVENANCE_FILE).write_text('{"inputs": null, "starts": [{}]}')
    with pytest.raises(ConfigError, match=r"provenance\.json: is damaged \("):
        read_record(RunDirectory(tmp_path))
