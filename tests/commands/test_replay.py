"""The command `replay`."""

import json
import shutil

import pytest

from grpo_jax.commands import regrade
from grpo_jax.commands.replay import main
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.fork import Origin, fork
from tests.helpers import assert_one_sentence, make_config, start, tiny_flags


def replay(workdir, step="3", prompt="2", sample="1", *more):
    return main([f"--workdir={workdir}", f"--step={step}", f"--prompt={prompt}", f"--sample={sample}", *more])


def test_it_is_shown_with_its_verdict(run, capsys):
    group = next(group for group in RunDirectory(run).rollouts() if group.step == 3)
    assert replay(run, prompt=group.prompt) == 0
    out = capsys.readouterr().out
    assert "step 3, prompt 0, sample 1; policy after step 2" in out
    assert f"prompt: {group.prompt!r} (answer {group.gold!r})" in out
    assert f"advantage {group.completions[1].advantage:+.4f}" in out
    last = out.splitlines()[-1]
    assert last.startswith(f"the same {group.completions[1].length} tokens; largest |difference|")
    assert float(last.split()[-1]) < 1e-5


def test_another_policy(run, capsys):
    assert replay(run, "4", "1", "0", "--checkpoint=0") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("tokens differ") or float(last.split()[-1]) > 1e-3


def test_what_was_sampled_before_a_fork_is_its_origins(run, tmp_path, capsys):
    """It has another seed. Only the steps after it could be sampled again with that."""
    changes = {"optimizer__warmup_updates": 1, "evaluation__every": 0, "checkpoint__keep_best": 0, "train__steps": 9}
    fork(RunDirectory(tmp_path / "fork"), make_config(seed=1, **changes), Origin(run, 3))
    for step in ("1", "3"):
        assert replay(tmp_path / "fork", step) == 2
        sentence = f"--step={step}: {run} has sampled it, perhaps with another seed, because {tmp_path / 'fork'} was"
        assert_one_sentence(capsys, sentence)
    assert replay(tmp_path / "fork", "4") == 2
    assert_one_sentence(capsys, "has no completions of this step")
    flags = ["--config=configs/two_grpo.py", *tiny_flags()]
    assert regrade.main([f"--workdir={tmp_path / 'fork'}", *flags]) == 2
    assert_one_sentence(capsys, f"has no recorded completions since it was forked from {run} at step 3 (")


@pytest.mark.slow
def test_in_a_process_of_its_own(run):
    process = start("launch/replay.py", f"--workdir={run}", "--step=1", "--prompt=0", "--sample=0", JAX_PLATFORMS="cpu")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "the same " in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        (("9",), "--step=9: {run}/rollouts has no completions of this step; name one from 1 to 4 (logging."
         "rollouts_every=1)."),
        (("0",), "--step=0: {run}/rollouts has no completions of this step; name one from 1 to 4 (logging."
         "rollouts_every=1)."),
        (("3", "8"), "--prompt='8': step 3 has no such prompt; name one of its 8 by its text, its id, or its place"),
        (("3", "2", "2"), "--sample=2: the group has 2 completions; name one, from 0 to 1."),
        (("3", "2", "-1"), "--sample=-1: the group has 2 completions; name one, from 0 to 1."),
        (("2",), "{run}/checkpoints: the policy after step 1 is not kept; the policies after 0, 2, 3, 4 are (0 is the "
         "base policy), so these steps can be replayed: 1, 3, 4"),
        (("3", "2", "1", "--checkpoint=7"), "the policy after step 7 is not kept; the policies after 0, 2, 3, 4 are"),
    ],
)  # fmt: skip
def test_mistake(run, where, sentence, capsys):
    assert replay(run, *where) == 2
    assert_one_sentence(capsys, sentence.format(run=run))


def test_what_is_not_a_run(tmp_path, capsys):
    assert replay(tmp_path) == 2
    assert_one_sentence(capsys, "has no config.json; name the directory of a run")


def change_rollouts(run, tmp_path, change):
    workdir = shutil.copytree(run, tmp_path / "copy")
    path = workdir / "rollouts" / "000001.jsonl"
    path.write_text(change(path.read_text()))
    return workdir


def without_tokens(text):
    return text.replace('"tokens"', '"old"').replace('"version": 1, ', "")


def of_a_newer_version(text):
    return text.replace('"version": 1', '"version": 2')


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: "", "rollouts: holds no completions (logging.rollouts_every=1); name another run."),
        (lambda text: text[:50] + "\n" + text, "000001.jsonl: a line is damaged ("),
        (of_a_newer_version, "000001.jsonl: a line has version 2, and this grpo_jax reads versions up to 1;"),
        (without_tokens, "rollouts: was written by an earlier version, without tokens; name a newer run."),
    ],
)  # fmt: skip
def test_rollouts_that_cannot_be_used(run, change, sentence, tmp_path, capsys):
    assert replay(change_rollouts(run, tmp_path, change)) == 2
    assert_one_sentence(capsys, sentence)


def test_a_damaged_checkpoint(run, tmp_path, capsys):
    workdir = shutil.copytree(run, tmp_path / "copy")
    seal = workdir / "checkpoints" / "2" / "seal.json"
    seal.write_text(json.dumps({"state/nothing": 1}))
    assert replay(workdir) == 2
    assert_one_sentence(capsys, "checkpoints/2: this checkpoint is damaged (state/nothing is missing); take another")
