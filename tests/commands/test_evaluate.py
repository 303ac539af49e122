"""The command `evaluate`."""

import json
import signal

import pytest

from grpo_jax.commands.evaluate import main
from grpo_jax.sampling import JaxEngine
from grpo_jax.suites import SUITES
from tests.checkpoints import make_checkpoint
from tests.helpers import ROOT, start

COMMAND = ("--config=configs/paper/evaluation.py", "--suites=tests/data/suites")
SMALL = {
    "model.compute_dtype": "float32",
    "model.remat": "none",
    "task.max_prompt_tokens": 320,
    "task.reward.workers": 1,
    "rollout.max_new_tokens": 4,
    "evaluation.test_samples": 4,
    "evaluation.prompts_per_batch": 8,
    "evaluation.bootstrap": 50,
}


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    checkpoint = make_checkpoint(tmp_path_factory.mktemp("models") / "small")
    return [f"--config.{field}={value}" for field, value in {**SMALL, "model.checkpoint": checkpoint}.items()]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.slow
def test_an_evaluation_shows_its_table(flags, tmp_path):
    workdir = tmp_path / "evaluation"
    process = start("launch/evaluate.py", *COMMAND, f"--workdir={workdir}", *flags)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    out = " ".join(out.split())  # the title is as wide as the directory's name
    for text in (
        "4 samples of each problem",
        "mean@4",
        "interval",
        "average of 5",
        f"numbers: {workdir}",
        *SUITES,
    ):
        assert text in out
    report = json.loads((workdir / "suites.json").read_text())
    assert set(report) == {"policy", "config_hash", "provenance", "average", "suites"}


def test_a_stop_is_not_a_failure_and_what_is_done_is_not_made_again(flags, tmp_path, monkeypatch, capsys):
    command = [*COMMAND, f"--workdir={tmp_path}", *flags, "--suite=minerva", "--suite=math_500"]
    asked, sample = [], JaxEngine.sample

    def stopping(engine, prompts, request):
        asked.append(request)
        if len(asked) == 2:
            signal.raise_signal(signal.SIGTERM)
        return sample(engine, prompts, request)

    monkeypatch.setattr(JaxEngine, "sample", stopping)
    assert main([*command, "--suite=amc_2023"]) == 0
    assert "SIGTERM: 2 of 3 suites are done and saved; the same command continues" in capsys.readouterr().out
    written = (tmp_path / "suites.json").read_bytes()
    assert main(command) == 0
    assert "minerva: is there already" in capsys.readouterr().out
    assert len(asked) == 2
    assert (tmp_path / "suites.json").read_bytes() == written


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--suite=math500"], "error: --suite=math500: unknown; did you mean math_500?\n"),
        (["--suites=nowhere"], "error: --suite=math_500: nowhere has none of math_500.jsonl, math_500.json, math"),
        (["--config.task.max_prompt_tokens=90"], "but none may be left out; raise it to "),
        (["--run=nowhere"], "error: --run=nowhere: no such directory; name the directory of a run\n"),
        (["--config.seed=-1"], "error: seed=-1: must be at least 0"),
    ],
)
def test_mistake(flags, more, sentence, tmp_path, capsys):
    assert main([*COMMAND, f"--workdir={tmp_path / 'evaluation'}", *flags, *more]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert sentence in told.err
    assert all(line.endswith(" ...") for line in told.out.splitlines())  # what it was doing
    assert list(tmp_path.iterdir()) == []


def test_best_is_of_a_run(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*COMMAND, f"--workdir={tmp_path}", "--best"])
    assert "--best: needs a run; name one with --run" in capsys.readouterr().err
