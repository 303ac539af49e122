"""The scripts of shells, tried with a real bash."""

import shutil
import subprocess

import pytest

from grpo_jax.commands import COMMANDS
from grpo_jax.commands.completion import SHELLS, main

# What is typed before the cursor, and what may follow it.
OFFERED = {
    "grpo re": {"report", "replay", "regrade"},
    "grpo train --conf": {"--config.", "--config="},
    "grpo train --config=two": {"two_grpo"},  # bash takes what follows "=" for a word of its own
    "grpo train --config two": {"two_grpo"},
    "grpo train --config.optimizer.w": {"--config.optimizer.warmup_updates=", "--config.optimizer.weight_decay="},
    "grpo train --config.task.train.ki": {"--config.task.train.kind="},
    "grpo train --config.optimizer.schedule=c": {"constant", "cosine"},
    "grpo train --config.opt": {"--config.optimizer."},
    "grpo study --study pap": {"paper"},
    "grpo config diff grpo": {"grpo_16"},
    "grpo export --dtype=b": {"bfloat16"},
    "grpo train --workdir=": set(),  # then bash completes files
}


def script(shell, capsys):
    assert main([shell]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_offers_what_may_follow(capsys):
    tries = "".join(f"COMP_LINE='{line}' COMP_POINT={len(line)}; _grpo; echo ${{COMPREPLY[@]}}\n" for line in OFFERED)
    done = subprocess.run(["bash", "-c", script("bash", capsys) + tries], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    offered = [set(line.split()) for line in done.stdout.splitlines()]
    assert dict(zip(OFFERED, offered, strict=True)) == OFFERED


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_knows_every_command_and_field(shell, capsys):
    text = script(shell, capsys)
    assert " ".join(COMMANDS) in text
    for words in ("--config.train.steps=", "--heartbeat-seconds=", "--config.task.train.kind=", "--study=paper"):
        assert words in text
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=True).stderr == ""
