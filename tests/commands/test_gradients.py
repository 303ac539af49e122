"""The command `gradients`."""

import json
import math
import shutil

import jax
import pytest

from grpo_jax.commands.gradients import main
from grpo_jax.config import from_dict, to_dict
from grpo_jax.policy import trained_of
from grpo_jax.runs.gradients import GradientAnalysis
from grpo_jax.training import restore, train_config
from tests.checkpoints import make_checkpoint, questions
from tests.helpers import assert_one_sentence

FEW = ("--prompts=32", "--samples=8")


@pytest.fixture(scope="module")
def record(run):
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file())
    assert main([f"--workdir={run}", "--step=2", *FEW]) == 0
    out = run / "gradients" / "step_2.json"
    after = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file() and path != out)
    assert before == after  # the run itself is as it was
    return json.loads(out.read_text())


def numbers(tree):
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in numbers(value)]
    return [x for value in tree for x in numbers(value)] if isinstance(tree, list) else [tree]


def test_what_is_written(record):
    assert (record["step"], record["prompts"], record["samples"], record["sketch"]) == (2, 32, 8, None)
    assert record["aggregation"] == "sequence"
    assert record["sizes"] == [2, 4]
    assert record["unscored"] == 0
    for name in ("n_vs_m", "grpo", "dr_grpo", "rloo"):
        for size in ("2", "4"):
            value, low, high = record["estimators"][name][size]["variance"]
            assert 0 < low <= value <= high
    found = record["comparisons"]["n_vs_m"]["rollout"]["4/2"]
    assert found["low"] is None or found["low"] <= found["value"] <= found["high"]
    assert found["resolved"] is (found["p"] <= 0.05)
    assert set(record["arms"]["sizes"]) == {"2", "4"}
    assert set(record["weighting"]["log_agreement"]) == {"4"}
    assert not any(isinstance(x, float) and not math.isfinite(x) for x in numbers(record))
    assert GradientAnalysis.from_json(record).to_json() == record


def test_scores_of_summed_logprobs_have_no_mean(record):
    """tests/analysis/test_vectors.py shows p g+ + (1-p) g- = 0 exactly; so few rollouts resolve nothing."""
    assert record["scores"]["summed"]["low"] < 0.02
    assert record["scores"]["summed"]["resolved"] is False


def test_sketches_say_the_same(run, record, tmp_path, capsys):
    """With 1,024 numbers instead of 5,000, variances agree within their error, and the file is at the given path."""
    memory = 4 * 32 * 8 * 1024 / 2**30
    out = tmp_path / "numbers.json"
    flags = ("--sketch=1024", f"--memory-gb={memory}", f"--out={out}")
    assert main([f"--workdir={run}", "--step=2", *FEW, *flags]) == 0
    told = capsys.readouterr().out
    assert "gradients sketched to 1,024 numbers" in told
    assert told.splitlines()[-1] == f"numbers: {out}"
    sketched = json.loads(out.read_text())
    assert sketched["reward"] == record["reward"]  # the same rollouts
    for size in ("2", "4"):
        pair = [found["estimators"]["n_vs_m"][size]["variance"][0] for found in (sketched, record)]
        assert pair[0] == pytest.approx(pair[1], rel=0.15)
        assert pair[0] != pair[1]


def test_what_is_shown(run, record, tmp_path, capsys):
    assert main([f"--workdir={run}", "--step=0", "--prompts=8", "--samples=4", f"--out={tmp_path / 'x.json'}"]) == 0
    out = capsys.readouterr().out
    assert "step 0: 8 prompts x 4 rollouts" in out
    assert "advantage n_vs_m: the gradient of one rollout" in out
    assert "highest" not in out  # one group size has nothing to be compared with
    assert main([f"--workdir={run}", *FEW, f"--out={tmp_path / 'x.json'}"]) == 0
    out = capsys.readouterr().out
    assert "step 4: 32 prompts" in out
    for per in ("rollout", "learned token", "prompt"):
        assert f"signal-to-noise per {per}: highest at G=" in out
    assert "resolved)" in out
    assert "Proposition 5.1" in out


@pytest.mark.slow
def test_with_adapters_gradients_are_by_the_adapters(tmp_path):
    lora = {"rank": 2, "alpha": 4.0, "modules": ("query", "up")}
    changes = {"rollout__max_new_tokens": 8, "train__steps": 4, "checkpoint__every": 1, "evaluation__every": 0}
    changes |= {"checkpoint__keep_best": 0, "optimizer__warmup_updates": 1}
    config = questions(make_checkpoint(tmp_path / "model"), **changes)
    config = from_dict(to_dict(config) | {"model": to_dict(config)["model"] | {"lora": lora}})
    train_config(config, tmp_path / "run", devices=jax.devices()[:1])
    assert main([f"--workdir={tmp_path / 'run'}", "--step=4", "--prompts=8", "--samples=4"]) == 0
    record = json.loads((tmp_path / "run" / "gradients" / "step_4.json").read_text())
    _, restored = restore(tmp_path / "run", step=4)
    assert record["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(trained_of(restored.state.params)))
    assert record["parameters"] < sum(leaf.size for leaf in jax.tree.leaves(restored.params)) / 2


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--prompts=41",), "--prompts=41: the task has 40 training problems; lower it to that."),
        (("--prompts=2",), "--prompts=2: must be at least 8."),
        (("--samples=2",), "--samples=2: the rollouts of each prompt are cut into groups; set it to 4, 8, 16, or a"),
        (("--samples=20",), "--samples=20: the rollouts of each prompt are cut into groups; set it to 4, 8, 16, or a"),
        (("--sketch=8",), "--sketch=8: must be at least 16."),
        (("--memory-gb=0",), "--memory-gb=0.0: must be above 0; it limits the memory for the gradients."),
        (("--memory-gb=nan",), "--memory-gb=nan: must be above 0; it limits the memory for the gradients."),
        (("--memory-gb=0.0001",), "--memory-gb=0.0001: 8 x 4 sketches of "),
        (("--step=1",), "checkpoints: holds no checkpoint of step 1; there are 2, 3, 4"),
        (("--out=nowhere/x.json",), "--out=nowhere/x.json: must be a file in a directory that exists"),
        (("--out=docs",), "--out=docs: must be a file in a directory that exists"),
    ],
)  # fmt: skip
def test_mistake(run, flags, sentence, capsys):
    assert main([f"--workdir={run}", "--prompts=8", "--samples=4", *flags]) == 2
    assert_one_sentence(capsys, sentence)


def test_what_is_not_a_run_or_couples_its_noise(run, tmp_path, capsys):
    assert main([f"--workdir={tmp_path}"]) == 2
    assert_one_sentence(capsys, "has no config.json; name the directory of a run")
    workdir = shutil.copytree(run, tmp_path / "copy")
    config = json.loads((workdir / "config.json").read_text())
    config["rollout"]["noise"] = "antithetic"
    (workdir / "config.json").write_text(json.dumps(config))
    assert main([f"--workdir={workdir}"]) == 2
    assert_one_sentence(capsys, "rollout.noise='antithetic': the analysis needs independent completions")


def test_a_directory_that_cannot_be_written_to(run, tmp_path, capsys):
    """A file is in the place of the directory: one sentence reports it at the end."""
    workdir = shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("gradients"))
    (workdir / "gradients").write_text("")
    assert main([f"--workdir={workdir}", "--prompts=8", "--samples=4"]) == 2
    assert "cannot be written" in capsys.readouterr().err
