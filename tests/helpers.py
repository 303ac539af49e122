"""Small things that several tests build."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

from grpo_jax.config import Config, load
from grpo_jax.runs.lines import TIMES, EvaluationLine, SampleStatistics, Scores, Share, TrainLine
from grpo_jax.runs.summary import EvaluationResult, Summary
from tests.compilation import XLA_FLAGS

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"

# The demo, in seconds: the easiest task, the smallest policy.
TINY = {
    "task.operations": 1,
    "task.operators": "+-*",
    "task.train_problems": 40,
    "model.architecture.embed_dim": 16,
    "model.architecture.num_layers": 1,
    "model.architecture.head_dim": 8,
    "model.architecture.mlp_dim": 32,
    "warm_start.full_steps": 40,
    "warm_start.skip_steps": 10,
    "warm_start.batch_size": 32,
    "warm_start.full_learning_rate": 1e-2,
    "warm_start.checkpoint_every": 10,
    "rollout.prompts_per_step": 8,
    "rollout.prompts_per_batch": 8,
    "rollout.max_new_tokens": 4,
    "train.steps": 12,
    "evaluation.every": 4,
    "evaluation.validation_problems": 8,
    "evaluation.validation_samples": 2,
    "evaluation.test_problems": 8,
    "evaluation.test_samples": 2,
    "evaluation.prompts_per_batch": 8,
    "evaluation.bootstrap": 20,
    "checkpoint.every": 4,
}


def make_config(name: str = "two_grpo", **changes: object) -> Config:
    """The tiny variant of a config file; `changes` have `__` for the dots of a field's name."""
    changes = {field.replace("__", "."): value for field, value in changes.items()}
    return load(CONFIGS / f"{name}.py", [(field, str(value)) for field, value in (TINY | changes).items()])


def tiny_flags(**changes: object) -> list[str]:
    """The same as flags of the launch scripts."""
    changes = {field.replace("__", "."): value for field, value in changes.items()}
    return [f"--config.{field}={value}" for field, value in (TINY | changes).items()]


def start(script: str, *flags: str, **environment: str) -> subprocess.Popen[str]:
    """A script of the repository in a process of its own, with whatever devices the machine has."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *flags],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": XLA_FLAGS, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def metrics(workdir: Path) -> list[dict[str, object]]:
    """Every line of a run's metrics but for its times, which no two runs share."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def train_line(step: int, sampled: dict[str, object] | None = None, **changes: object) -> TrainLine:
    """A line of a step of one pair, with nothing measured. `sampled` are changes of its statistics."""
    statistics = dataclasses.replace(SampleStatistics.from_json({}), **(sampled or {}))
    line = TrainLine(
        step=step,
        prompts=step,
        rollouts=2 * step,
        sampled=statistics,
        seconds=float(step),
        tokens_per_second=1.0,
        minibatches=1,
        updates=step,
        measured={},
    )
    return dataclasses.replace(line, **changes)


def _share(value: float) -> Share:
    return Share(value, value - 0.1, value + 0.1)


def evaluation_line(step: int, pass_at_1: float, split: str = "VALIDATION") -> EvaluationLine:
    """A line of an evaluation with one sample of each problem."""
    share = _share(pass_at_1)
    return EvaluationLine(step, split, Scores([share], share, share, pass_at_1, 3.0, 0.0, unscored=0, problems=4))


def evaluation_result(first: float, **changes: object) -> EvaluationResult:
    """The result of an evaluation with eight samples of each problem; `first` is its pass@1."""
    share = _share(first)
    result = EvaluationResult(share, Share(1.0, 1.0, 1.0), 0.5, 8, 3.0, 0.0, problems=4, curve=[first, 1.0])
    return dataclasses.replace(result, **changes)


def summary_of(base: float, final: float, **changes: object) -> Summary:
    """The summary of a run with these pass@1 before and after it."""
    summary = Summary(
        base=evaluation_result(base),
        final=evaluation_result(final),
        prompts=30,
        rollouts=60,
        updates=30,
        signal_share=0.2,
        sampler_difference=0.0,
        seconds={"total": 20.0},
        steps=30,
        seed=0,
        config_hash="0" * 16,
        versions={"jax": "0"},
    )
    return dataclasses.replace(summary, **changes)


def assert_one_sentence(capsys, sentence: str) -> None:
    """A command has told a mistake in one line, which holds this, and nothing else but what it was doing."""
    told = capsys.readouterr()
    assert all(line.endswith(" ...") for line in told.out.splitlines())
    assert told.err.count("\n") == 1
    assert told.err.startswith("error: ")
    assert sentence in told.err
