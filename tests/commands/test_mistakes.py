"""Every mistake in a configuration gives one sentence and exit code 2, and creates nothing."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from grpo_jax.commands import COMMANDS
from grpo_jax.commands import train as command
from grpo_jax.config import to_dict
from tests.helpers import ROOT, assert_one_sentence, make_config, start

# flags -> what the sentence must say: the field, its value, and the remedy
MISTAKES = {
    "--config.optimizer.learning_rat=1": "unknown field optimizer.learning_rat; did you mean learning_rate?",
    "--config.optimiser.kl_coef=1": "unknown field optimiser; did you mean --config.objective.kl_coef=1?",
    "--config.optimiser.nonsense=1": "unknown field optimiser; did you mean optimizer?",
    "--config.train.learning_rate=1": "train.learning_rate; did you mean --config.optimizer.learning_rate=1?",
    "--config.rollout.num_generations=2": "rollout.num_generations; did you mean --config.rollout.group_size=2?",
    "--config.nonsense=1": "unknown field nonsense; known are seed, task,",
    "--config.model=1": "is a section; set one of its fields",
    "--config.optimizer.learning_rate=fast": "optimizer.learning_rate='fast': must be a number, not a text",
    "--config.optimizer.learning_rate=0": "optimizer.learning_rate=0.0: must be at least 1e-12 and at most 1.",
    "--config.optimizer.learning_rate=1e-20": "optimizer.learning_rate=1e-20: must be at least 1e-12 and at most 1.",
    "--config.optimizer.learning_rate=2": "optimizer.learning_rate=2.0: must be at least 1e-12 and at most 1.",
    "--config.warm_start.skip_learning_rate=1e-20": "warm_start.skip_learning_rate=1e-20: must be at least 1e-12",
    "--config.optimizer.weight_decay=1e4": "optimizer.weight_decay=10000: with a learning rate of 0.0002 an update "
    "takes away 200 % of each weight; lower it.",
    "--config.warm_start.weight_decay=1e3": "warm_start.weight_decay=1000: with a learning rate of 0.002 an",
    "--config.optimizer.epsilon=1e-30": "optimizer.epsilon=1e-30: must be at least 1e-18 and at most 1.",
    "--config.optimizer.clip_norm=1e-9": "optimizer.clip_norm=1e-09: leaves a gradient that vanishes beside",
    "--config.objective.kl_coef=1e-30": "objective.kl_coef=1e-30: must be 0, or at least 1e-12 and at most 1e+12.",
    "--config.objective.no_signal_tolerance=1": "objective.no_signal_tolerance=1: rewards are from 0 to 1, so no",
    "--config.optimizer.learning_rate=-1e-3": "optimizer.learning_rate=-0.001: must be at least 1e-12",
    "--config.optimizer.learning_rate=nan": "optimizer.learning_rate='nan': must be a number",
    "--config.train.steps=1.5": "train.steps=1.5: must be a whole number, not a number",
    "--config.train.steps=0": "train.steps=0: must be at least 1",
    "--config.train.steps=1e3": "train.steps=1000.0: must be a whole number, not a number; write 1000.",
    "--config.train.steps=1e30": "train.steps=1e+30: must be a whole number, not a number.",
    "--config.train.steps=2147483648": "train.steps=2147483648: must be at most 2147483647.",
    "--config.evaluation.test_samples=9999999999": "evaluation.test_samples=9999999999: must be at most 2147483647.",
    "--config.train.steps=1,000": "train.steps='1,000': must be a whole number, not a text.",
    "--config.optimizer.Learning_Rate=1": "unknown field optimizer.Learning_Rate; did you mean learning_rate?",
    "--config.=1": "--config.=1: unknown field ; known are seed, task,",
    "--config.seed.x=1": "--config.seed.x=1: seed is no section; set it as --config.seed=VALUE.",
    "--config.task.template=x": "unknown field task.template; it exists only with task.name=questions.",
    "--config.objective.name=mine/own.py:STRICT": "name it without .py, and with dots for slashes",
    "--config.objective.name=tests.helpers:tinny": "tests.helpers has no 'tinny'; did you mean TINY?",
    "--config.objective.name=nowhere_at_all:X": "if it is there, put its directory on PYTHONPATH",
    "--config.train.steps=true": "train.steps=True: must be a whole number, not true or false",
    "--config.model.scan_layers=1": "model.scan_layers=1: must be true or false, not a whole number",
    "--config.rollout.group_size=1": "rollout.group_size=1: must be at least 2",
    "--config.rollout.group_size=16": "rollout.group_size=16: the objective two_grpo is defined on groups of 2; set it",
    "--config.rollout.prompts_per_step=30": "train.microbatch_groups=8: must divide the 30 groups of a minibatch",
    "--config.rollout.prompts_per_batch=5": "rollout.prompts_per_batch=5: must divide prompts_per_step=32",
    "--config.rollout.max_rollouts=127": "rollout.max_rollouts=127: a step samples 64 rollouts before any is "
    "replaced, and then 64 at a time; raise it to at least 128",
    "--config.train.microbatch_groups=5": "train.microbatch_groups=5: must divide the 32 groups of a minibatch",
    "--config.train.minibatches=5": "train.minibatches=5: must divide rollout.prompts_per_step=32",
    "--config.rollout.sampling.temperature=0": "greedy completions of a prompt are all the same",
    "--config.rollout.sampling.temperature=-1": "rollout.sampling.temperature=-1.0: must be 0, or at least 0.01",
    "--config.rollout.sampling.temperature=1e-30": "temperature=1e-30: must be 0, or at least 0.01 and at most 100.",
    "--config.evaluation.sampling.temperature=1e12": "must be 0, or at least 0.01 and at most 100.",
    "--config.rollout.sampling.top_p=0": "rollout.sampling.top_p=0.0: must be at least 1e-06 and at most 1",
    "--config.evaluation.sampling.min_p=0.99999999": "min_p=0.99999999: greedy samples of a problem are all the same",
    "--config.rollout.sampling.top_p=0.9": "set it to 'trainer', or switch the filters off",
    "--config.rollout.sampling.top_k=-1": "rollout.sampling.top_k=-1: must be at least 0",
    "--config.rollout.max_new_tokens=3": "rollout.max_new_tokens=3: full solutions take up to 14 tokens; raise it",
    "--config.objective.clip_low=-0.1": "objective.clip_low=-0.1: must be at least 0 and at most 1",
    "--config.objective.clip_high=-0.1": "objective.clip_high=-0.1: must be at least 0",
    "--config.objective.aggregation=mean": "objective.aggregation='mean': must be one of published, sequence, token, "
    "group_token, constant, sum",
    "--config.objective.name=grop": "objective.name='grop': unknown; did you mean grpo?",
    "--config.objective.std_ddof=2": "objective.std_ddof=2: must be at least 0 and at most 1",
    "--config.objective.importance_cap=2": "set objective.old_logprobs to 'trainer', or the cap to 0",
    "--config.objective.kl_coef=0.1 --config.objective.kl_estimator=k1": "gradient is exactly zero; use 'k2'",
    "--config.objective.kl_coef=0.1 --config.objective.denominator=valid": "set it to 'sampled'",
    "--config.model.architecture.num_experts=4": "model.architecture.experts_per_token=0: must be from 1 to "
    "model.architecture.num_experts=4, or both must be 0.",
    "--config.model.architecture.pre_norms=False": "model.architecture.pre_norms=False: nothing would be normed; set ",
    "--config.optimizer.warmup_updates=1000000": "optimizer.warmup_updates=1000000: must be below the",
    "--config.model.architecture.num_kv_heads=3": "num_kv_heads=3: must divide model.architecture.num_heads=4",
    "--config.model.architecture.head_dim=7": "model.architecture.head_dim=7: must be even",
    "--config.model.remat=some": "model.remat='some': must be one of none, full, dots",
    "--config.model.architecture.vocab_size=5": "the tokenizer has 17 tokens; set it to 0, or at least that",
    "--config.task.name=sudoku": "task.name='sudoku': unknown; known are modular_expressions",
    "--config.task.operators=+/": "task.operators='+/': must be some of + - *",
    "--config.task.operations=1": "task.operations=1: the train split has hardly more than",
    "--config.task.train_problems=8": "the prompts of a step are distinct, and the task has 8",
    "--config.evaluation.every=30": "checkpoint.every=100: with checkpoint.keep_best each checkpoint needs an",
    "--config.model.architecture.rope.scaling=llama3 --config.model.architecture.rope.low_frequency_factor=4": (
        "must be below"
    ),
    "--config.model.architecture.rope.share=0.2": "share=0.2: rotates 3 of the model.architecture.head_dim=16 dim",
    "--config.model.architecture.rope.scaling=longrope": "short_factors=(): longrope needs 8 numbers above 0, one for",
    "--config.evaluation.every=0": "checkpoint.keep_best=1: only evaluations tell which checkpoint is the best",
    "--config.evaluation.sampling.temperature=0": "greedy samples of a problem are all the same",
    "--config.model.checkpoint=x": "a policy is loaded or trained from scratch, not both",
    "--config.warm_start=none": "there is no warm_start either; name a checkpoint, or write a section warm_start",
    "--config.mesh.data=3": "mesh=3x1x1 (data x fsdp x tensor): does not cover the 8 devices; set mesh.data to -1",
    "--config.mesh.tensor=4": "model.architecture.num_kv_heads=2: must be divisible by mesh.tensor=4",
    "--config.evaluation.prompts_per_batch=100": "evaluation.prompts_per_batch=100: must be divisible by the 8 devices",
    "--config.seed=-1": "seed=-1: must be at least 0",
    "--config=configs": "--config=configs: is a directory; name a Python file with get_config()",
    "--config=Two_grpo": "did you mean two_grpo?",
    "--workdir=README.md": "--workdir=README.md: README.md is no directory; name a new one.",
    "--config=configs/nothing.py": "no such file; name a Python file with get_config()",
    "--workdir=/proc/no/such/place": "cannot be written to",
    "--distributed": "--distributed: the other processes cannot be joined",
    "--profile-steps=9:1201": "--profile-steps: the run has 1200 steps; name some of them.",
    "--processes=2": "--processes: no effect without --coordinator and --process; give all three.",
}

# A subcommand with its flags -> what it says, without JAX; {run} is the directory of a run.
TOLD_AT_ONCE = {
    "evaluate --config=configs/paper/evaluation.py --workdir={run}/x --suite=math500": (
        "--suite=math500: unknown; did you mean math_500?"
    ),
    "evaluate --config=configs/paper/evaluation.py --workdir={run}/x --suites={run}": "{run} has none of math_500",
    "gradients --workdir={run} --step=3": "{run}/checkpoints: holds no checkpoint of step 3; there are 4",
    "export --workdir={run} --to={run}/x --adapters": "--adapters: the run has none, it trained all parameters",
    "replay --workdir={run} --step=9 --prompt=0 --sample=0": "{run}/rollouts: holds no completions",
    "plan --config=configs/two_grpo.py --topology=v9:2x2": "--topology=v9:2x2: is unknown; name one such as v5e:2x2",
    "plan --config=configs/two_grpo.py --topology=v5e:0x2": "--topology=v5e:0x2: is unknown; name one such as",
    "plan --config=configs/two_grpo.py --topology=v5e:some": "--topology=v5e:some: is unknown; name one such as",
    "study --study=configs/two_grpo.py --workdir={run}/x": "has no get_study(); name a file that has",
}

# As if JAX were not installed.
WITHOUT_JAX = """
import sys
sys.modules["jax"] = None
from grpo_jax import commands
commands.main()
"""


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def in_the_default_configuration(workdir, *flags):
    return ["--config=configs/two_grpo.py", f"--workdir={workdir}", "--config.train.microbatch_groups=8", *flags]


@pytest.mark.parametrize("flags", MISTAKES)
def test_mistake(flags, tmp_path, capsys):
    assert command.main(in_the_default_configuration(tmp_path / "run", *flags.split())) == 2
    told = capsys.readouterr()
    assert all(line.endswith(" ...") for line in told.out.splitlines())  # what it was doing
    assert all(line.startswith("error: ") for line in told.err.splitlines())  # one for each field that is concerned
    assert MISTAKES[flags] in told.err
    assert len(told.err.splitlines()) <= 1 + flags.count("--config.rollout.prompts_per_step")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("told", ["--config.train.steps=0", "--config.model.architecture.vocab_size=5"])
def test_in_a_process_of_its_own(told, tmp_path):
    """One mistake is reported before JAX is imported, the other after."""
    process = start("launch/main.py", *in_the_default_configuration(tmp_path / "run", told))
    out, err = process.communicate()
    assert process.returncode == 2
    assert out == ("" if "train.steps" in told else "loading JAX ...\npreparing the task and the programs ...\n")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert MISTAKES[told] in err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_another_configuration(tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text('{"seed": 5}')
    (workdir / "metrics.jsonl").touch()
    assert command.main(in_the_default_configuration(workdir)) == 2
    assert_one_sentence(capsys, "holds a run of another configuration (seed is 5 there and 0 here)")
    assert sorted(path.name for path in workdir.iterdir()) == ["config.json", "metrics.jsonl"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.seed"], "main.py: error:"),
        (["--seed=1"], "main.py: error:"),
        ([], "main.py: error:"),
        (["--optimizer.learning_rate=1"], "did you mean --config.optimizer.learning_rate=1?\n"),
        (["--task.reward.terms.boxed_format=1"], "did you mean --config.task.reward.terms.boxed_format=1?\n"),
        (["--learning_rate=3"], "--learning_rate: unknown flag; did you mean --config.optimizer.learning_rate=3?\n"),
        (["--learning_rte", "3"], "--learning_rte: unknown flag; did you mean --config.optimizer.learning_rate?\n"),
        (["--lr=3"], "did you mean --config.optimizer.learning_rate=3?\n"),
        (["--actor_rollout_ref.actor.optim.lr=3"], "did you mean --config.optimizer.learning_rate=3?\n"),
        (["--rollout.n=2"], "did you mean --config.rollout.group_size=2?\n"),
        (["--num-generations=2", "--print-config"], "did you mean --config.rollout.group_size=2?\n"),
        (["--epsilon=1"], "did you mean --config.objective.clip_low=1 or --config.optimizer.epsilon=1?\n"),
        (["--objective.epsilon=1"], "did you mean --config.objective.clip_low=1?\n"),
        (
            ["--workdir=x", "learning_rate=3"],
            "learning_rate=3: is no flag; did you mean --config.optimizer.learning_rate=3?\n",
        ),
        (
            ["--workdir=x", "-config.train.steps=3"],
            "-config.train.steps=3: is no flag; did you mean --config.train.steps=3?\n",
        ),
        (["steps", "--print-config"], "steps: is no flag; quote a value that has spaces\n"),
        (["--smoke=true"], "--smoke=true: --smoke takes no value; write it alone, or leave it out\n"),
        (["--print-config=1"], "--print-config takes no value"),
        (["--stopped-code=300"], "'300' is no exit code, a whole number from 0 to 255\n"),
        (["--output_dir=x"], "did you mean --workdir=x?\n"),
        (["--max_steps=9"], "the nearest is --config.train.steps, which takes other values (docs/coming_from.md).\n"),
    ],
)
def test_flags_that_cannot_be_read(flags, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["main.py"])  # what argparse calls the program
    with pytest.raises(SystemExit) as ended:
        command.main(["--config=configs/two_grpo.py", *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("train", "config", "completion")])
def test_a_bucket_is_no_directory(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    positional: dict[str, list[str]] = {"report": [], "runs": [], "watch": [], "init": []}
    flag = {**positional, "plan": ["--json"], "doctor": ["--json"]}.get(name, ["--workdir"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"grpo_jax.commands.{name}").main([*flag, "gs://bucket/run"])
    assert ended.value.code == 2
    assert "gs://bucket/run is an address, and only the --workdir of `grpo train` may be one" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("whole", [{"model_type": "llama"}, {"suites": [], "samples": 4}])
def test_the_config_json_of_another_program_is_kept(whole, tmp_path, capsys):
    """Also if nothing else is in its directory."""
    (tmp_path / "config.json").write_text(json.dumps(whole))
    assert command.main(in_the_default_configuration(tmp_path)) == 2
    assert_one_sentence(capsys, "has a config.json of another command or program; name another directory.")
    assert json.loads((tmp_path / "config.json").read_text()) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_run_of_several_hosts_is_in_no_bucket(capsys):
    assert command.main([*in_the_default_configuration("gs://bucket/run"), "--distributed"]) == 2
    assert_one_sentence(capsys, "only the run of a single process can be in a bucket; name a directory on a file")


TOLD_BEFORE_FETCHING = ("--config.train.steps=0", "--profile-steps=9:1201", "--config.logging.trackers=nothing")


@pytest.mark.parametrize("told", TOLD_BEFORE_FETCHING)
def test_a_mistake_is_reported_before_a_run_is_fetched_from_its_bucket(told, tmp_path, monkeypatch, capsys):
    """And before anything is written there, such as the sign of an owner."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    files = MemoryFileSystem()
    files.pipe({f"/b/run/{name}": b"{}" for name in ("config.json", "metrics.jsonl")})
    assert command.main(in_the_default_configuration("memory://b/run", told)) == 2
    assert_one_sentence(capsys, told.removeprefix("--config.").partition("=")[0])
    assert files.find("/b") == ["/b/run/config.json", "/b/run/metrics.jsonl"]
    assert list(tmp_path.iterdir()) == []


def test_workdir_under_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert command.main(in_the_default_configuration(tmp_path / "file" / "run")) == 2
    assert_one_sentence(capsys, "cannot be written to (Not a directory)")
    assert [path.name for path in Path(tmp_path).iterdir()] == ["file"]


@pytest.mark.parametrize("command_line", TOLD_AT_ONCE)
def test_a_mistake_is_reported_before_jax_is_imported(command_line, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(to_dict(make_config())))
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_JAX, *command_line.format(run=tmp_path).split()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1), ended.stderr
    assert TOLD_AT_ONCE[command_line].format(run=tmp_path) in ended.stderr
    assert sorted(tmp_path.rglob("*")) == before
