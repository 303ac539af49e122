"""The command `regrade`."""

import dataclasses
import json
import re
import shutil

import jax
import pytest

from grpo_jax.commands.regrade import main
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.provenance import ForkedFrom
from grpo_jax.runs.record import read_record, write_record
from grpo_jax.training import train_config
from tests.helpers import ROOT, assert_one_sentence, make_config, tiny_flags

SAME = ("--config=configs/two_grpo.py", *tiny_flags())
LAST_DIGIT = "--config.task.reward.answer_pattern=(\\d)$"
OTHER = ("--config=configs/smollm2_135m.py", LAST_DIGIT)  # its model and tokenizer need not be there


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    config = make_config(train__steps=6, optimizer__warmup_updates=1, rollout__group_size=4, objective__name="grpo")
    train_config(config, workdir, devices=jax.devices()[:1])
    return workdir


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_same_reward_changes_nothing(run, tmp_path, capsys):
    assert main([f"--workdir={run}", *SAME, f"--to={tmp_path / 'differing.jsonl'}"]) == 0
    assert "0 of 192 completions have another verdict, 0 another reward" in capsys.readouterr().out
    assert (tmp_path / "differing.jsonl").read_text() == ""


def test_steps_before_a_fork_are_left_out(run, tmp_path, capsys):
    """They carried signal for the objective of another run."""
    fork = RunDirectory(shutil.copytree(run, tmp_path / "fork"))
    record = read_record(fork)
    forked = dataclasses.replace(record.provenance, forked_from=ForkedFrom("runs/first", 2, "", []))
    write_record(fork, dataclasses.replace(record, provenance=forked))
    assert main([f"--workdir={fork.path}", *SAME]) == 0
    out = capsys.readouterr().out
    assert "0 of 128 completions have another verdict" in out
    assert "steps up to 2 are left out: runs/first learned from them" in out


def test_lengths_are_judged_by_the_limit_of_the_run(run, tmp_path):
    """Its completions have at most 4 tokens. That is far from the limit of the other configuration."""
    overlong = ("--config.task.reward.terms.overlong=1", "--config.task.reward.overlong_tokens=4")
    assert main([f"--workdir={run}", *OTHER, *overlong, f"--to={tmp_path / 'differing.jsonl'}"]) == 0
    lines = map(json.loads, (tmp_path / "differing.jsonl").read_text().splitlines())
    fresh = {len(line["completion"]): line["now"]["reward"] for line in lines if line["now"]["verdict"] == "wrong"}
    assert fresh[1] == -0.5  # a token and the one that ends it


def expected(run):
    """Yield the completions for which the last digit gives another verdict than the chain's value."""
    for group in RunDirectory(run).rollouts():
        for index, one in enumerate(group.completions):
            last = re.search(r"(\d)$", one.text)
            if float(last is not None and last[1] == group.gold) != one.reward:
                yield group.step, group.id, index


@pytest.fixture(scope="module")
def wrong_by_one(run, tmp_path_factory):
    """Return a copy of the run with the first three verdicts of its second group inverted."""
    workdir = shutil.copytree(run, tmp_path_factory.mktemp("changed") / "run")
    path = workdir / "rollouts" / "000001.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["rewards"][:3] = [1 - reward for reward in lines[1]["rewards"][:3]]
    lines[1]["right"][:3] = [not right for right in lines[1]["right"][:3]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return workdir


@pytest.mark.parametrize(("keep", "which"), [("1000", slice(None)), ("2", slice(2))])
def test_exactly_what_differs_is_reported(wrong_by_one, keep, which, tmp_path, capsys):
    to = tmp_path / "differing.jsonl"
    differing = list(expected(wrong_by_one))
    assert len(differing) >= 3
    assert main([f"--workdir={wrong_by_one}", *OTHER, f"--to={to}", f"--keep={keep}"]) == 0
    out = capsys.readouterr().out
    assert f"{len(differing)} of 192 completions have another verdict" in out
    found = [json.loads(line) for line in to.read_text().splitlines()]
    assert [(line["step"], line["id"], line["sample"]) for line in found] == differing[which]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([*OTHER, "--to=nowhere/x.jsonl"], "--to=nowhere/x.jsonl: must be a new file in a directory that exists"),
        ([*OTHER, "--to=README.md"], "--to=README.md: must be a new file"),
        ([*OTHER, "--keep=0"], "--keep=0: must be at least 1"),
        ([*OTHER, "--config.task.reward.terms.exakt=1"], "terms='exakt': no such reward; did you mean exact?"),
        ([*OTHER, "--config.seed=-1"], "seed=-1: must be at least 0"),
    ],
)  # fmt: skip
def test_mistake(run, flags, sentence, capsys):
    assert main([f"--workdir={run}", *flags]) == 2
    assert_one_sentence(capsys, sentence)


def test_what_is_not_a_run_or_has_no_rollouts(run, tmp_path, capsys):
    assert main([f"--workdir={tmp_path}", *SAME]) == 2
    assert_one_sentence(capsys, "has no config.json; name the directory of a run")
    shutil.copy(run / "config.json", tmp_path)
    assert main([f"--workdir={tmp_path}", *SAME]) == 2
    assert_one_sentence(capsys, "has no recorded completions")
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "000001.jsonl").write_text('{"step": 1\n')
    assert main([f"--workdir={tmp_path}", *SAME]) == 2
    assert_one_sentence(capsys, "000001.jsonl: a line is damaged (")
